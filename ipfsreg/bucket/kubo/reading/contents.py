"""Files and directories of a node, to look at and to read: only what it has itself, or its network's too."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ipfsreg.bucket.errors import Corrupt
from ipfsreg.bucket.kubo.reading.reader import CidReader
from ipfsreg.bucket.kubo.rpc.client import Rpc
from ipfsreg.bucket.kubo.rpc.lanes import Lane
from ipfsreg.ipfs.cid import CID

_DIRECTORY_LINK = 1  # UnixFS' own number in a listing; files are 2


@dataclass(frozen=True, slots=True)
class Found:
    """What a path leads to. ``size`` is a file's length in bytes; ``children`` a directory's links."""

    cid: str
    size: int
    is_directory: bool
    children: int


@dataclass(frozen=True, slots=True)
class Child:
    """What a directory has by a name."""

    name: str
    cid: str
    is_directory: bool


@dataclass(frozen=True, slots=True)
class Target:
    """A file that a path is to lead to. ``size`` is the length of all its blocks in bytes."""

    cid: CID
    size: int


class Contents:
    """What paths lead to: those below ``/ipfs/``, and those of the MFS of ``index``.

    ``local`` answers whether the node has to have everything itself. Calls go through ``lane`` and take at most
    ``seconds``, where these are given.
    """

    def __init__(
        self,
        content: Rpc,
        index: Rpc,
        local: Callable[[], bool],
        *,
        lane: Lane | None = None,
        seconds: float | None = None,
    ) -> None:
        self._content = content
        self._index = index
        self._local = local
        self._lane = lane
        self._seconds = seconds

    @property
    def local(self) -> bool:
        """Whether only what the node has itself is found."""
        return self._local()

    async def stat(self, path: str) -> Found:
        """What a path of the MFS, or below ``/ipfs/``, leads to. `NotFound`."""
        found = await self._ask("files/stat", path)
        return Found(found["Hash"], found["Size"], found["Type"] == "directory", found.get("Blocks", 0))

    async def links(self, cid: str) -> Sequence[Child]:
        """The entries of a directory, sorted by name."""
        found = await self._ask("ls", f"/ipfs/{cid}")
        links = [
            Child(each["Name"], each["Hash"], each["Type"] == _DIRECTORY_LINK)
            for each in found["Objects"][0]["Links"] or ()
        ]
        return sorted(links, key=lambda link: link.name)

    async def read(self, cid: str, size: int) -> bytes:
        """The whole of a small file. `Missing` where the node lacks a block of it."""
        if not size:
            return b""
        content = await self._content.call(
            "cat",
            [f"/ipfs/{cid}"],
            {"offline": self.local},
            lane=self._lane,
            seconds=self._seconds,
            limit=size + 1,
        )
        if len(content) != size:
            raise Corrupt(f"cat: {len(content)} bytes came of {cid}, which has {size}")
        return content

    def reader(self, found: Found) -> CidReader:
        """A file, open."""
        long, short = self._lane or self._content.downloads, self._lane or self._content.quick
        return CidReader(self._content, long, short, found.cid, found.size, local=self.local, timeout=self._seconds)

    async def _ask(self, command: str, argument: str) -> Any:
        answer = await self._index.call(
            command, [argument], {"offline": self.local}, lane=self._lane, seconds=self._seconds
        )
        return self._index.parsed(command, answer)
