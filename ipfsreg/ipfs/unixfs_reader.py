"""Files and directories read out of blocks, of any form that IPFS programs make. What is read was hashed before."""

from collections.abc import Callable, Iterator, Mapping

from .cid import CID, DAG_PB, RAW
from .dag_pb import BlockInvalid, decode_node
from .unixfs import DIRECTORY, FILE, HAMT_SHARD, RAW_LEAF, decode_unixfs

GetBlock = Callable[[CID], bytes]
"""The block of a CID; whatever it raises goes through."""

ENTRIES_MAX = 100_000
"""How many entries of a directory are read."""

SHARDS_MAX = 10_000
"""How many blocks of a directory are read."""

LINKS_FREE = 100_000
"""How many links are looked at to read a part of a file, and one more for each `BYTES_A_LINK` that it has."""

BYTES_A_LINK = 16
"""Chunkers make parts of some hundred KiB; without a bound, small blocks can make reading a byte take minutes."""

_SHARD_PREFIX = 2  # hexadecimal digits before a name in a sharded directory of the usual width, 256


class LinkMissing(Exception):
    """A directory has no entry of that name."""


def read_directory(get: GetBlock, cid: CID) -> Mapping[str, CID]:
    """The entries of a directory, sharded or not.

    :raises LinkMissing: where it is no directory. :raises BlockInvalid: where a block is not what it should be.
    """
    entries: dict[str, CID] = {}
    pending, links = [cid], 0
    known = {cid}
    while pending:
        block = pending.pop()
        if block.codec != DAG_PB:
            raise LinkMissing(f"{cid} is not a directory")
        node = decode_node(get(block))
        kind = decode_unixfs(node.data).kind
        if kind not in {DIRECTORY, HAMT_SHARD}:
            raise LinkMissing(f"{cid} is not a directory")
        links += len(node.links)
        for link in node.links:
            name = link.name if kind == DIRECTORY else link.name[_SHARD_PREFIX:]
            if name:
                entries[name] = link.cid
            elif link.cid in known:  # each name has one place, so that no two shards are the same
                raise BlockInvalid(f"the directory {cid} has the same shard twice")
            else:
                known.add(link.cid)
                pending.append(link.cid)
        if links > ENTRIES_MAX + SHARDS_MAX or len(known) > SHARDS_MAX:
            raise BlockInvalid(f"the directory {cid} has more entries than are read")
    return entries


def file_size(get: GetBlock, cid: CID) -> int:
    """The length of a file in bytes.

    :raises LinkMissing: where it is no file. :raises BlockInvalid: where its block is not what it should be.
    """
    data, parts = _parts(get(cid), cid)
    return len(data) + sum(size for _, size in parts)


def check_file(get: GetBlock, has: Callable[[CID], bool], cid: CID, seen: set[CID]) -> CID | None:
    """Whether all blocks of a file are there, without reading its leaves; answers one that is missing.

    ``seen`` are inner blocks that need not be looked at (again).

    :raises BlockInvalid: where a block is not what it should be.
    """
    pending = [cid]
    while pending:
        block = pending.pop()
        if block in seen:
            continue
        if not has(block):
            return block
        if block.codec != RAW:
            seen.add(block)
            pending += [each for each, _ in _parts(get(block), block)[1]]
    return None


def read_file(get: GetBlock, cid: CID, offset: int, length: int) -> Iterator[bytes]:
    """Some bytes of a file, exactly as many as asked for.

    :raises LinkMissing: where it is no file.
    :raises BlockInvalid: where a block is not what it should be, or the file ends before.
    """
    position, end = 0, offset + length
    links, links_max = 0, LINKS_FREE
    pending: list[tuple[CID, int | None]] = [(cid, None)]
    while pending and position < end:
        block, size = pending.pop()
        if size is not None and position + size <= offset:
            position += size
            continue
        data, parts = _parts(get(block), block)
        links += 1 + len(parts)
        links_max += len(data) // BYTES_A_LINK
        if links > links_max:
            raise BlockInvalid(f"{cid} has too many blocks for what it holds")
        if size is not None and len(data) + sum(each for _, each in parts) != size:
            raise BlockInvalid(f"{block} does not have the length that the block above it says")
        if position + len(data) > offset and data:
            yield data[max(offset - position, 0) : end - position]
        position += len(data)
        pending += [(each, below) for each, below in reversed(parts) if below]
    if position < end:
        raise BlockInvalid(f"{cid} ends before byte {end}")


def _parts(block: bytes, cid: CID) -> tuple[bytes, list[tuple[CID, int]]]:
    """What a block of a file has itself, and what is below it with its lengths."""
    if cid.codec == RAW:
        return block, []
    if cid.codec != DAG_PB:
        raise LinkMissing(f"{cid} is not a file")
    node = decode_node(block)
    unixfs = decode_unixfs(node.data)
    if unixfs.kind not in {FILE, RAW_LEAF}:
        raise LinkMissing(f"{cid} is not a file")
    if len(unixfs.block_sizes) != len(node.links):
        raise BlockInvalid(f"{cid} does not say how long its parts are")
    return unixfs.data, list(zip((link.cid for link in node.links), unixfs.block_sizes, strict=True))
