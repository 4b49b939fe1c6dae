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
from ipfsreg.bucket.kubo.node.node import Found
from ipfsreg.flow.streams import next_or_none

from .contents import Child, NodeContents
from .reader import CidReader

T = TypeVar("T")

NAMES_REMEMBERED = 10_000
"""How many names in directories are remembered: some MiB at most."""


class LocalFirst:
    """See `Contents`. Asks ``here``, which answers from the node alone, and ``network`` only for what that lacks.

    So a request for what the node has never waits behind requests for what nobody has.
    """

    def __init__(self, here: NodeContents, network: NodeContents) -> None:
        self._here = here
        self._network = network
        self._steps: LRUCache[tuple[str, str], Found] = LRUCache(NAMES_REMEMBERED)

    async def stat(self, path: str) -> Found:
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
            if known.is_directory:  # for good, while the node may have lost a file since
                self._steps[directory, name] = known
        return known

    async def links(self, cid: str) -> Sequence[Child]:
        return await self._first(lambda contents: contents.links(cid))

    async def read(self, cid: str, size: int) -> bytes:
        return await self._first(lambda contents: contents.read(cid, size))

    async def open(self, found: Found) -> "LocalFirstReader":
        """See `Contents.open`. A file that nobody has is `Unavailable` here already, and not only while it is read."""
        reader = LocalFirstReader(await self._here.open(found), await self._network.open(found))
        async with aclosing(reader.pieces(0, min(1, found.size))) as pieces:
            await next_or_none(pieces)
        return reader

    async def _first(self, ask: Callable[[NodeContents], Awaitable[T]]) -> T:
        try:
            return await ask(self._here)
        except (Missing, Corrupt):  # `Corrupt` where the node has the first block of a file, and not all
            return await ask(self._network)


async def _step(directory: str, name: str, contents: NodeContents) -> Found:
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

    async def pieces(self, offset: int, length: int) -> AsyncGenerator[bytes, None]:
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
        self._here.close()
        self._network.close()
