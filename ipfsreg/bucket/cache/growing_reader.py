"""An open file whose bytes are still arriving."""

import os
from typing import IO

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from ipfsreg.bucket.errors import Corrupt
from ipfsreg.bucket.file_reader import PIECE
from ipfsreg.bucket.interface import IReader
from ipfsreg.flow.streams import ConsumerGone
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

    def read(self, consumer: IConsumer, offset: int, length: int) -> "Deferred[None]":
        """See `IReader.read`. `Corrupt` where the content ends before."""
        self._reading += 1
        producer = _GrowingProducer(self._fetch, self._workers, consumer, offset, length)
        consumer.registerProducer(producer, True)
        producer.resumeProducing()

        def ended(result: None | Failure) -> None | Failure:
            self._reading -= 1
            if self._closed:
                self.close()
            return result

        return producer.done.addBoth(ended)

    def close(self) -> None:
        """See `IReader.close`. What is being read is read to its end first."""
        self._closed = True
        if not self._reading and not self._let_go:
            self._let_go = True
            self._fetch.let_go()


@implementer(IPushProducer)
class _GrowingProducer:
    def __init__(self, fetch: Fetch, workers: Workers, consumer: IConsumer, offset: int, length: int) -> None:
        self.done: Deferred[None] = Deferred()
        self._fetch = fetch
        self._workers = workers
        self._consumer = consumer
        self._offset = offset
        self._left = length
        self._paused = True
        self._stopped = False
        self._under_way = False

    def resumeProducing(self) -> None:
        self._paused = False
        self._next()

    def pauseProducing(self) -> None:
        self._paused = True

    def stopProducing(self) -> None:
        self._stopped = True
        self._next()

    def _next(self) -> None:
        if self._under_way or self.done.called:
            return
        available = min(self._left, self._fetch.readable - self._offset)
        if self._stopped:
            self._finish(Failure(ConsumerGone()))
        elif self._fetch.failure is not None:
            self._finish(self._fetch.failure)
        elif not self._left:
            self._finish(None)
        elif self._paused or (available <= 0 and not self._fetch.whole):
            # Also while paused: where the fetch fails there is nothing to be resumed for.
            self._fetch.when_changed(self._next)
        elif available <= 0:
            self._finish(Failure(Corrupt(f"{self._fetch.content.path} is shorter than it should be")))
        else:
            self._under_way = True
            piece = self._workers.run(os.pread, self._fetch.file.fileno(), min(PIECE, available), self._offset)
            piece.addCallback(self._deliver).addErrback(self._could_not_read)

    def _deliver(self, data: bytes) -> None:
        self._under_way = False
        if not self._stopped and self._fetch.failure is None:
            if not data:
                self._finish(Failure(Corrupt("a file became shorter while it was read")))
                return
            self._offset += len(data)
            self._left -= len(data)
            self._consumer.write(data)
        self._next()

    def _could_not_read(self, failure: Failure) -> None:
        self._under_way = False
        error = failure.value
        self._finish(Failure(translate(error)) if isinstance(error, OSError) else failure)

    def _finish(self, result: None | Failure) -> None:
        if self.done.called:
            return
        self._fetch.not_waiting(self._next)
        self._consumer.unregisterProducer()
        if result is None:
            self.done.callback(None)
        else:
            self.done.errback(result)
