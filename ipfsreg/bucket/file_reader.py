"""A file on this disk as a bucket's open file."""

import errno
import os
from typing import IO

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from ipfsreg.flow.streams import ConsumerGone
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

    def read(self, consumer: IConsumer, offset: int, length: int) -> "Deferred[None]":
        """See `IReader.read`."""
        self._reading += 1
        producer = _PieceProducer(self.file, self._workers, consumer, offset, length)
        consumer.registerProducer(producer, True)
        producer.begin()  # unless the consumer has paused or stopped it already

        def ended(result: None | Failure) -> None | Failure:
            self._reading -= 1
            if self._closed:
                self.close()
            return result

        return producer.done.addBoth(ended)

    def close(self) -> None:
        """See `IReader.close`. Waits for a piece being read, whose descriptor must not be reused meanwhile."""
        self._closed = True
        if not self._reading:
            self.file.close()


@implementer(IPushProducer)
class _PieceProducer:
    def __init__(self, file: IO[bytes], workers: Workers, consumer: IConsumer, offset: int, length: int) -> None:
        self.done: Deferred[None] = Deferred()
        self._file = file
        self._workers = workers
        self._consumer = consumer
        self._offset = offset
        self._left = length
        self._paused = False
        self._stopped = False
        self._under_way = False

    def begin(self) -> None:
        self._next()

    def resumeProducing(self) -> None:
        self._paused = False
        self._next()

    def pauseProducing(self) -> None:
        self._paused = True

    def stopProducing(self) -> None:
        self._stopped = True
        if not self._under_way:
            self._finish(Failure(ConsumerGone()))

    def _next(self) -> None:
        if self._under_way or self._paused or self.done.called:
            return
        if not self._left:
            self._finish(None)
            return
        self._under_way = True
        piece = self._workers.run(os.pread, self._file.fileno(), min(PIECE, self._left), self._offset)
        piece.addCallbacks(self._deliver, self._fail)

    def _deliver(self, data: bytes) -> None:
        self._under_way = False
        if self._stopped:
            self._finish(Failure(ConsumerGone()))
        elif not data:
            self._finish(Failure(Corrupt("a file became shorter while it was read")))
        else:
            self._offset += len(data)
            self._left -= len(data)
            self._consumer.write(data)
            self._next()

    def _fail(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, OSError):
            # One file that cannot be read, though it was opened, is a bad spot of the disk and not an outage.
            bad = error.errno == errno.EIO
            failure = Failure(Corrupt(f"a file cannot be read: {error}") if bad else bucket_error(error))
        self._finish(failure)

    def _finish(self, result: None | Failure) -> None:
        self._under_way = False
        if self.done.called:
            return
        self._consumer.unregisterProducer()
        if result is None:
            self.done.callback(None)
        else:
            self.done.errback(result)
