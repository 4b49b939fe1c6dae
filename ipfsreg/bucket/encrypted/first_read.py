"""A file of a storage that does not know how long it is, and may read it as it was opened only once."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

from twisted.internet.defer import Deferred
from zope.interface import implementer

from ipfsreg.bucket.interface import IReader

_TO_THE_END = 1 << 62

T = TypeVar("T")


async def next_of(iterator: AsyncGenerator[T, None]) -> T | None:
    """What comes next, or None at the end."""
    try:
        return await anext(iterator)
    except StopAsyncIteration:
        return None


@implementer(IReader)
class FirstRead:
    """Reads the beginning of a file, and goes on from there for whoever reads first."""

    size = None
    file = None

    def __init__(self, stored: IReader) -> None:
        self._stored = stored
        self._held = b""
        self._rest: AsyncGenerator[bytes, None] | None = stored.pieces(0, _TO_THE_END)

    async def head(self, length: int) -> bytes:
        """The first bytes; fewer where the file ends before."""
        assert self._rest is not None
        while len(self._held) < length:
            piece = await next_of(self._rest)
            if piece is None:
                break
            self._held += piece
        return self._held[:length]

    async def pieces(self, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        data: bytes | None = self._held
        rest, self._rest, self._held = self._rest, None, b""
        if rest is None:
            async with aclosing(self._stored.pieces(offset, length)) as pieces:
                async for piece in pieces:
                    yield piece
            return
        position, end = 0, offset + length
        async with aclosing(rest):
            while data is not None:
                wanted = data[max(offset - position, 0) : end - position]
                position += len(data)
                if wanted:
                    yield wanted
                if position >= end:
                    return
                data = await next_of(rest)

    def close(self) -> None:
        rest, self._rest = self._rest, None
        if rest is not None:
            Deferred.fromCoroutine(rest.aclose())
        self._stored.close()
