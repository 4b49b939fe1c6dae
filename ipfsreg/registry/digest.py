"""Digests: ``algorithm:hex`` (image-spec, "Digests")."""

import hashlib
import re
from typing import NamedTuple, Protocol

from .errors import DigestInvalid

HEX_LENGTHS = {"sha256": 64, "sha512": 128}
"""The registered algorithms, with the number of hexadecimal digits of each."""


_FORMS = {algorithm: re.compile(f"[a-f0-9]{{{length}}}") for algorithm, length in HEX_LENGTHS.items()}


_HASHES = {"sha256": hashlib.sha256, "sha512": hashlib.sha512}  # `hashlib.new` looks for the name each time


class Hash(Protocol):
    """What `hashlib` makes."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Take more content in."""

    def digest(self) -> bytes:
        """The digest of what came so far."""

    def hexdigest(self) -> str:
        """The digest of what came so far, in lower-case hexadecimal."""

    def copy(self) -> "Hash":
        """A second one in the same state."""


class Digest(NamedTuple):
    """A digest with a known algorithm and a hexadecimal part of the right form.

    A tuple, since some manifests list tens of thousands: it is hashed and compared five times as fast as a dataclass.
    """

    algorithm: str
    hex: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


def parse_digest(text: str) -> Digest:
    """Read a digest.

    :raises DigestInvalid: where it does not follow the grammar or the algorithm is not one of `HEX_LENGTHS`.
    """
    algorithm, _, encoded = text.partition(":")
    form = _FORMS.get(algorithm)
    if form is None:
        known = " or ".join(HEX_LENGTHS)
        raise DigestInvalid(f"a digest is {known}, a colon and hexadecimal digits", {"digest": text[:256]})
    if form.fullmatch(encoded) is None:
        length = HEX_LENGTHS[algorithm]
        raise DigestInvalid(f"a {algorithm} digest has {length} lower-case hexadecimal digits", {"digest": text[:256]})
    return Digest(algorithm, encoded)


def new_hash(algorithm: str) -> Hash:
    """A hash object for one of the algorithms of `HEX_LENGTHS`."""
    return hashlib.new(algorithm, usedforsecurity=True)


def digest_of(content: bytes, algorithm: str = "sha256") -> Digest:
    """The digest of content that is in memory."""
    return Digest(algorithm, _HASHES[algorithm](content).hexdigest())
