"""A directory of the node to look at, by blocks that are remembered: see `Looking`."""

from collections.abc import Sequence

from ipfsreg.bucket.errors import Corrupt, NotFound
from ipfsreg.bucket.kubo.node.contents import Child, Contents, Found
from ipfsreg.bucket.kubo.node.directories import Directories
from ipfsreg.ipfs.cid import RAW, parse_cid
from ipfsreg.ipfs.dag_pb import BlockInvalid
from ipfsreg.ipfs.unixfs import decode_unixfs

from .reader import CidReader


class ByBlocks:
    """As `Contents`, but for `stat`, which asks the node for nothing that it was asked before."""

    def __init__(self, contents: Contents, directories: Directories) -> None:
        self._contents = contents
        self._directories = directories

    async def stat(self, path: str) -> Found:
        """What a path below ``/ipfs/`` leads to. `NotFound`."""
        root, *names = path.removeprefix("/ipfs/").split("/")
        link = await self._directories.find(parse_cid(root), names)
        if link is None:
            raise NotFound(f"{'/'.join(names)} is not there")
        if link.cid.codec == RAW:
            return Found(str(link.cid), link.size, False, 0)
        node = await self._directories.directory(link.cid)
        if node is not None:
            return Found(str(link.cid), 0, True, len(node.links))
        try:
            size = decode_unixfs((await self._directories.load(link.cid)).data).size
        except BlockInvalid as error:
            raise Corrupt(f"{link.cid} is damaged: {error}") from None
        return Found(str(link.cid), size or 0, False, 0)

    async def links(self, cid: str) -> Sequence[Child]:
        """See `Contents.links`."""
        return await self._contents.links(cid)

    async def read(self, cid: str, size: int) -> bytes:
        """See `Contents.read`."""
        return await self._contents.read(cid, size)

    def reader(self, found: Found) -> CidReader:
        """See `Contents.reader`."""
        return self._contents.reader(found)
