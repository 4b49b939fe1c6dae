"""CIDs that hold their content: raw blocks with the identity hash, which every node has and none can lose."""

from .cid import CID, IDENTITY, RAW

INLINE_MAX = 127
"""The longest content, in bytes: newer nodes take 128, and its length is one byte then."""


def inline_cid(content: bytes) -> CID:
    """The CID of a raw block that is in the CID.

    :raises ValueError: for more than `INLINE_MAX` bytes.
    """
    if len(content) > INLINE_MAX:
        raise ValueError(f"{len(content)} bytes are too many for a CID")
    return CID(1, RAW, IDENTITY, content)


def inline_content(cid: CID) -> bytes | None:
    """What such a CID holds, or None for any other one."""
    return cid.hash if cid.codec == RAW and cid.hash_code == IDENTITY else None
