"""Files and directories of the network: what the node has itself is never kept waiting by what it has to look for."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import IO, TypeVar

from cachetools import LRUCache
from zope.interface import implementer

from ipfsreg.bucket.errors import Corrupt, Unavailable
from ipfsreg.bucket.interface import IReader
from ipfsreg.bucket.kubo.errors import Missing
from ipfsreg.bucket.kubo.node.contents import Child, Contents, Found

from .reader import CidReader

T = TypeVar("T")

REMEMBERED = 10_000
"""How many names in directories are remembered: some MiB at most."""


class LocalFirst:
    """As `Contents`: asks ``here``, which answers from the node alone, and only for what it lacks ``network``.

    So nobody who asks for what the node has waits behind those who ask for what nobody has.
    """

    def __init__(self, here: Contents, network: Contents) -> None:
        self._here = here
        self._network = network
        self._steps: LRUCache[tuple[str, str], Found] = LRUCache(REMEMBERED)

    async def stat(self, path: str) -> Found:
        """What a path below ``/ipfs/`` leads to. `NotFound`."""
        # Name by name: a node looks for directories in the middle of a path on its network, whatever it is told.
        cid, *names = path.removeprefix("/ipfs/").split("/")
        if not names:
            return await self._first(lambda contents: contents.stat(path))
        for name in names:
            found = await self._step(cid, name)
            cid = found.cid
        return found

    async def _step(self, directory: str, name: str) -> Found:
        known = self._steps.get((directory, name))
        if known is None:
            known = await self._first(partial(_step, directory, name))
            if known.is_directory:  # what a CID leads to never changes; of a file one wants to know that it is there
                self._steps[directory, name] = known
        return known

    async def links(self, cid: str) -> Sequence[Child]:
        """See `Contents.links`."""
        return await self._first(lambda contents: contents.links(cid))

    async def read(self, cid: str, size: int) -> bytes:
        """See `Contents.read`."""
        return await self._first(lambda contents: contents.read(cid, size))

    def reader(self, found: Found) -> "LocalFirstReader":
        """A file, open."""
        return LocalFirstReader(self._here.reader(found), self._network.reader(found))

    async def _first(self, ask: Callable[[Contents], Awaitable[T]]) -> T:
        try:
            return await ask(self._here)
        except (Missing, Corrupt):  # `Corrupt` where the node has the first block of a file, and not all
            return await ask(self._network)


async def _step(directory: str, name: str, contents: Contents) -> Found:
    if contents.local:
        await contents.stat(f"/ipfs/{directory}")  # `Missing`, where the next question would wait for the network
    return await contents.stat(f"/ipfs/{directory}/{name}")


@implementer(IReader)
class LocalFirstReader:
    """A file of which the node may have all, some or nothing: it is read from where that ends through ``network``."""

    file: IO[bytes] | None = None

    def __init__(self, here: CidReader, network: CidReader) -> None:
        self.size = here.size
        self._here = here
        self._network = network

    async def begin(self) -> None:
        """Fetch what it begins with, so that whoever opens it knows that somebody has it."""
        async with aclosing(self.pieces(0, min(1, self.size or 0))) as pieces:
            await anext(pieces, None)

    async def pieces(self, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        """See `IReader.pieces`."""
        end = offset + length
        try:
            async with aclosing(self._here.pieces(offset, length)) as pieces:
                async for piece in pieces:
                    offset += len(piece)
                    yield piece
            return
        except (Corrupt, Unavailable):  # the node lacks its first block, or a later one
            pass
        async with aclosing(self._network.pieces(offset, end - offset)) as pieces:
            async for piece in pieces:
                yield piece

    def close(self) -> None:
        """See `IReader.close`."""
        self._here.close()
        self._network.close()
