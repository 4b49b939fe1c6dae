"""An open file whose bytes are still arriving."""

from collections.abc import AsyncGenerator
from typing import IO

from zope.interface import implementer

from ipfsreg.bucket.file_reader import OpenWhileRead
from ipfsreg.bucket.interface import IReader
from ipfsreg.flow.workers import Workers

from .cache_directory import cache_disk_error
from .fetch import Fetch, FetchState


async def open_growing(fetch: Fetch, workers: Workers) -> IReader:
    """A reader of what is being fetched, once there is a byte to read or it is whole.

    Fails with the fetch's error where that comes first, so that missing content never gets a reader, nor does
    short content with a wrong digest. Cancelling it lets go of the fetch.
    """
    fetch.hold()
    try:
        await fetch.readable_behind(0)
    except BaseException:
        fetch.let_go()
        raise
    reader: IReader = GrowingReader(fetch, workers)
    return reader


@implementer(IReader)
class GrowingReader:
    """Reads what has come of a fetch, and waits for what has not. It holds the fetch already when it is made."""

    def __init__(self, fetch: Fetch, workers: Workers) -> None:
        self._fetch = fetch
        self._open = OpenWhileRead(workers, fetch.let_go)

    @property
    def size(self) -> int | None:
        """The length of the whole content; None while neither the storage nor the fetch knows it."""
        return self._fetch.size

    @property
    def file(self) -> IO[bytes] | None:
        """The file as soon as it is whole and verified."""
        return self._fetch.file if self._fetch.state is FetchState.WHOLE and not self._open.released else None

    def pieces(self, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        """See `IReader.pieces`. `Corrupt` where the content ends before."""
        return self._open.pieces(self._read, offset, length)

    def close(self) -> None:
        self._open.close()

    async def _read(self, offset: int, length: int) -> bytes:
        readable = await self._fetch.readable_behind(offset)
        if readable <= offset:
            return b""
        try:
            data = await self._open.pread(self._fetch.file.fileno(), min(length, readable - offset), offset)
        except OSError as error:
            raise cache_disk_error(error) from error
        self._fetch.check()
        return data
