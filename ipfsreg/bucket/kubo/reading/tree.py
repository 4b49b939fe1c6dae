"""A directory of the node as a place to read from: the committed state of our folder, or any other by its CID."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from twisted.internet.defer import Deferred
from zope.interface import implementer

from ipfsreg.bucket.bulk import IFindsByContent, WithContent
from ipfsreg.bucket.errors import NotFound, TooLarge
from ipfsreg.bucket.interface import Entry, IReader, Listing, Stat, check_path
from ipfsreg.bucket.kubo.errors import Missing
from ipfsreg.bucket.kubo.node.node import Found
from ipfsreg.ipfs.cid import RAW, cid_of

from .contents import Child, Contents

EMPTY_DIRECTORIES = {
    "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn",
    "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354",
}
"""The CIDs of a directory without entries, which a bucket does not have."""

_RAW_BLOCK = "bafkrei"  # how the CID of a raw block with its sha256 begins as text

READ_TRIES = 5
"""How often a state is looked at that is replaced meanwhile, beside garbage collection."""

T = TypeVar("T")


@implementer(IFindsByContent)
class NodeTree:
    """What of `IBucket` only reads. ``root`` answers the CID of the directory as it is now."""

    def __init__(self, contents: Contents, root: Callable[[], Awaitable[str]]) -> None:
        self._contents = contents
        self._root = root

    def stat(self, path: str) -> "Deferred[Stat]":
        async def stat() -> Stat:
            found = await self._file(path)
            return Stat(found.size, found.cid)

        return _asked(path, stat)

    def get(self, path: str, limit: int) -> "Deferred[bytes]":
        async def get() -> bytes:
            found = await self._file(path)
            if found.size > limit:
                raise TooLarge(f"{path} has {found.size} bytes, and at most {limit} are wanted")
            return await self._contents.read(found.cid, found.size)

        return _asked(path, get)

    def open(self, path: str) -> "Deferred[IReader]":
        async def opened() -> IReader:
            return await self._contents.open(await self._file(path))

        return _asked(path, opened)

    def list(self, directory: str) -> "Deferred[Sequence[Entry]]":
        async def entries() -> Sequence[Entry]:
            return _entries(await self._links(directory))

        return _asked(directory, entries)

    def names_with(self, directory: str, content: bytes) -> "Deferred[WithContent | None]":
        """See `IFindsByContent.names_with`: a file of one raw block has its content's hash for its CID."""
        wanted = str(cid_of(RAW, content))

        async def found() -> WithContent | None:
            files = [link for link in await self._links(directory) if not link.is_directory]
            return WithContent(
                [link.name for link in files if link.cid == wanted],
                [link.name for link in files if not link.cid.startswith(_RAW_BLOCK)],
            )

        return _asked(directory, found)

    async def walk(self, directory: str, into: Callable[[str], bool] | None = None) -> AsyncIterator[Sequence[Listing]]:
        """See `IBucket.walk`: one state of the directory, however long it takes."""
        check_path(directory)
        top = await self._directory(directory)
        pending = [] if top is None else [(directory, top)]
        while pending:
            path, cid = pending.pop()
            try:
                links = await self._contents.links(cid)
            except Missing:  # that state was replaced and collected: go on with today's
                links = await _again(partial(self._links, path))
            entries = _entries(links)
            if not entries:
                continue
            yield [Listing(path, entries)]
            below = [(f"{path}/{link.name}", link.cid) for link in links if link.is_directory]
            pending += [each for each in reversed(below) if into is None or into(each[0])]

    async def _find(self, path: str) -> Found:
        return await self._contents.stat(f"/ipfs/{await self._root()}/{path}")

    async def _file(self, path: str) -> Found:
        found = await self._find(path)
        if found.is_directory:
            raise NotFound(f"{path} is a directory")
        return found

    async def _links(self, path: str) -> Sequence[Child]:
        cid = await self._directory(path)
        return [] if cid is None else await self._contents.links(cid)

    async def _directory(self, path: str) -> str | None:
        try:
            found = await self._find(path)
        except NotFound:
            return None
        return found.cid if found.is_directory else None


def _asked(path: str, ask: Callable[[], Awaitable[T]]) -> "Deferred[T]":
    check_path(path)
    return Deferred.fromCoroutine(_again(ask))


async def _again(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask again where the state was replaced between two questions, and the node has collected its garbage."""
    for _ in range(READ_TRIES - 1):
        try:
            return await ask()
        except Missing:
            continue
    return await ask()


def _entries(links: Sequence[Child]) -> Sequence[Entry]:
    return [Entry(link.name, link.is_directory) for link in links if link.cid not in EMPTY_DIRECTORIES]
