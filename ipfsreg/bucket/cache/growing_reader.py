"""An open file whose bytes are still arriving."""

import os
from collections.abc import AsyncGenerator
from typing import IO, Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from ipfsreg.bucket.errors import Corrupt
from ipfsreg.bucket.file_reader import PIECE
from ipfsreg.bucket.interface import IReader
from ipfsreg.flow.shield import shield
from ipfsreg.flow.workers import Workers

from .cache_directory import translate
from .fetch import Fetch


def open_growing(fetch: Fetch, workers: Workers) -> "Deferred[IReader]":
    """A reader of what is being fetched, once there is a byte to read or it is whole.

    Fails with the fetch's error where that comes first, so that missing content never gets a reader, nor does
    short content with a wrong digest. Cancelling it lets go of the fetch.
    """
    fetch.hold()

    def look() -> None:
        if fetch.failure is not None:
            fetch.let_go()
            opened.errback(fetch.failure)
        elif fetch.readable or fetch.whole:
            opened.callback(GrowingReader(fetch, workers))
        else:
            fetch.when_changed(look)

    def cancel(_: object) -> None:
        fetch.not_waiting(look)
        fetch.let_go()

    opened: Deferred[IReader] = Deferred(cancel)
    look()
    return opened


@implementer(IReader)
class GrowingReader:
    """Reads what has come of a fetch, and waits for what has not. It holds the fetch already when it is made."""

    def __init__(self, fetch: Fetch, workers: Workers) -> None:
        self._fetch = fetch
        self._workers = workers
        self._reading = 0
        self._closed = False
        self._let_go = False

    @property
    def size(self) -> int | None:
        """The length of the whole content; None while neither the storage nor the fetch knows it."""
        return self._fetch.size

    @property
    def file(self) -> IO[bytes] | None:
        """The file as soon as it is whole and verified."""
        return self._fetch.file if self._fetch.whole and not self._let_go else None

    async def pieces(self, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        """See `IReader.pieces`. `Corrupt` where the content ends before."""
        self._reading += 1
        try:
            while length:
                available = min(length, await self._readable(offset) - offset)
                if available <= 0:
                    raise Corrupt(f"{self._fetch.content.path} is shorter than it should be")
                data = await self._read(offset, min(PIECE, available))
                if not data:
                    raise Corrupt("a file became shorter while it was read")
                offset += len(data)
                length -= len(data)
                yield data
        finally:
            self._done()

    def close(self) -> None:
        """See `IReader.close`. What is being read is read to its end first."""
        self._closed = True
        if not self._reading and not self._let_go:
            self._let_go = True
            self._fetch.let_go()

    async def _readable(self, offset: int) -> int:
        """Wait for a byte after ``offset``, or the end; answers up to where one can read."""
        fetch = self._fetch
        while fetch.failure is None and not fetch.whole and fetch.readable <= offset:
            changed: Deferred[None] = Deferred()

            def wake(changed: "Deferred[None]" = changed) -> None:
                changed.callback(None)

            fetch.when_changed(wake)
            try:
                await changed
            finally:
                fetch.not_waiting(wake)
        if fetch.failure is not None:
            fetch.failure.raiseException()
        return fetch.readable

    async def _read(self, offset: int, length: int) -> bytes:
        # As in `FileReader`: the file stays open until the thread is done with it.
        self._reading += 1
        reading = self._workers.run(os.pread, self._fetch.file.fileno(), length, offset)
        try:
            data: bytes = await shield(reading.addBoth(self._was_read))
        except OSError as error:
            raise translate(error) from error
        if self._fetch.failure is not None:
            self._fetch.failure.raiseException()
        return data

    def _was_read(self, result: Any) -> Any:
        self._done()
        return result

    def _done(self) -> None:
        self._reading -= 1
        if self._closed:
            self.close()
