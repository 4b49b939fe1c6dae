"""A state of the bucket, the mark in it, and what may be wrong about which state counts."""

import re
from dataclasses import dataclass

from ipfsreg.bucket.errors import Unavailable, Unreachable
from ipfsreg.bucket.kubo.node.node import Target
from ipfsreg.ipfs.cid import CID, inline_cid, inline_content, parse_cid

MARK = ".ipfsreg"
"""The file of each state that holds its number."""

NOBODY_HELPS = 60
"""Seconds after which a client may try again where somebody has to do something first."""

_MARK = re.compile(rb"ipfsreg ([0-9a-f]{16}) ([0-9]{1,20})\n")


@dataclass(frozen=True, slots=True, order=True)
class BucketState:
    """A state of the bucket. A later state has a higher number."""

    number: int
    root: str

    @property
    def text(self) -> str:
        """What its marker says."""
        return f"{self.number} {self.root}"

    @property
    def cid(self) -> CID:
        """The CID of its directory."""
        return parse_cid(self.root)


def mark_of(bucket: str, number: int) -> Target:
    """The file `MARK` of a state. Its content is in its CID, so it takes no block. ``bucket`` is a `bucket_id`."""
    content = f"ipfsreg {bucket} {number}\n".encode()
    return Target(inline_cid(content), len(content))


def marked_number(bucket: str, mark: CID) -> int | None:
    """The number that a `mark_of` this bucket says; None for any other file."""
    match = _MARK.fullmatch(inline_content(mark) or b"")
    return int(match[2]) if match is not None and match[1].decode() == bucket else None


class Overtaken(Unreachable):
    """The state that was to be replaced does not count any more: the pins tell which one does."""


class CannotTell(Unavailable):
    """There are pins that may be of this bucket, and nobody has what they lead to."""
