"""A request's body as a push producer, there before the bytes are."""

from collections.abc import Sequence
from enum import Enum, auto
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IProducer, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from ipfsreg.flow.streams import ConsumerGone


class ClientGone(Exception):
    """The client went away before its request was whole, or before it had its answer."""


class ClientTooSlow(Exception):
    """The client took longer for its request than it is waited for."""


class BodyTooLong(Exception):
    """The body is longer than its reader takes."""


class BodyState(Enum):
    """What becomes of a body's bytes."""

    HELD = auto()
    """Nobody has asked for it yet: the client is held back."""
    FLOWING = auto()
    """It goes to a consumer."""
    FULL = auto()
    """It goes to a consumer, which wants no more for now."""
    DISCARDED = auto()
    """Nobody wants it: the rest is thrown away, so that the connection can go on or end in peace."""
    ENDED = auto()
    """All of it came."""
    BROKEN = auto()
    """The rest will never come."""


class BodyEvent(Enum):
    """What happens to a body."""

    ASKED = auto()
    PAUSED = auto()
    RESUMED = auto()
    UNWANTED = auto()
    ALL_CAME = auto()
    LOST = auto()


TRANSITIONS = {
    BodyState.HELD: {
        BodyEvent.ASKED: BodyState.FLOWING,
        BodyEvent.UNWANTED: BodyState.DISCARDED,
        BodyEvent.LOST: BodyState.BROKEN,
    },
    BodyState.FLOWING: {
        BodyEvent.PAUSED: BodyState.FULL,
        BodyEvent.RESUMED: BodyState.FLOWING,
        BodyEvent.UNWANTED: BodyState.DISCARDED,
        BodyEvent.ALL_CAME: BodyState.ENDED,
        BodyEvent.LOST: BodyState.BROKEN,
    },
    BodyState.FULL: {
        BodyEvent.PAUSED: BodyState.FULL,
        BodyEvent.RESUMED: BodyState.FLOWING,
        BodyEvent.UNWANTED: BodyState.DISCARDED,
        BodyEvent.ALL_CAME: BodyState.ENDED,
        BodyEvent.LOST: BodyState.BROKEN,
    },
    BodyState.DISCARDED: dict.fromkeys((BodyEvent.PAUSED, BodyEvent.RESUMED, BodyEvent.UNWANTED), BodyState.DISCARDED)
    | {BodyEvent.ALL_CAME: BodyState.ENDED, BodyEvent.LOST: BodyState.BROKEN},
    BodyState.ENDED: dict.fromkeys(BodyEvent, BodyState.ENDED),
    BodyState.BROKEN: dict.fromkeys(BodyEvent, BodyState.BROKEN),
}
"""The state after each event that is possible in a state."""

WANTED = (BodyState.FLOWING, BodyState.DISCARDED)
"""The states in which the client is to send."""

OVER = (BodyState.ENDED, BodyState.BROKEN)
"""The states in which no more comes."""


class BodySource(Protocol):
    """Where a body comes from."""

    def body_changed(self) -> None:
        """The body is in another state: bring more, or nothing more for now."""

    def send_continue(self) -> None:
        """Tell the client to send it."""


class BodyMemory(Protocol):
    """Memory for a body that is read whole; see `ipfsreg.web.http.budget`."""

    def grow(self, length: int) -> "Deferred[None] | None":
        """Ask for so many bytes more. None where they are there; else the Deferred fires when they are."""


