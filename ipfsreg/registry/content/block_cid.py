"""The CIDs of contents that are one block: they can be told from the digest."""

from functools import lru_cache

from ipfsreg.ipfs.cid import CID, raw_cid
from ipfsreg.ipfs.file_dag import PROFILE
from ipfsreg.registry.digest import Digest


def is_one_block(digest: Digest, size: int) -> bool:
    """Whether a content's CID is its digest in another form."""
    return digest.algorithm == "sha256" and size <= PROFILE.chunk


@lru_cache(maxsize=10_000)
def block_cid(digest: Digest) -> CID:
    """The CID of a content that is one block."""
    return raw_cid(bytes.fromhex(digest.hex))


@lru_cache(maxsize=10_000)
def block_cid_text(digest: Digest) -> str:
    """As `block_cid`, as text."""
    return str(block_cid(digest))
