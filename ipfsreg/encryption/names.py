"""Names of an encrypted bucket: a segment of a path becomes a token, and a token a segment again (docs/encryption.md).

A token depends on the key, the true path of the directory and the segment, and on nothing else: so a file is found by
its name, and equal names in two directories look unlike.
"""

import base64
import binascii
import hashlib
from functools import lru_cache

from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt

SEGMENT_MAX = 143
"""The longest segment in bytes: its token has 255 characters, which is what file systems take."""

TOKEN_PATH_MAX = 3500
"""The longest path of tokens, in characters: file systems take 4,095, and the bucket's own directory is before it."""

_TAG = 16  # of the AEAD, which is not kept: the IV is the check
_IV = 16
_BLOCK = 16
_REMEMBERED = 10_000


class NameTooLong(ValueError):
    """A name is longer than an encrypted bucket can keep; the text says which and by how much."""


class NotAName(ValueError):
    """A token that this key did not make for that directory."""


class Names:
    """Tokens and segments under one name key of 32 bytes. A path's segments are joined by ``/``, the top is ``""``."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._stream_key = hashlib.blake2b(key=key, digest_size=32, person=b"ipfsreg-nkey").digest()
        self._directory = lru_cache(maxsize=_REMEMBERED)(self._path)

    def token(self, parent: str, segment: str) -> str:
        """The token of a segment in the directory with the true path ``parent``.

        :raises NameTooLong: for a segment of more than `SEGMENT_MAX` bytes.
        """
        plain = segment.encode()
        if len(plain) > SEGMENT_MAX:
            raise NameTooLong(
                f"the name {segment[:40]}... has {len(plain)} bytes; an encrypted bucket keeps names of {SEGMENT_MAX}"
            )
        iv = self._iv(parent, plain)
        padded = plain.ljust(min(-(-len(plain) // _BLOCK) * _BLOCK, SEGMENT_MAX), b"\0")
        return base64.b32encode(iv + self._crypt(iv, padded)).decode().rstrip("=").lower()

    def segment(self, parent: str, token: str) -> str:
        """The segment that a token in the directory ``parent`` stands for.

        :raises NotAName: where it stands for none.
        """
        try:
            raw = base64.b32decode(token.upper() + "=" * (-len(token) % 8))
            iv, encrypted = raw[:_IV], raw[_IV:]
            if not 0 < len(encrypted) <= SEGMENT_MAX:
                raise NotAName(token)
            segment = self._crypt(iv, encrypted).rstrip(b"\0").decode()
        except (binascii.Error, ValueError):
            raise NotAName(token) from None
        # Who has the key might make a token of anything: what is no segment of a path is followed by nobody.
        if segment in {"", ".", ".."} or {"/", "\0"} & set(segment) or self.token(parent, segment) != token:
            raise NotAName(token)
        return segment

    def path(self, path: str) -> str:
        """The path of tokens of a true path.

        :raises NameTooLong: where it, or a segment of it, is too long.
        """
        parent, _, segment = path.rpartition("/")
        tokens = self.token(parent, segment)
        if parent:
            tokens = f"{self._directory(parent)}/{tokens}"
        if len(tokens) > TOKEN_PATH_MAX:
            raise NameTooLong(f"the path {path[:40]}... is too long for an encrypted bucket")
        return tokens

    def directory(self, path: str) -> str:
        """As `path`, for the path of a directory: it is remembered."""
        return self._directory(path)

    def mac(self, path: str) -> bytes:
        """What binds a file to its true path: 32 bytes."""
        return hashlib.blake2b(path.encode(), key=self._key, digest_size=32, person=b"ipfsreg-path").digest()

    def _path(self, path: str) -> str:
        return self.path(path)

    def _iv(self, parent: str, segment: bytes) -> bytes:
        data = parent.encode() + b"\0" + segment
        return hashlib.blake2b(data, key=self._key, digest_size=_IV, person=b"ipfsreg-name").digest()

    def _crypt(self, iv: bytes, data: bytes) -> bytes:
        nonce = iv + bytes(8)
        return crypto_aead_xchacha20poly1305_ietf_encrypt(data, None, nonce, self._stream_key)[:-_TAG]


@lru_cache(maxsize=8)
def names_of(key: bytes) -> Names:
    """The names under a key, with what was computed before."""
    return Names(key)
