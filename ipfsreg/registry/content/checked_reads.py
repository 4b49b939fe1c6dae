"""Content that is compared with its digest while it is read, or whose bucket finds out then that it is damaged."""

import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import IO

from cachetools import LRUCache
from zope.interface import implementer

from ipfsreg.bucket.errors import Corrupt
from ipfsreg.bucket.interface import IReader
from ipfsreg.flow.locks import KeyedLock
from ipfsreg.flow.workers import Workers
from ipfsreg.registry.digest import Digest, new_hash

from .open_content import hash_content

HELD_BACK = 16 * 1024
"""How many bytes at the end are passed on only once the digest is known to be right."""

REMEMBERED = 10_000
"""Of so many files it is known that they were whole when a part of them was read."""


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


@implementer(IReader)
class VerifiedReader:
    """Open content that should have a digest and ``size`` bytes.

    Read whole, it is compared with the digest, and the last bytes are not passed on where it has another one: so a
    client never has all of something wrong. A part is as right as what is below this reader makes it.
    """

    file = None

    def __init__(self, reader: IReader, digest: Digest, size: int) -> None:
        self.size = size
        self._reader = reader
        self._digest = digest

    def pieces(self, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        """See `IReader.pieces`; `Corrupt` where the content is not what its digest says."""
        return self._verified() if (offset, length) == (0, self.size) else self._reader.pieces(offset, length)

    async def _verified(self) -> AsyncGenerator[bytes, None]:
        hash_ = new_hash(self._digest.algorithm)
        left, withheld = self.size, b""
        async with aclosing(self._reader.pieces(0, self.size)) as pieces:
            async for piece in pieces:
                hash_.update(piece)
                left -= len(piece)
                ready = withheld + piece
                passed = max(len(ready) - max(HELD_BACK - max(left, 0), 0), 0)
                withheld = ready[passed:]
                if passed:
                    yield ready[:passed]
        if left or hash_.hexdigest() != self._digest.hex:
            raise Corrupt(f"what was read for {self._digest} is not that content")
        if withheld:
            yield withheld

    def close(self) -> None:
        self._reader.close()


class CheckedReads:
    """Wraps readers of whole files of this disk (``[local] verify_reads``).

    ``damaged`` is told of content that is not what its digest says. Read whole, content is hashed on the way, each
    time, and its end is held back until the digest is known. Before a part of it is read, all of it is hashed, once for
    each file: device, inode, length and modification time.
    """

    def __init__(self, workers: Workers, damaged: Callable[[Digest], Awaitable[object]]) -> None:
        self._workers = workers
        self._damaged = damaged
        self._whole: LRUCache[tuple[int, ...], None] = LRUCache(REMEMBERED)
        self._hashing = KeyedLock()

    def reader(self, reader: IReader, digest: Digest, size: int) -> IReader:
        """The same content, checked."""
        return TellingReader(_CheckedReader(self, reader, digest, size), lambda: self._damaged(digest))

    async def check_file(self, reader: IReader, digest: Digest) -> None:
        """Hash an open file unless that was done before.

        :raises Corrupt: where it is not what its digest says.
        """
        assert reader.file is not None
        found = os.fstat(reader.file.fileno())
        identity = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        async with self._hashing.of(digest):
            if identity in self._whole:
                return
            hash_ = new_hash(digest.algorithm)
            await hash_content(self._workers, reader, hash_)
            if hash_.hexdigest() != digest.hex:
                raise Corrupt(f"the stored content of {digest} is damaged")
            self._whole[identity] = None


class _CheckedReader(VerifiedReader):
    def __init__(self, checks: CheckedReads, reader: IReader, digest: Digest, size: int) -> None:
        super().__init__(reader, digest, size)
        self._checks = checks

    async def pieces(self, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        if (offset, length) != (0, self.size):
            await self._checks.check_file(self._reader, self._digest)
        async with aclosing(super().pieces(offset, length)) as pieces:
            async for piece in pieces:
                yield piece
