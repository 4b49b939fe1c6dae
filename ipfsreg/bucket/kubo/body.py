"""The body of a command that takes a file: one part of a multipart form, streamed with back-pressure."""

import secrets

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.python.failure import Failure
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from ..sources import Source


@implementer(IBodyProducer)
class MultipartBody:
    """A form with one file, named ``file``: a fixed name has nothing that a node could unescape (trap 9).

    ``moved`` is when bytes were last taken. Stopped early it ends as if it were through: the closing boundary is
    missing then, and a node takes no form without it.
    """

    length = UNKNOWN_LENGTH

    def __init__(self, source: Source, clock: IReactorTime) -> None:
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}".encode()
        self.moved = 0.0
        self._head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self._source = source
        self._clock = clock
        self._paused: Deferred[None] | None = None
        self._stopped = False
        self._done: Deferred[None] = Deferred()

    def startProducing(self, consumer: IConsumer) -> "Deferred[None]":
        """See `IBodyProducer`."""
        Deferred.fromCoroutine(self._run(consumer)).addErrback(self._finish)
        return self._done

    async def _run(self, consumer: IConsumer) -> None:
        consumer.write(self._head)
        position = 0
        coming: Deferred[bytes] = Deferred.fromCoroutine(self._source.read(0))
        while data := await coming:
            position += len(data)
            coming = Deferred.fromCoroutine(self._source.read(position))  # while this piece is being sent
            if self._paused is not None:
                await self._paused
            if self._stopped:
                coming.addErrback(lambda _: None)
                break
            self.moved = self._clock.seconds()
            consumer.write(data)
        else:
            if position != self._source.size:
                raise OSError(f"the file to be sent has {position} bytes and not {self._source.size}")
            if not self._stopped:
                consumer.write(self._tail)
        self.moved = self._clock.seconds()
        self._finish(None)

    def pauseProducing(self) -> None:
        """See `IBodyProducer`."""
        if self._paused is None:
            self._paused = Deferred()

    def resumeProducing(self) -> None:
        """See `IBodyProducer`."""
        paused, self._paused = self._paused, None
        self.moved = self._clock.seconds()
        if paused is not None:
            paused.callback(None)

    def stopProducing(self) -> None:
        """See `IBodyProducer`. Does nothing where it is through."""
        self._stopped = True
        self.resumeProducing()
        self._finish(None)

    def _finish(self, result: None | Failure) -> None:
        if not self._done.called:
            self._done.callback(None) if result is None else self._done.errback(result)
