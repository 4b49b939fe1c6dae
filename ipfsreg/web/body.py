"""A request's body as a push producer, there before the bytes are."""

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IProducer, IPushProducer
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from zope.interface import implementer

from ipfsreg.flow.streams import ConsumerGone
from ipfsreg.registry.errors import ContentTooLarge

if TYPE_CHECKING:
    from .request import StreamingRequest


class ClientGone(Exception):
    """The client went away before its request was whole."""


@implementer(IPushProducer)
class Body:
    """The body of one request. ``length`` is its Content-Length, or None where the client does not say.

    The connection is paused until somebody asks for the body with `read` or `copy_to`; what was in the same
    packets as the headers (64 KiB at most) is kept. What nobody asks for is thrown away; see `request`.
    """

    def __init__(self, request: "StreamingRequest", length: int | None) -> None:
        self.length = length
        self.received = 0
        self.ended = length == 0
        self._request = request
        self._early: list[bytes] = []
        self._consumer: IConsumer | None = None
        self._done: Deferred[None] | None = None
        self._discarding = False
        self._failure: Failure | None = None
        self._expects_continue = False
        self.paused = False
        """Whether the connection is to bring nothing more for now."""
        self._full = False  # whether the consumer wants no more for now: it may say so before we resume
        # The connection's idle time-out is for a silent client, not for one that waits for us.
        self._still_here = LoopingCall(self._wait_longer)

    def can_be_drained(self, limit: int) -> bool:
        """Whether the rest, if there is any, is known to come and to have at most ``limit`` bytes.

        A client that waits for 100 Continue and is answered something else may send its body or leave it out.
        """
        if self._expects_continue and not self.received:
            return self.ended
        return self.ended or (self.left is not None and self.left <= limit)

    @property
    def left(self) -> int | None:
        """How many bytes are still to come, or None where that is not known."""
        return None if self.length is None else self.length - self.received

    def hold(self, *, expects_continue: bool) -> None:
        """Let nothing more come before somebody asks for it."""
        self._expects_continue = expects_continue
        self.pauseProducing()

    async def read(self, limit: int) -> bytes:
        """The whole body.

        It has to be there within the time that a client may take for nothing (``stall_timeout``).

        :raises ContentTooLarge: where it is longer than ``limit`` bytes, if possible before it is read.
        :raises ClientGone: where the client went away, or was too slow.
        """
        if self.length is not None and self.length > limit:
            raise ContentTooLarge(f"the request's body is longer than {limit} bytes")
        collector = _Collector(limit)
        connection = self._request.connection
        if connection is None:
            raise ClientGone
        too_late = connection.callLater(connection.site.stall, self._request.drop)
        try:
            await self.copy_to(collector)
        except ConsumerGone:
            raise ContentTooLarge(f"the request's body is longer than {limit} bytes") from None
        except ClientGone:
            # The exception and this frame hold each other: what came would be in memory until Python looks for such.
            collector.content.clear()
            raise
        finally:
            if too_late.active():
                too_late.cancel()
        return bytes(collector.content)

    def copy_to(self, consumer: IConsumer) -> "Deferred[None]":
        """Write the body to a consumer, with this as its push producer; fires when all has been written.

        Fails with `ClientGone`, or with `ConsumerGone` where the consumer stopped this.
        """
        done: Deferred[None] = Deferred()
        self._done = done
        self._consumer = consumer
        consumer.registerProducer(self, True)
        if self._expects_continue and not self.ended:
            self._expects_continue = False
            self._request.send_continue()
        self._full = False
        early, self._early = self._early, []
        for data in early:
            if self._consumer is not None:
                self._consumer.write(data)
        if self._failure is not None:
            self._end(self._failure)
        elif self.ended:
            self._end(None)
        elif self._consumer is not None and not self._full:
            self.resumeProducing()
        return done

    def discard(self) -> None:
        """Throw away the rest, so that the connection can be used again or ended in peace."""
        self._discarding = True
        self._early = []
        self.resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        """The connection's side: bytes came."""
        self.received += len(data)
        if self._consumer is not None:
            self._consumer.write(data)
        elif not self._discarding and self._done is None:
            self._early.append(data)

    def bodyEnded(self) -> None:
        """The connection's side: that was all."""
        self.ended = True
        self.resumeProducing()  # it shows when the client goes
        self._end(None)

    def connectionLost(self) -> None:
        """The connection's side: no more will come."""
        self._stop_still_here()
        if not self.ended:
            self._failure = Failure(ClientGone("the client went away before its request was whole"))
            self._end(self._failure)

    def pauseProducing(self) -> None:
        """See `IPushProducer`."""
        self._full = True
        channel = self._request.connection
        if not self.paused and not self.ended and channel is not None:
            self.paused = True
            channel.wire.pauseProducing()
            self._still_here.start(channel.site.idle / 4, now=False)

    def resumeProducing(self) -> None:
        """See `IPushProducer`."""
        self._full = False
        channel = self._request.connection
        if self.paused and channel is not None:
            self.paused = False
            self._stop_still_here()
            channel.progressed()
            channel.wire.resumeProducing()

    def stopProducing(self) -> None:
        """See `IPushProducer`: the consumer wants no more."""
        self._end(Failure(ConsumerGone()))
        self.discard()

    def _end(self, failure: Failure | None) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is None or self._done is None:
            return
        consumer.unregisterProducer()
        if failure is None:
            self._done.callback(None)
        else:
            self._done.errback(failure)

    def _wait_longer(self) -> None:
        if self._request.connection is not None:
            self._request.connection.progressed()

    def _stop_still_here(self) -> None:
        if self._still_here.running:
            self._still_here.stop()


@implementer(IConsumer)
class _Collector:
    def __init__(self, limit: int) -> None:
        self.content = bytearray()  # and no list of pieces: they may be of one byte each
        self._left = limit
        self._producer: IProducer | None = None

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        self._producer = producer

    def unregisterProducer(self) -> None:
        self._producer = None

    def write(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left >= 0:
            self.content += data
        elif self._producer is not None:
            self._producer.stopProducing()
