"""Directories of the node by blocks that are remembered: the node is asked for nothing that it was asked before."""

from collections.abc import Sequence

from ipfsreg.bucket.errors import Corrupt, NotFound
from ipfsreg.bucket.interface import IReader
from ipfsreg.bucket.kubo.node.node import Found, Node
from ipfsreg.ipfs.cid import RAW, parse_cid
from ipfsreg.ipfs.dag_pb import BlockInvalid
from ipfsreg.ipfs.unixfs import decode_unixfs

from .contents import Child, NodeContents
from .reader import Route


class ByBlocks:
    """See `Contents`; behind a cluster's proxy, or with an index of its own, the content may be another peer's."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def stat(self, path: str) -> Found:
        directories = self._node.directories
        root, *names = path.removeprefix("/ipfs/").split("/")
        link = await directories.find(parse_cid(root), names)
        if link is None:
            raise NotFound(f"{'/'.join(names)} is not there")
        if link.cid.codec == RAW:
            return Found(str(link.cid), link.size, False)
        if await directories.directory(link.cid) is not None:
            return Found(str(link.cid), 0, True)
        try:
            size = decode_unixfs((await directories.load(link.cid)).data).size
        except BlockInvalid as error:
            raise Corrupt(f"{link.cid} is damaged: {error}") from None
        return Found(str(link.cid), size or 0, False)

    async def links(self, cid: str) -> Sequence[Child]:
        return await NodeContents(Route(self._node.index, self._node.local)).links(cid)

    async def read(self, cid: str, size: int) -> bytes:
        return await self._contents().read(cid, size)

    async def open(self, found: Found) -> IReader:
        return await self._contents().open(found)

    def _contents(self) -> NodeContents:
        # Whether the node has it itself is known only after the first look at the node.
        return NodeContents(Route(self._node.content, self._node.local))
