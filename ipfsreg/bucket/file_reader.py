"""A file on this disk as a bucket's open file."""

import errno
import os
from collections.abc import AsyncGenerator
from typing import IO

from zope.interface import implementer

from ipfsreg.flow.shield import shield
from ipfsreg.flow.workers import Workers

from .errors import Corrupt
from .interface import IReader
from .system_errors import bucket_error

PIECE = 256 * 1024


@implementer(IReader)
class FileReader:
    """An open file on this disk, read in a thread, a piece at a time."""

    def __init__(self, file: IO[bytes], workers: Workers) -> None:
        self.file = file
        self.size = os.fstat(file.fileno()).st_size
        self._workers = workers
        self._reading = 0
        self._closed = False

    async def pieces(self, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        """See `IReader.pieces`."""
        while length:
            data = await self._read(offset, min(PIECE, length))
            if not data:
                raise Corrupt("a file became shorter while it was read")
            offset += len(data)
            length -= len(data)
            yield data

    def close(self) -> None:
        """See `IReader.close`. Waits for a piece being read, whose descriptor must not be reused meanwhile."""
        self._closed = True
        if not self._reading:
            self.file.close()

    async def _read(self, offset: int, length: int) -> bytes:
        self._reading += 1
        try:
            # A thread cannot be interrupted: who is cancelled goes on at once, and the file stays open meanwhile.
            return await shield(self._workers.run(os.pread, self.file.fileno(), length, offset).addBoth(self._was_read))
        except OSError as error:
            # One file that cannot be read, though it was opened, is a bad spot of the disk and not an outage.
            if error.errno == errno.EIO:
                raise Corrupt(f"a file cannot be read: {error}") from error
            raise bucket_error(error) from error

    def _was_read(self, result: object) -> object:
        self._reading -= 1
        if self._closed:
            self.close()
        return result
