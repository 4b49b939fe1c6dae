"""A file on this disk as a bucket's open file."""

import errno
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import IO, Any, ParamSpec, TypeVar

from twisted.internet.defer import Deferred
from zope.interface import implementer

from ipfsreg.flow.shield import shield
from ipfsreg.flow.workers import Workers

from .errors import Corrupt, bucket_error
from .interface import IReader

READ_PIECE = 256 * 1024

P = ParamSpec("P")
T = TypeVar("T")


class OpenWhileRead:
    """Keeps a file open until it was closed and nobody reads it any more: no thread may see its descriptor reused.

    ``release`` is called once, when it may be closed.
    """

    def __init__(self, workers: Workers, release: Callable[[], None]) -> None:
        self._workers = workers
        self._release = release
        self._uses = 1
        self._closed = False

    @property
    def released(self) -> bool:
        """Whether the file may be closed already."""
        return not self._uses

    async def pieces(
        self, read: Callable[[int, int], Awaitable[bytes]], offset: int, length: int
    ) -> AsyncGenerator[bytes, None]:
        """See `IReader.pieces`. ``read`` gets an offset and a length, and answers no bytes where the content ends."""
        self._uses += 1
        try:
            while length:
                data = await read(offset, min(READ_PIECE, length))
                if not data:
                    raise Corrupt("a file is shorter than it should be")
                offset += len(data)
                length -= len(data)
                yield data
        finally:
            self._used()

    async def pread(self, descriptor: int, length: int, offset: int) -> bytes:
        """`os.pread` in a thread. A thread cannot be interrupted: a cancelled caller goes on at once."""
        return await shield(self.run(os.pread, descriptor, length, offset))

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Deferred[T]":
        """Call something in a thread that reads the file. Who does not wait for it is to `shield` it."""
        self._uses += 1
        return self._workers.run(function, *args, **kwargs).addBoth(self._used)

    def close(self) -> None:
        """What is being read is read to its end first. A second call does nothing."""
        if not self._closed:
            self._closed = True
            self._used()

    def _used(self, result: Any = None) -> Any:
        self._uses -= 1
        if not self._uses:
            self._release()
        return result


@implementer(IReader)
class FileReader:
    """An open file on this disk, read in a thread, a piece at a time."""

    def __init__(self, file: IO[bytes], workers: Workers) -> None:
        self.file = file
        self.size = os.fstat(file.fileno()).st_size
        self._open = OpenWhileRead(workers, file.close)

    def pieces(self, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        return self._open.pieces(self._read, offset, length)

    def close(self) -> None:
        self._open.close()

    async def _read(self, offset: int, length: int) -> bytes:
        try:
            return await self._open.pread(self.file.fileno(), length, offset)
        except OSError as error:
            # One file that cannot be read, though it was opened, is a bad spot of the disk and not an outage.
            if error.errno == errno.EIO:
                raise Corrupt(f"a file cannot be read: {error}") from error
            raise bucket_error(error) from error
