"""How IPFS cuts a file into blocks, and the CID and sizes that come of it.

As ``ipfs add --cid-version=1`` with go-ipfs's defaults: blocks of 256 KiB as raw leaves, and nodes of at most
174 links above them. The CIDs of files are the real ones.
"""

import hashlib

from tests.grpcweb_double.wire import field, varint

from .identity import to_base32

BLOCK = 262144
LINKS = 174
RAW = 0x55
DAG_PB = 0x70
LIBP2P_KEY = 0x72


def cid_bytes(codec: int, digest: bytes) -> bytes:
    """A CIDv1 of a SHA-256 digest."""
    return bytes([1, codec, 0x12, 0x20]) + digest


def cid_string(cid: bytes) -> str:
    """A CID as it is written."""
    return to_base32(cid)


class FileBuilder:
    """Takes a file's content, and tells its CID and the size of its DAG."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._in_block = 0
        self._leaves: list[tuple[bytes, int]] = []

    def update(self, data: bytes) -> None:
        """Take a piece of the content."""
        view = memoryview(data)
        while view:
            piece = view[: BLOCK - self._in_block]
            self._hash.update(piece)
            self._in_block += len(piece)
            if self._in_block == BLOCK:
                self._end_block()
            view = view[len(piece) :]

    def _end_block(self) -> None:
        self._leaves.append((cid_bytes(RAW, self._hash.digest()), self._in_block))
        self._hash = hashlib.sha256()
        self._in_block = 0

    def finish(self) -> tuple[bytes, int, bool]:
        """The binary CID, the size of the DAG, and whether the file is one raw block."""
        if self._in_block or not self._leaves:
            self._end_block()
        # Of each node: its CID, the file bytes below it, the size of its DAG.
        level = [(cid, size, size) for cid, size in self._leaves]
        single = len(level) == 1
        while len(level) > 1:
            level = [file_node(level[start : start + LINKS]) for start in range(0, len(level), LINKS)]
        cid, _, dag_size = level[0]
        return cid, dag_size, single


def file_node(children: list[tuple[bytes, int, int]]) -> tuple[bytes, int, int]:
    """The dag-pb node above some nodes of a file."""
    file_size = sum(size for _, size, _ in children)
    data = b"\x08\x02\x18" + varint(file_size)
    data += b"".join(b"\x20" + varint(size) for _, size, _ in children)
    links = b"".join(
        field(2, field(1, cid) + field(2, b"") + b"\x18" + varint(dag_size)) for cid, _, dag_size in children
    )
    block = links + field(1, data)
    dag_size = len(block) + sum(size for _, _, size in children)
    return cid_bytes(DAG_PB, hashlib.sha256(block).digest()), file_size, dag_size


def dag_size_of_file(size: int) -> int:
    """The size of the DAG of a file of so many bytes, without having its content."""
    if size <= BLOCK:
        return size
    level = [(bytes(36), BLOCK, BLOCK)] * (size // BLOCK)
    if size % BLOCK:
        level.append((bytes(36), size % BLOCK, size % BLOCK))
    while len(level) > 1:
        level = [file_node(level[start : start + LINKS]) for start in range(0, len(level), LINKS)]
    return level[0][2]
