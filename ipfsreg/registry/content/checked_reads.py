"""Content of this disk that is compared with its digest whenever it is read (``[local] verify_reads``)."""

import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from cachetools import LRUCache
from zope.interface import implementer

from ipfsreg.bucket.errors import Corrupt
from ipfsreg.bucket.interface import IReader
from ipfsreg.flow.locks import KeyedLock
from ipfsreg.flow.workers import Workers
from ipfsreg.registry.digest import Digest, new_hash

from .open_content import hash_content
from .verified_reader import VerifiedReader

REMEMBERED = 10_000
"""Of so many files it is known that they were whole when a part of them was read."""


class CheckedReads:
    """Wraps readers of whole files. ``damaged`` is told of content that is not what its digest says.

    Read whole, content is hashed on the way, each time, and its end is held back until the digest is known. Before a
    part of it is read, all of it is hashed, once for each file: device, inode, length and modification time.
    """

    def __init__(self, workers: Workers, damaged: Callable[[Digest], Awaitable[object]]) -> None:
        self._workers = workers
        self._damaged = damaged
        self._whole: LRUCache[tuple[int, ...], None] = LRUCache(REMEMBERED)
        self._hashing = KeyedLock()

    def reader(self, reader: IReader, digest: Digest, size: int) -> IReader:
        """The same content, checked."""
        return _CheckedReader(self, reader, digest, size)

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

    async def report(self, digest: Digest) -> None:
        """Content was found damaged."""
        await self._damaged(digest)


@implementer(IReader)
class _CheckedReader:
    file = None  # what the kernel sends nobody has looked at

    def __init__(self, checks: CheckedReads, reader: IReader, digest: Digest, size: int) -> None:
        self.size = size
        self._checks = checks
        self._reader = reader
        self._verified = VerifiedReader(reader, digest, size)
        self._digest = digest

    async def pieces(self, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        """See `IReader.pieces`; `Corrupt` where the content is not what its digest says."""
        try:
            if (offset, length) != (0, self.size):
                await self._checks.check_file(self._reader, self._digest)
            async with aclosing(self._verified.pieces(offset, length)) as pieces:
                async for piece in pieces:
                    yield piece
        except Corrupt:
            await self._checks.report(self._digest)
            raise

    def close(self) -> None:
        self._reader.close()
