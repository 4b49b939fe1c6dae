"""Content identifiers: CIDv1 in any multibase, and CIDv0 (https://github.com/multiformats/cid)."""

import hashlib
from base64 import b32encode
from dataclasses import dataclass

import multibase

from .varint import decode_varint, encode_varint

RAW = 0x55
DAG_PB = 0x70

IDENTITY = 0x00
SHA2_256 = 0x12
SHA2_512 = 0x13

INLINE_MAX = 127
"""The longest content of an `inline_cid`, in bytes: newer nodes take 128, and its length is one byte then."""

TEXT_MAX = 256
"""The longest text that is read as a CID, in characters: reading base58 takes a time that grows with the square."""

_HASHES = {SHA2_256: "sha256", SHA2_512: "sha512"}
_V0_LENGTH = 46
_V0_PREFIX = bytes((SHA2_256, 32))


class CIDInvalid(ValueError):
    """A text, or bytes, that are no CID."""


class BlockDamaged(ValueError):
    """A block whose bytes do not have the hash of its CID."""


@dataclass(frozen=True, slots=True)
class CID:
    """A content identifier. ``hash_code`` is the multihash's function and ``hash`` its digest."""

    version: int
    codec: int
    hash_code: int
    hash: bytes

    @property
    def multihash(self) -> bytes:
        """What two CIDs of the same block have in common."""
        return encode_varint(self.hash_code) + encode_varint(len(self.hash)) + self.hash

    @property
    def binary(self) -> bytes:
        """The form that links and CAR files have."""
        return self.multihash if self.version == 0 else encode_varint(1) + encode_varint(self.codec) + self.multihash

    def __str__(self) -> str:
        """Base58 for version 0, lower-case base32 else."""
        if self.version == 0:
            return str(multibase.encode("base58btc", self.multihash).decode("ascii")[1:])
        return "b" + b32encode(self.binary).decode("ascii").rstrip("=").lower()


def raw_cid(sha256: bytes) -> CID:
    """The CID of a raw block by its sha256."""
    return CID(1, RAW, SHA2_256, sha256)


def cid_of(codec: int, block: bytes) -> CID:
    """The CID, of version 1 and with sha2-256, of a block."""
    return CID(1, codec, SHA2_256, hashlib.sha256(block).digest())


def inline_cid(content: bytes) -> CID:
    """The CID of a raw block that is in the CID: every node has it, and none can lose it.

    :raises ValueError: for more than `INLINE_MAX` bytes.
    """
    if len(content) > INLINE_MAX:
        raise ValueError(f"{len(content)} bytes are too many for a CID")
    return CID(1, RAW, IDENTITY, content)


def inline_content(cid: CID) -> bytes | None:
    """What such a CID holds, or None for any other one."""
    return cid.hash if cid.codec == RAW and cid.hash_code == IDENTITY else None


def parse_cid(text: str) -> CID:
    """Read a CID's text.

    :raises CIDInvalid: with what is wrong.
    """
    if len(text) > TEXT_MAX:
        raise CIDInvalid(f"a CID has at most {TEXT_MAX} characters here")
    is_v0 = len(text) == _V0_LENGTH and text.startswith("Qm")
    try:
        binary = multibase.decode("z" + text if is_v0 else text)
    except ValueError:
        raise CIDInvalid(f"not a CID: {text!r}") from None
    cid, end = decode_cid(binary)
    if end != len(binary) or (cid.version == 0) != is_v0:
        raise CIDInvalid(f"not a CID: {text!r}")
    return cid


def decode_cid(data: bytes | memoryview, offset: int = 0) -> tuple[CID, int]:
    """Read a binary CID; answers it and the offset behind it.

    :raises CIDInvalid: where there is none, or not all of it.
    """
    try:
        if bytes(data[offset : offset + 2]) == _V0_PREFIX:
            version, codec = 0, DAG_PB
        else:
            version, offset = decode_varint(data, offset)
            if version != 1:
                raise CIDInvalid(f"a CID of version {version} is not known")
            codec, offset = decode_varint(data, offset)
        hash_code, offset = decode_varint(data, offset)
        length, offset = decode_varint(data, offset)
    except (EOFError, ValueError) as error:
        raise CIDInvalid(str(error)) from None
    digest = bytes(data[offset : offset + length])
    if len(digest) != length:
        raise CIDInvalid("a CID is shorter than it says")
    return CID(version, codec, hash_code, digest), offset + length


def verify_block(cid: CID, block: bytes | memoryview) -> None:
    """Compare a block with its CID.

    :raises BlockDamaged: where it has another hash, or one of a function that is not known here.
    """
    if cid.hash_code == IDENTITY:
        whole = cid.hash == block
    elif cid.hash_code in _HASHES:
        whole = hashlib.new(_HASHES[cid.hash_code], block).digest() == cid.hash
    else:
        raise BlockDamaged(f"{cid} has a hash function that is not known here ({cid.hash_code:#x})")
    if not whole:
        raise BlockDamaged(f"a block is not what its CID {cid} says")
