"""An open file of the node: ranges of it by ``cat``, straight through to whoever takes them."""

from typing import IO

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IDelayedCall, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from ipfsreg.bucket.errors import Corrupt, Unavailable
from ipfsreg.bucket.interface import IReader
from ipfsreg.bucket.kubo.errors import RETRY_AFTER, Missing
from ipfsreg.bucket.kubo.rpc.bulk import BulkCall
from ipfsreg.bucket.kubo.rpc.client import Rpc
from ipfsreg.bucket.kubo.rpc.lanes import Lane
from ipfsreg.flow.streams import ConsumerGone, Pieces

SENT = "x-content-length"
"""The header in which ``cat`` says how much it is going to send (fact sheet, section 1.4)."""

SMALL = 256 * 1024
"""Up to so many bytes are taken from the node at once, and wait here for whoever takes them slowly."""


@implementer(IReader)
class CidReader:
    """The file of a CID, ``size`` bytes long. ``local`` says that the node has to have it, and not to look elsewhere.

    Each read is a call of its own, through ``lane``, or ``small`` if it is of no more than `SMALL` bytes; what was
    opened stays readable while the node has its blocks.
    """

    file: IO[bytes] | None = None

    def __init__(
        self, rpc: Rpc, lane: Lane, small: Lane, cid: str, size: int, *, local: bool, timeout: float | None = None
    ) -> None:
        self.size: int | None = size
        self.cid = cid
        self._rpc = rpc
        self._lane = lane
        self._small = small
        self._local = local
        self._timeout = timeout or rpc.timeout

    def read(self, consumer: IConsumer, offset: int, length: int) -> "Deferred[None]":
        """See `IReader.read`.

        `Unavailable` where nothing comes for the timeout; `Corrupt` where the node lacks a block of it.
        """
        return Deferred.fromCoroutine(self._read(consumer, offset, length))

    async def _read(self, consumer: IConsumer, offset: int, length: int) -> None:
        transfer = _Transfer(consumer, length, self._timeout, self._rpc)
        transfer.begin()
        try:
            if length > SMALL:
                await self._through(transfer, offset, length, self._lane)
            elif length:
                whole = Pieces()
                await self._through(_Transfer(whole, length, self._timeout, self._rpc), offset, length, self._small)
                await transfer.turn()
                whole.end()
                consumer.write(await whole.take())
            await transfer.turn()
        finally:
            transfer.end()

    async def _through(self, transfer: "_Transfer", offset: int, length: int, lane: Lane) -> None:
        async with self._rpc.turn(lane, self._timeout) as turn:
            transfer.check()
            options = {"offset": offset, "length": length, "offline": self._local}
            try:
                call = await self._rpc.begin(turn, "cat", [f"/ipfs/{self.cid}"], options)
                sent = call.headers.get(SENT, str(length))
                if sent != str(length):
                    call.abort()
                    raise Corrupt(f"{self.cid} has not the length that it should have: cat would send {sent} bytes")
                await transfer.take(call)
            except Missing as error:
                raise Corrupt(str(error)) from None
        if transfer.came != length:
            await self._short(offset + transfer.came, lane)

    async def _short(self, position: int, lane: Lane) -> None:
        """Find out why a stream ended early, since the trailer that says it is not shown to us."""
        try:
            await self._rpc.call(
                "cat", [f"/ipfs/{self.cid}"], {"offset": position, "length": 1, "offline": self._local}, lane=lane
            )
        except Missing as error:
            raise Corrupt(str(error)) from None
        raise Unavailable(f"cat: what the node sent of {self.cid} ended early", RETRY_AFTER)

    def close(self) -> None:
        """See `IReader.close`."""


@implementer(IPushProducer)
class _Transfer:
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
        self._call: BulkCall | None = None
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

    async def take(self, call: BulkCall) -> None:
        """Write what comes; returns when all of it has, or at the end, however early."""
        self._call = call
        self._look = self._clock.callLater(self._timeout, self._stalled)
        try:
            await self.turn()  # what came with the headers would not wait
            self._moved = self._clock.seconds()
            call.ended.addBoth(self._ended)
            call.take(self._came)
            await self._done
        finally:
            self._call = None
            call.abort()
            if self._look.active():
                self._look.cancel()

    def _came(self, data: bytes) -> None:
        if self._done.called:
            return
        self.came += len(data)
        self._moved = self._clock.seconds()
        if self.came > self._length:
            self._finish(Failure(Corrupt("cat: the node sends more than it was asked for")))
            return
        self._consumer.write(data)
        if self.came == self._length:
            self._finish(None)

    def _ended(self, _: object) -> None:
        self._finish(Failure(ConsumerGone()) if self._stopped else None)

    def pauseProducing(self) -> None:
        self._paused = True
        if self._call is not None and not self._done.called:
            self._call.pauseProducing()

    def resumeProducing(self) -> None:
        self._paused = False
        self._moved = self._clock.seconds()
        if self._resumed is not None:
            self._go_on()
        elif self._call is not None and not self._done.called:
            self._call.resumeProducing()

    def stopProducing(self) -> None:
        self._stopped = True
        self._finish(Failure(ConsumerGone()))
        self._go_on()

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
        if result is None:
            self._done.callback(None)
        else:
            self._done.errback(result)
            # Stopped before it was waited for: whoever asks is told by `check`.
            self._done.addErrback(lambda failure: failure if self._call is not None else None)
