"""Directories of a node, block by block. A block that was read is remembered, since a CID is for good.

The node is never given a path through several directories: an online node looks for those in the middle on its network,
whatever it is told.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping

from cachetools import LRUCache

from ipfsreg.bucket.errors import Corrupt
from ipfsreg.flow.workers import Workers
from ipfsreg.ipfs import hamt
from ipfsreg.ipfs.cid import CID, DAG_PB, cid_of
from ipfsreg.ipfs.dag_pb import BlockInvalid, PBLink, PBNode, decode_node, encode_node
from ipfsreg.ipfs.hamt import Block
from ipfsreg.ipfs.unixfs import DIRECTORY, HAMT_SHARD, decode_unixfs, directory_node

BYTES_REMEMBERED = 4 * 1024**2
"""Bytes of blocks that are remembered at most; as objects they take some six times as much."""

_QUICK = 16 * 1024
"""A longer block is decoded in a thread."""

_QUICK_ENTRIES = 200
"""A directory of more entries is put together in a thread."""


class Directories:
    """``get_block`` answers a block by its CID."""

    def __init__(self, get_block: Callable[[CID], Awaitable[bytes]], workers: Workers) -> None:
        self._get_block = get_block
        self._workers = workers
        self._known: LRUCache[CID, tuple[PBNode, int]] = LRUCache(BYTES_REMEMBERED, getsizeof=lambda entry: entry[1])

    async def load(self, cid: CID) -> PBNode:
        """A directory, a shard of one, or the first block of a file. `Corrupt` where it is none."""
        found = self._known.get(cid)
        if found is not None:
            return found[0]
        block = await self._get_block(cid)
        try:
            node = decode_node(block) if len(block) <= _QUICK else await self._workers.run(decode_node, block)
        except BlockInvalid as error:
            raise Corrupt(f"{cid} is no directory: {error}") from None
        self.remember(cid, node, len(block))
        return node

    def remember(self, cid: CID, node: PBNode, length: int) -> None:
        """A block that is known without asking; ``length`` is in bytes."""
        if length <= BYTES_REMEMBERED // 8:
            self._known[cid] = (node, length)

    async def directory(self, cid: CID) -> PBNode | None:
        """What `load` answers, where that is a directory."""
        if cid.codec != DAG_PB:
            return None
        node = await self.load(cid)
        try:
            return node if decode_unixfs(node.data).kind in {DIRECTORY, HAMT_SHARD} else None
        except BlockInvalid as error:
            raise Corrupt(f"{cid} is no directory: {error}") from None

    async def step(self, node: PBNode, name: str) -> PBLink | None:
        """The entry of a directory by that name."""
        try:
            if hamt.is_shard(node):
                return await hamt.find(self.load, node, name)
        except BlockInvalid as error:
            raise Corrupt(f"a directory is damaged: {error}") from None
        return next((link for link in node.links if link.name == name), None)

    async def find(self, root: CID, names: Iterable[str]) -> PBLink | None:
        """Where a path leads from a directory; None where it leads nowhere."""
        link = PBLink(root, "", 0)
        for name in names:
            node = await self.directory(link.cid)
            following = None if node is None else await self.step(node, name)
            if following is None:
                return None
            link = following
        return link

    async def walk(self, top: CID) -> None:
        """Ask the node for every directory below one. `Missing` where it has lost one."""
        fresh = Directories(self._get_block, self._workers)  # which has to ask the node
        pending, seen = [top], {top}
        while pending:
            node = await fresh.load(pending.pop())
            if decode_unixfs(node.data).kind not in {DIRECTORY, HAMT_SHARD}:
                continue
            below = {link.cid for link in node.links if link.cid.codec == DAG_PB} - seen
            seen |= below
            pending += below

    async def changed(self, node: PBNode, entries: Mapping[str, PBLink | None]) -> tuple[PBNode | None, list[Block]]:
        """A directory with entries set or, with None, removed; None where nothing is left in it.

        With it come the shards that it has and the one before may not have. A plain directory may become a sharded one,
        and a sharded one a plain one.
        """
        if not hamt.is_shard(node):
            if len(node.links) + len(entries) <= _QUICK_ENTRIES:
                return _changed(node, entries)
            return await self._workers.run(_changed, node, entries)
        new, shards = await hamt.changed(self.load, node, entries)
        for cid, block in shards:
            self.remember(cid, decode_node(block), len(block))
        if new is None or all(entries.values()) or await hamt.is_large(self.load, new):
            return new, shards
        # What has become small enough for one block is a plain directory again, as it is with Kubo.
        return directory_node(await hamt.entries(self.load, new)), []

    async def encoded(self, node: PBNode) -> Block:
        """The block of a directory, which is remembered."""
        quick = len(node.links) <= _QUICK_ENTRIES
        block = encode_node(node) if quick else await self._workers.run(encode_node, node)
        cid = cid_of(DAG_PB, block)
        self.remember(cid, node, len(block))
        return cid, block


def _changed(node: PBNode, entries: Mapping[str, PBLink | None]) -> tuple[PBNode | None, list[Block]]:
    links = {**{link.name: link for link in node.links}, **entries}
    left = [link for link in links.values() if link is not None]
    if hamt.estimated_size(left) > hamt.THRESHOLD:
        return hamt.shard_of(left)
    return directory_node(left) if left else None, []
