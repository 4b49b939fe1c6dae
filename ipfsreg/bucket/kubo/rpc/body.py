"""The bodies of commands that take files: multipart forms, streamed with back-pressure."""

import secrets
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from ipfsreg.bucket.sources import Source
from ipfsreg.flow.streams import ConsumerGone, Valve


@implementer(IBodyProducer)
class FormBody(Valve, ABC):
    """A form of files that are all named ``file``: a fixed name has nothing that a node could unescape.

    ``moved`` is when the node last took some of it, by the reactor's clock. ``version`` is the version of HTTP that the
    body needs on a connection of its own, with the `headers`.

    A body that is stopped early ends as if it were complete. Its closing boundary is missing then, and a node accepts
    no form without it.
    """

    length: Any = UNKNOWN_LENGTH
    version = b"1.0"

    def __init__(self, clock: IReactorTime) -> None:
        super().__init__()
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}".encode()
        self.moved = 0.0
        self.head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        self.tail = f"\r\n--{boundary}--\r\n".encode()
        self._clock = clock

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers that it needs in a call on a connection of its own."""
        return [(b"Content-Type", self.content_type)]

    @abstractmethod
    def pieces(self) -> AsyncGenerator[bytes, None]:
        """The whole form, a piece at a time."""

    def start(self, transport: Any, request: bytes) -> "Deferred[None]":
        """Send the beginning of a request and this after it; fires when it is on its way."""
        transport.write(request)
        transport.registerProducer(self, True)
        sent = self.startProducing(transport)
        sent.addCallback(lambda _: transport.unregisterProducer())
        return sent

    def startProducing(self, consumer: IConsumer) -> "Deferred[None]":
        return Deferred.fromCoroutine(self._produce(consumer))

    async def _produce(self, consumer: IConsumer) -> None:
        with suppress(ConsumerGone):
            await self.write(consumer, self._watched())

    async def _watched(self) -> AsyncGenerator[bytes, None]:
        async with aclosing(self.pieces()) as pieces:
            async for piece in pieces:
                yield piece
                self.has_moved()

    def resumeProducing(self) -> None:
        self.has_moved()
        super().resumeProducing()

    def has_moved(self) -> None:
        """Note that the node took some of it."""
        self.moved = self._clock.seconds()


class FileBody(FormBody):
    """A form with one file, whose length is known."""

    def __init__(self, source: Source, clock: IReactorTime) -> None:
        super().__init__(clock)
        self._source = source

    def headers(self) -> list[tuple[bytes, bytes]]:
        length = len(self.head) + self._source.size + len(self.tail)
        return [*super().headers(), (b"Content-Length", b"%d" % length)]

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """See `FormBody.pieces`. The next piece is read while one is being sent."""
        yield self.head
        position = 0
        coming: Deferred[bytes] = Deferred.fromCoroutine(self._source.read(0))
        try:
            while data := await coming:
                position += len(data)
                coming = Deferred.fromCoroutine(self._source.read(position))
                yield data
        finally:
            coming.addErrback(lambda _: None)
        if position != self._source.size:
            raise OSError(f"the file to be sent has {position} bytes and not {self._source.size}")
        yield self.tail


class BlocksBody(FormBody):
    """A form of blocks, which are in memory."""

    def __init__(self, blocks: Sequence[bytes], clock: IReactorTime) -> None:
        super().__init__(clock)
        files = b"\r\n".join(self.head + block for block in blocks)
        self._content = files + self.tail
        self.length = len(self._content)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        yield self._content
