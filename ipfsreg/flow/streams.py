"""Code that waits, as a producer of bytes, and as a consumer of them."""

from collections.abc import AsyncIterator
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IProducer, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from ipfsreg.bucket.interface import ConsumerGone

_WAITING_MAX = 1024 * 1024


@implementer(IPushProducer)
class Gate:
    """A producer for code that waits: open while the consumer wants more."""

    def __init__(self) -> None:
        self._paused = False
        self._stopped = False
        self._waiting: Deferred[None] | None = None

    async def opened(self) -> None:
        """Wait until the consumer wants more.

        :raises ConsumerGone: where it will not.
        """
        if self._paused and not self._stopped:
            self._waiting = Deferred()
            await self._waiting
        if self._stopped:
            raise ConsumerGone

    def pauseProducing(self) -> None:
        """See `IPushProducer`."""
        self._paused = True

    def resumeProducing(self) -> None:
        """See `IPushProducer`."""
        self._paused = False
        self._wake()

    def stopProducing(self) -> None:
        """See `IPushProducer`."""
        self._stopped = True
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)


async def write_pieces(consumer: IConsumer, pieces: AsyncIterator[bytes]) -> None:
    """Write what an iterator gives, which is asked for a piece only while the consumer wants more.

    :raises ConsumerGone: where it wants no more at all.
    """
    gate = Gate()
    consumer.registerProducer(gate, True)
    try:
        async for piece in pieces:
            await gate.opened()
            consumer.write(piece)
        await gate.opened()
    finally:
        consumer.unregisterProducer()


@implementer(IConsumer)
class Pieces:
    """A consumer whose bytes are taken from it by code that waits. It pauses its producer while much is waiting."""

    def __init__(self) -> None:
        self._waiting: list[bytes] = []
        self._length = 0
        self._paused = False
        self._producer: IPushProducer | None = None
        self._end: Failure | None = None
        self._ended = False
        self._wanted: Deferred[None] | None = None

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """See `IConsumer`. Only push producers."""
        assert streaming
        self._producer = cast(IPushProducer, producer)

    def unregisterProducer(self) -> None:
        """See `IConsumer`."""
        self._producer = None

    def write(self, data: bytes) -> None:
        """See `IConsumer`."""
        self._waiting.append(data)
        self._length += len(data)
        if self._length > _WAITING_MAX and not self._paused and self._producer is not None:
            self._paused = True
            self._producer.pauseProducing()
        self._wake()

    def end(self, result: object = None) -> None:
        """That was all; a `Failure` says that it was not."""
        self._ended = True
        self._end = result if isinstance(result, Failure) else None
        self._wake()

    def stop(self) -> None:
        """No more is wanted."""
        if self._producer is not None:
            self._producer.stopProducing()

    async def take(self) -> bytes:
        """What came since the last time, or nothing at the end. Fails as the producer did."""
        while not self._waiting and not self._ended:
            self._wanted = Deferred()
            await self._wanted
        if self._waiting:
            pieces, self._waiting, self._length = self._waiting, [], 0
            if self._paused:
                self._paused = False
                if self._producer is not None:
                    self._producer.resumeProducing()
            return b"".join(pieces)
        if self._end is not None:
            self._end.raiseException()
        return b""

    def _wake(self) -> None:
        wanted, self._wanted = self._wanted, None
        if wanted is not None:
            wanted.callback(None)
