"""DAGs of files for tests, with chunks so short that a few bytes make many levels."""

import hashlib

from ipfsreg.ipfs.file_dag import FileDag, Profile

KUBO_SMALL = Profile(chunk=4, links=174)


def content(length: int) -> bytes:
    """Bytes of which no two near each other are equal."""
    period = bytes((7 * index + 3) % 256 for index in range(256))
    return (period * (length // 256 + 1))[:length]


def file_dag(data: bytes, profile: Profile) -> FileDag:
    """The DAG of a file that is in memory."""
    chunks = [data[begin : begin + profile.chunk] for begin in range(0, len(data), profile.chunk)] or [b""]
    return FileDag(b"".join(hashlib.sha256(chunk).digest() for chunk in chunks), len(data), profile)
