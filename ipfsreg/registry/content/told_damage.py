"""Content whose bucket finds out while it is read that it is damaged, as an encrypted one does."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import IO

from zope.interface import implementer

from ipfsreg.bucket.errors import Corrupt
from ipfsreg.bucket.interface import IReader


@implementer(IReader)
class TellingReader:
    """The same content; ``damaged`` is awaited before a `Corrupt` is passed on."""

    def __init__(self, reader: IReader, damaged: Callable[[], Awaitable[object]]) -> None:
        self._reader = reader
        self._damaged = damaged

    @property
    def size(self) -> int | None:
        return self._reader.size

    @property
    def file(self) -> IO[bytes] | None:
        return self._reader.file

    async def pieces(self, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        try:
            async with aclosing(self._reader.pieces(offset, length)) as pieces:
                async for piece in pieces:
                    yield piece
        except Corrupt:
            await self._damaged()
            raise

    def close(self) -> None:
        self._reader.close()
