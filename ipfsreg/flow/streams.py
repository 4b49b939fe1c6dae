"""Bytes between code that waits and Twisted's transports.

Between our own layers a stream is an async iterator of pieces. Where it meets a transport there is one adapter for each
direction: `write_pieces` and `PiecesBody` write an iterator to a consumer, `Pieces` is a consumer to iterate over.

A reader that stops before the end closes the iterator (``contextlib.aclosing``): it may hold a file or a connection.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IProducer, IPushProducer
from twisted.python.failure import Failure
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from .signal import Signal

T = TypeVar("T")

WAITING_MAX = 256 * 1024
"""How many bytes may wait in `Pieces` before its producer is paused."""


async def next_or_none(iterator: AsyncIterator[T]) -> T | None:
    """What an iterator has next; None at its end.

    ``anext`` with a default fails in Python 3.11 with a `TypeError` where the iterator awaits, in an iterator of its
    own, a Deferred that has another result than None.
    """
    try:
        return await anext(iterator)
    except StopAsyncIteration:
        return None


class ConsumerGone(Exception):
    """The consumer stopped its producer before it had everything."""


@implementer(IPushProducer)
class Valve:
    """The producer's side of code that waits: open while the consumer wants more."""

    def __init__(self) -> None:
        self._paused = False
        self._stopped = False
        self._open = Signal()
        self._next: Deferred[bytes | None] | None = None

    async def write(self, consumer: IConsumer, pieces: AsyncGenerator[bytes, None]) -> None:
        """Write what an iterator gives, which is asked for a piece only while the consumer wants more; close it.

        Where the consumer stops, what the iterator waits for is cancelled; how it fails then tells nobody anything.

        :raises ConsumerGone: where the consumer wanted no more before it had everything.
        """
        async with aclosing(pieces):
            await self._opened()
            while (piece := await self._piece(pieces)) is not None:
                consumer.write(piece)
                await self._opened()

    async def _opened(self) -> None:
        while self._paused and not self._stopped:
            await self._open.wait()
        if self._stopped:
            raise ConsumerGone

    async def _piece(self, pieces: AsyncGenerator[bytes, None]) -> bytes | None:
        async def ask() -> bytes | None:
            return await next_or_none(pieces)

        self._next = Deferred.fromCoroutine(ask())
        if self._stopped:  # by what the iterator did before it began to wait
            self._next.cancel()
        try:
            piece = await self._next
        except Exception:
            if self._stopped:
                raise ConsumerGone from None
            raise
        finally:
            self._next = None
        if self._stopped:
            raise ConsumerGone
        return piece

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._open.give()

    def stopProducing(self) -> None:
        self._stopped = True
        self._open.give()
        if self._next is not None:
            self._next.cancel()


async def write_pieces(consumer: IConsumer, pieces: AsyncGenerator[bytes, None]) -> None:
    """Write all pieces to a consumer as a push producer registered with it, and close the iterator.

    :raises ConsumerGone: where the consumer wanted no more before it had everything.
    """
    valve = Valve()
    consumer.registerProducer(valve, True)
    try:
        await valve.write(consumer, pieces)
    finally:
        consumer.unregisterProducer()


@implementer(IBodyProducer)
class PiecesBody(Valve):
    """The pieces of an iterator as the body of a request of `treq` or `twisted.web.client`."""

    def __init__(self, pieces: AsyncGenerator[bytes, None], length: int | None) -> None:
        super().__init__()
        self.length = UNKNOWN_LENGTH if length is None else length
        self._pieces = pieces

    def startProducing(self, consumer: IConsumer) -> "Deferred[None]":
        return Deferred.fromCoroutine(self._produce(consumer))

    async def _produce(self, consumer: IConsumer) -> None:
        try:
            await self.write(consumer, self._pieces)
        except ConsumerGone:
            # There is an answer already, or the connection is gone, and that says why: by the interface nothing
            # fires after `stopProducing`.
            await Deferred()


@implementer(IConsumer)
class Pieces:
    """A consumer that code which waits iterates over. It pauses its producer while much is waiting.

    The iteration ends with `end`, or fails as it was told to.
    """

    def __init__(self) -> None:
        self._waiting: list[bytes] = []
        self._length = 0
        self._paused = False
        self._producer: IPushProducer | None = None
        self._failure: Failure | None = None
        self._ended = False
        self._more = Signal()

    @property
    def is_full(self) -> bool:
        """Whether its producer waits for the reader."""
        return self._paused

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """See `IConsumer`. Only push producers."""
        assert streaming
        self._producer = cast(IPushProducer, producer)

    def unregisterProducer(self) -> None:
        self._producer = None

    def write(self, data: bytes) -> None:
        self._waiting.append(data)
        self._length += len(data)
        if self._length > WAITING_MAX and not self._paused and self._producer is not None:
            self._paused = True
            self._producer.pauseProducing()
        self._more.give()

    def end(self, result: object = None) -> None:
        """That was all; a `Failure` says that it was not."""
        self._ended = True
        self._failure = result if isinstance(result, Failure) else None
        self._more.give()

    def stop(self) -> None:
        """No more is wanted."""
        if self._producer is not None:
            self._producer.stopProducing()

    def __aiter__(self) -> "Pieces":
        return self

    async def __anext__(self) -> bytes:
        """All that waits, as one piece."""
        while not self._waiting and not self._ended:
            await self._more.wait()
        if self._waiting:
            pieces, self._waiting, self._length = self._waiting, [], 0
            if self._paused:
                self._paused = False
                if self._producer is not None:
                    self._producer.resumeProducing()
            return b"".join(pieces)
        if self._failure is not None:
            self._failure.raiseException()
        raise StopAsyncIteration
