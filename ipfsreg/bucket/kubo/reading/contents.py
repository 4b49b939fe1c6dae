"""Files and directories below ``/ipfs/``, to look at and to read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ipfsreg.bucket.errors import Corrupt
from ipfsreg.bucket.interface import IReader
from ipfsreg.bucket.kubo.node.node import Found
from ipfsreg.bucket.kubo.rpc.client import ANSWER_MAX, parsed, reading

from .reader import CidReader, Route

_DIRECTORY_LINK = 1  # UnixFS' own number in a listing; files are 2


@dataclass(frozen=True, slots=True)
class Child:
    """What a directory has by a name."""

    name: str
    cid: str
    is_directory: bool


class Contents(Protocol):
    """Files and directories by their CIDs. All methods fail with a `BucketError`."""

    async def stat(self, path: str) -> Found:
        """What a path below ``/ipfs/`` leads to. `NotFound`."""

    async def links(self, cid: str) -> Sequence[Child]:
        """The entries of a directory, sorted by name."""

    async def read(self, cid: str, size: int) -> bytes:
        """The whole of a small file."""

    async def open(self, found: Found) -> IReader:
        """A file, open."""


class NodeContents:
    """What a node has, or its network too. See `Contents`. `Missing` where the node lacks a block."""

    def __init__(self, route: Route) -> None:
        self.local = route.local
        self._route = route

    async def stat(self, path: str) -> Found:
        """See `Contents.stat`."""
        return Found.read(await self._ask("files/stat", path))

    async def links(self, cid: str) -> Sequence[Child]:
        """See `Contents.links`."""
        found = await self._ask("ls", f"/ipfs/{cid}")
        with reading("ls"):
            links = [
                Child(str(each["Name"]), str(each["Hash"]), each["Type"] == _DIRECTORY_LINK)
                for each in found["Objects"][0]["Links"] or ()
            ]
        return sorted(links, key=lambda link: link.name)

    async def read(self, cid: str, size: int) -> bytes:
        """See `Contents.read`."""
        if not size:
            return b""
        content = await self._call("cat", f"/ipfs/{cid}", size + 1)
        if len(content) != size:
            raise Corrupt(f"cat: {len(content)} bytes came of {cid}, which has {size}")
        return content

    async def open(self, found: Found) -> CidReader:
        """See `Contents.open`."""
        return CidReader(self._route, found.cid, found.size)

    async def _ask(self, command: str, argument: str) -> Any:
        return parsed(command, await self._call(command, argument))

    async def _call(self, command: str, argument: str, limit: int = ANSWER_MAX) -> bytes:
        route = self._route
        return await route.rpc.call(
            command, [argument], {"offline": route.local}, lane=route.lane, seconds=route.seconds, limit=limit
        )
