"""The body of a command that takes a file: one part of a multipart form, streamed with back-pressure."""

import secrets
from abc import ABC, abstractmethod
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.python.failure import Failure
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from ipfsreg.bucket.sources import Source


@implementer(IBodyProducer)
class FormBody(ABC):
    """A form with one file, named ``file``: a fixed name has nothing that a node could unescape (trap 9).

    ``moved`` is when bytes were last taken, ``version`` the one of HTTP that it needs on a connection of its own, with
    the `headers`. Stopped early it ends as if it were through: the closing boundary is missing then, and a node takes
    no form without it.
    """

    length = UNKNOWN_LENGTH
    version = b"1.0"

    def __init__(self, clock: IReactorTime) -> None:
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}".encode()
        self.moved = 0.0
        self.head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        self.tail = f"\r\n--{boundary}--\r\n".encode()
        self.stopped = False
        self._clock = clock
        self._paused: Deferred[None] | None = None
        self._done: Deferred[None] = Deferred()

    @abstractmethod
    def headers(self) -> list[tuple[bytes, bytes]]:
        """What it needs as headers of a call on a connection of its own."""

    @abstractmethod
    async def write(self, consumer: IConsumer) -> None:
        """Write all of it, not faster than it is `wanted`, unless it is stopped."""

    def start(self, transport: Any, request: bytes) -> "Deferred[None]":
        """Send the beginning of a request and this after it; fires when it is on its way."""
        transport.write(request)
        transport.registerProducer(self, True)
        sent = self.startProducing(transport)
        sent.addCallback(lambda _: transport.unregisterProducer())
        return sent

    def startProducing(self, consumer: IConsumer) -> "Deferred[None]":
        """See `IBodyProducer`."""
        Deferred.fromCoroutine(self._run(consumer)).addErrback(self._finish)
        return self._done

    async def _run(self, consumer: IConsumer) -> None:
        await self.write(consumer)
        self.has_moved()
        self._finish(None)

    async def wanted(self) -> None:
        """Wait until more is wanted, or nothing any more."""
        if self._paused is not None:
            await self._paused

    def has_moved(self) -> None:
        """Bytes were taken."""
        self.moved = self._clock.seconds()

    def pauseProducing(self) -> None:
        """See `IBodyProducer`."""
        if self._paused is None:
            self._paused = Deferred()

    def resumeProducing(self) -> None:
        """See `IBodyProducer`."""
        paused, self._paused = self._paused, None
        self.has_moved()
        if paused is not None:
            paused.callback(None)

    def stopProducing(self) -> None:
        """See `IBodyProducer`. Does nothing where it is through."""
        self.stopped = True
        self.resumeProducing()
        self._finish(None)

    def _finish(self, result: None | Failure) -> None:
        if not self._done.called:
            self._done.callback(None) if result is None else self._done.errback(result)


class MultipartBody(FormBody):
    """Such a form of a source whose length is known."""

    def __init__(self, source: Source, clock: IReactorTime) -> None:
        super().__init__(clock)
        self._source = source

    def headers(self) -> list[tuple[bytes, bytes]]:
        """See `FormBody`."""
        length = len(self.head) + self._source.size + len(self.tail)
        return [(b"Content-Type", self.content_type), (b"Content-Length", b"%d" % length)]

    async def write(self, consumer: IConsumer) -> None:
        """See `FormBody`."""
        consumer.write(self.head)
        position = 0
        coming: Deferred[bytes] = Deferred.fromCoroutine(self._source.read(0))
        while data := await coming:
            position += len(data)
            coming = Deferred.fromCoroutine(self._source.read(position))  # while this piece is being sent
            await self.wanted()
            if self.stopped:
                coming.addErrback(lambda _: None)
                return
            self.has_moved()
            consumer.write(data)
        if position != self._source.size:
            raise OSError(f"the file to be sent has {position} bytes and not {self._source.size}")
        if not self.stopped:
            consumer.write(self.tail)
