"""An open file of the node: ranges of it by ``cat``, straight through to whoever takes them."""

from typing import IO, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IDelayedCall, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.iweb import IResponse
from zope.interface import implementer

from ..errors import Corrupt, Unavailable
from ..interface import ConsumerGone, IReader
from .errors import RETRY_AFTER, Missing, Unreachable
from .rpc import Lane, Rpc

SENT = "X-Content-Length"
"""The header in which ``cat`` says how much it is going to send (fact sheet, section 1.4)."""


@implementer(IReader)
class CidReader:
    """The file of a CID, ``size`` bytes long. ``local`` says that the node has to have it, and not to look elsewhere.

    Each read is a call of its own; what was opened stays readable while the node has its blocks.
    """

    file: IO[bytes] | None = None

    def __init__(self, rpc: Rpc, lane: Lane, cid: str, size: int, *, local: bool, timeout: float | None = None) -> None:
        self.size: int | None = size
        self.cid = cid
        self._rpc = rpc
        self._lane = lane
        self._local = local
        self._timeout = timeout or rpc.timeout

    def read(self, consumer: IConsumer, offset: int, length: int) -> "Deferred[None]":
        """See `IReader.read`.

        `Unavailable` where nothing comes for the timeout; `Corrupt` where the node lacks a block of it.
        """
        transfer = _Transfer(consumer, length, self._timeout, self._rpc)
        return Deferred.fromCoroutine(self._read(transfer, offset, length))

    async def _read(self, transfer: "_Transfer", offset: int, length: int) -> None:
        transfer.begin()
        try:
            if length:
                await self._through(transfer, offset, length)
            await transfer.turn()
        finally:
            transfer.end()

    async def _through(self, transfer: "_Transfer", offset: int, length: int) -> None:
        async with self._rpc.turn(self._lane, self._timeout) as turn:
            transfer.check()
            options = {"offset": offset, "length": length, "offline": self._local}
            try:
                response = await self._rpc.begin(turn, "cat", [f"/ipfs/{self.cid}"], options)
                (sent,) = response.headers.getRawHeaders(SENT, ["unknown"])[:1]
                if sent not in {str(length), "unknown"}:
                    raise Corrupt(f"{self.cid} has not the length that it should have: cat would send {sent} bytes")
                await transfer.take(response)
            except Missing as error:
                raise Corrupt(str(error)) from None
        if transfer.came != length:
            await self._short(offset + transfer.came)

    async def _short(self, position: int) -> None:
        """Find out why a stream ended early, since the trailer that says it is not shown to us."""
        try:
            await self._rpc.call(
                "cat", [f"/ipfs/{self.cid}"], {"offset": position, "length": 1, "offline": self._local}, lane=self._lane
            )
        except Missing as error:
            raise Corrupt(str(error)) from None
        raise Unavailable(f"cat: what the node sent of {self.cid} ended early", RETRY_AFTER)

    def close(self) -> None:
        """See `IReader.close`."""


@implementer(IPushProducer)
class _Transfer(Protocol):
    """A stream of the node on its way to a consumer, which sets the pace."""

    def __init__(self, consumer: IConsumer, length: int, timeout: float, rpc: Rpc) -> None:
        self.came = 0
        self._consumer = consumer
        self._length = length
        self._timeout = timeout
        self._clock = rpc.reactor
        self._done: Deferred[None] = Deferred()
        self._paused = False
        self._stopped = False
        self._resumed: Deferred[None] | None = None
        self._streaming = False
        self._moved = 0.0
        self._look: IDelayedCall | None = None

    def begin(self) -> None:
        self._consumer.registerProducer(self, True)

    def end(self) -> None:
        self._consumer.unregisterProducer()

    def check(self) -> None:
        """Whether it is still wanted."""
        if self._stopped:
            raise ConsumerGone

    async def turn(self) -> None:
        """Wait while the consumer wants a pause."""
        while self._paused and not self._stopped:
            self._resumed = Deferred()
            await self._resumed
        self.check()

    async def take(self, response: IResponse) -> None:
        """Write what comes; returns at its end, however long it was."""
        await self.turn()  # what came with the headers would not wait
        self._streaming = True
        self._moved = self._clock.seconds()
        self._look = self._clock.callLater(self._timeout, self._stalled)
        response.deliverBody(self)
        if self._paused:
            self._pause()
        try:
            await self._done
        finally:
            self._streaming = False
            if self._look.active():
                self._look.cancel()

    def dataReceived(self, data: bytes) -> None:
        if self._stopped or self._done.called:
            return
        self.came += len(data)
        self._moved = self._clock.seconds()
        if self.came > self._length:
            self._finish(Failure(Corrupt("cat: the node sends more than it was asked for")))
            return
        self._consumer.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._stopped:
            self._finish(Failure(ConsumerGone()))
        elif reason.check(ResponseDone):
            self._finish(None)
        else:
            self._finish(Failure(Unreachable(f"cat: {reason.getErrorMessage() or 'cut off'}", RETRY_AFTER)))

    def pauseProducing(self) -> None:
        self._paused = True
        if self._streaming:
            self._pause()

    def resumeProducing(self) -> None:
        self._paused = False
        self._moved = self._clock.seconds()
        if self._streaming and self.transport is not None and not self._done.called:
            cast(IPushProducer, self.transport).resumeProducing()
        self._go_on()

    def stopProducing(self) -> None:
        self._stopped = True
        if self._streaming:
            self._finish(Failure(ConsumerGone()))
        self._go_on()

    def _pause(self) -> None:
        if self.transport is not None and not self._done.called:
            cast(IPushProducer, self.transport).pauseProducing()

    def _go_on(self) -> None:
        resumed, self._resumed = self._resumed, None
        if resumed is not None:
            resumed.callback(None)

    def _stalled(self) -> None:
        left = self._moved + self._timeout - self._clock.seconds()
        if left > 0 or self._paused:
            self._look = self._clock.callLater(left if left > 0 else self._timeout, self._stalled)
        else:
            self._finish(Failure(Unavailable("cat: the node sends nothing any more", RETRY_AFTER)))

    def _finish(self, result: None | Failure) -> None:
        if self._done.called:
            return
        if result is not None and self.transport is not None:
            self.transport.loseConnection()
        self._done.callback(None) if result is None else self._done.errback(result)
