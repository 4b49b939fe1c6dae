"""A stored file as the answer to a request.

Where it is a whole file on this disk the kernel copies it to the socket (`sendfile`); else it is read through
the bucket's interface, with back-pressure. A connection on which nothing moves for long is dropped.
"""

from collections.abc import AsyncGenerator
from typing import Any

from twisted.internet.interfaces import IConsumer, IDelayedCall, IProducer
from zope.interface import implementer

from ipfsreg.bucket.interface import IReader
from ipfsreg.flow.streams import ConsumerGone, write_pieces
from ipfsreg.flow.workers import Workers

from .body import ClientGone
from .channel import IWire
from .request import StreamingRequest
from .sendfile import FileToSocket


class Sending:
    """How files are sent. ``stall`` is for how many seconds a client may take nothing before it is dropped."""

    def __init__(self, reactor: Any, workers: Workers, stall: float) -> None:
        self._reactor = reactor
        self._workers = workers
        self._stall = stall

    async def send(self, request: StreamingRequest, reader: IReader, offset: int, length: int) -> None:
        """Send a range of an open file; the request's headers, Content-Length among them, must have been set.

        They go out with the first byte: where none comes, another answer can still be given.

        :raises ClientGone: where the client went away or was dropped.
        """
        channel = request.connection
        if channel is None:
            raise ClientGone
        watch = _Watch(self._reactor, channel.wire, self._stall)
        try:
            if reader.file is not None and not channel.isSecure():
                request.write(b"")
                await FileToSocket(
                    self._reactor, self._workers, request, channel, reader.file, offset, length, watch.moved
                ).done
                request.sentLength += length  # for the log: the bytes did not pass through the request
            else:
                await write_pieces(_WatchedConsumer(request, watch), reader.pieces(offset, length))
        except ConsumerGone:
            raise ClientGone from None
        finally:
            watch.stop()

    async def send_pieces(self, request: StreamingRequest, pieces: AsyncGenerator[bytes, None]) -> None:
        """Send what an iterator gives, asked for a piece only when the client has taken most of what came before.

        :raises ClientGone: where the client went away or was dropped.
        """
        request.write(b"")
        channel = request.connection
        if channel is None:
            raise ClientGone
        watch = _Watch(self._reactor, channel.wire, self._stall)
        try:
            await write_pieces(_WatchedConsumer(request, watch), pieces)
        except ConsumerGone:
            raise ClientGone from None
        finally:
            watch.stop()


class _Watch:
    """Drops a connection on which nothing moves."""

    def __init__(self, reactor: Any, wire: IWire, stall: float) -> None:
        self._reactor = reactor
        self._wire = wire
        self._stall = stall
        self._last = reactor.seconds()
        self._call: IDelayedCall = reactor.callLater(stall, self._look)

    def moved(self) -> None:
        self._last = self._reactor.seconds()

    def stop(self) -> None:
        if self._call.active():
            self._call.cancel()

    def _look(self) -> None:
        left = self._last + self._stall - self._reactor.seconds()
        if left > 0:
            self._call = self._reactor.callLater(left, self._look)
        else:
            self._wire.abortConnection()


@implementer(IConsumer)
class _WatchedConsumer:
    """The request as a consumer: what reaches it tells the watch that the client takes something.

    The producer is only asked for more when the connection has room, so a stalled client stops the writes.
    """

    def __init__(self, request: StreamingRequest, watch: _Watch) -> None:
        self._request = request
        self._watch = watch

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        self._request.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        if self._request.connection is not None:
            self._request.unregisterProducer()

    def write(self, data: bytes) -> None:
        self._watch.moved()
        self._request.write(data)