@implementer(IPushProducer)
class Body:
    """The body of one request. ``length`` is its Content-Length, or None where the client does not say.

    A handler that wants it calls `read` or `copy_to`, once. ``received`` is how many bytes came so far.
    """

    def __init__(self, source: BodySource, length: int | None, *, expects_continue: bool = False) -> None:
        self.length = length
        self.received = 0
        self.state = BodyState.ENDED if length == 0 else BodyState.HELD
        self.is_collected = False
        """Whether it goes into memory as a whole."""
        self._source = source
        self._expects_continue = expects_continue and length != 0
        self._consumer: IConsumer | None = None
        self._done: Deferred[None] | None = None
        self._failure: Failure | None = None

    @property
    def ended(self) -> bool:
        """Whether all of it came."""
        return self.state is BodyState.ENDED

    @property
    def left(self) -> int | None:
        """How many bytes are still to come, or None where that is not known."""
        return None if self.length is None else self.length - self.received

    def can_be_drained(self, limit: int) -> bool:
        """Whether the rest, if there is any, is known to come and to have at most ``limit`` bytes.

        A client that waits for 100 Continue and is answered something else may send its body or leave it out.
        """
        if self.state in OVER:
            return self.state is BodyState.ENDED
        if self._expects_continue and not self.received:
            return False
        left = self.left
        return left is not None and left <= limit

    async def read(self, limit: int, lease: BodyMemory) -> bytes:
        """The whole body, which is in memory as far as ``lease`` grants that.

        :raises BodyTooLong: where it is longer than ``limit`` bytes, if possible before it is read.
        :raises ClientGone: :raises ClientTooSlow: where it does not come.
        """
        if self.length is not None and self.length > limit:
            raise BodyTooLong(limit)
        self.is_collected = True
        collector = _WholeBody(limit, lease)
        try:
            await self.copy_to(collector)
        except ConsumerGone:
            raise BodyTooLong(limit) from None
        except (ClientGone, ClientTooSlow):
            # The exception and this frame hold each other: what came would be in memory until Python looks for such.
            collector.content.clear()
            raise
        return bytes(collector.content)

    def copy_to(self, consumer: IConsumer) -> "Deferred[None]":
        """Write the body to a consumer, with this as its push producer; fires when all has been written.

        Fails with `ClientGone` or `ClientTooSlow`, or with `ConsumerGone` where the consumer stopped this.
        """
        done: Deferred[None] = Deferred()
        self._done = done
        self._consumer = consumer
        consumer.registerProducer(self, True)
        if self.state in OVER:
            self._finish(self._failure)
        else:
            if self._expects_continue and not self.received:
                self._source.send_continue()
            self._expects_continue = False
            self._happened(BodyEvent.ASKED)
        return done

    def discard(self) -> None:
        """Throw away the rest."""
        self._happened(BodyEvent.UNWANTED)

    def take(self, pieces: Sequence[bytes]) -> None:
        """The connection's side: bytes came."""
        for piece in pieces:
            self.received += len(piece)
            if self._consumer is not None:
                self._consumer.write(piece)

    def all_came(self) -> None:
        """The connection's side: that was all."""
        self._happened(BodyEvent.ALL_CAME)
        self._finish(None)

    def lost(self, error: Exception) -> None:
        """The connection's side: no more will come."""
        if self.state in OVER:
            return
        self._failure = Failure(error)
        self._happened(BodyEvent.LOST)
        self._finish(self._failure)

    def pauseProducing(self) -> None:
        self._happened(BodyEvent.PAUSED)

    def resumeProducing(self) -> None:
        self._happened(BodyEvent.RESUMED)

    def stopProducing(self) -> None:
        """See `IPushProducer`: the consumer wants no more."""
        self._finish(Failure(ConsumerGone()))
        self._happened(BodyEvent.UNWANTED)

    def _happened(self, event: BodyEvent) -> None:
        former, self.state = self.state, TRANSITIONS[self.state][event]
        if self.state is not former:
            self._source.body_changed()

    def _finish(self, failure: Failure | None) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is None or self._done is None:
            return
        consumer.unregisterProducer()
        if failure is None:
            self._done.callback(None)
        else:
            self._done.errback(failure)


@implementer(IConsumer)
class _WholeBody:
    def __init__(self, limit: int, lease: BodyMemory) -> None:
        self.content = bytearray()  # and no list of pieces: they may be of one byte each
        self._left = limit
        self._lease = lease
        self._producer: IPushProducer | None = None

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        assert IPushProducer.providedBy(producer)
        self._producer = producer

    def unregisterProducer(self) -> None:
        self._producer = None

    def write(self, data: bytes) -> None:
        if self._producer is None:
            return
        self._left -= len(data)
        if self._left < 0:
            self._producer.stopProducing()
            return
        self.content += data
        granted = self._lease.grow(len(data))
        if granted is not None:
            self._producer.pauseProducing()
            granted.addCallback(self._granted)

    def _granted(self, _: None) -> None:
        if self._producer is not None:
            self._producer.resumeProducing()
