"""The network between client and double: delays, back-pressure, and connections that break."""

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer, IReactorTime
from zope.interface import implementer

from .faults import Fault

WINDOW = 4 * 1024 * 1024
"""Bytes that may be under way in a delayed direction, as with a TCP window."""

LINGER = 0.5
"""Seconds between our end of a connection and its close, so that unread input makes no reset of it."""


class DelayLine:
    """Hands items on in order, each when its time has come."""

    def __init__(self, clock: IReactorTime, deliver: Callable[[Any], None]) -> None:
        self._clock = clock
        self._deliver = deliver
        self._items: deque[tuple[float, Any]] = deque()
        self._timer: Any = None
        self.waiting_bytes = 0

    def put(self, item: Any, due: float) -> None:
        """Hand an item on at a time of the clock, or now where that has come and nothing is before it."""
        if not self._items and due <= self._clock.seconds():
            self._deliver(item)
            return
        self.waiting_bytes += len(item) if isinstance(item, bytes) else 0
        self._items.append((due, item))
        self._schedule()

    def _schedule(self) -> None:
        if self._items and self._timer is None:
            delay = max(0.0, self._items[0][0] - self._clock.seconds())
            self._timer = self._clock.callLater(delay, self._due)

    def _due(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        while self._items and self._items[0][0] <= now:
            _, item = self._items.popleft()
            self.waiting_bytes -= len(item) if isinstance(item, bytes) else 0
            self._deliver(item)
        self._schedule()

    def clear(self) -> None:
        """Forget what has not been handed on."""
        self._items.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


@implementer(IPushProducer)
class Link:
    """One TCP connection's way in and out, with the delays and breaks of `Faults` and `Fault` on it."""

    def __init__(
        self,
        clock: IReactorTime,
        transport: Any,
        latency: float,
        receive: Callable[[bytes], None],
        dropped: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._transport = transport
        self._latency = latency
        self._receive = receive
        self._dropped = dropped
        self._opened = clock.seconds()
        self._in = DelayLine(clock, self._deliver_in)
        self._out = DelayLine(clock, self._deliver_out)
        self._paused = False
        self._waiters: list[Deferred[None]] = []
        self._watched: Fault | None = None
        self._received = self._sent = 0
        self._linger: Any = None
        self.lost = False
        self.closing = False
        transport.setTcpNoDelay(True)
        transport.registerProducer(self, True)

    def watch(self, plan: Fault) -> None:
        """Count bytes for a call that begins now, and drop the connection where its plan says so."""
        self._watched = plan
        self._received = self._sent = 0

    def arrived(self, data: bytes) -> None:
        """Take what came from the wire."""
        half = self._latency / 2
        # A new connection costs the client one more round trip, which loopback does not show.
        self._in.put(data, max(self._opened + self._latency, self._clock.seconds()) + half if half else 0)

    def _deliver_in(self, data: bytes) -> None:
        if self.lost:
            return
        self._received += len(data)
        plan = self._watched
        if plan and plan.drop_after_received is not None and self._received >= plan.drop_after_received:
            self.drop(bool(plan.reset))
            return
        self._receive(data)

    def write(self, data: bytes) -> None:
        """Send bytes, cutting the connection where a fault says so."""
        if self.lost or self.closing:
            return
        plan = self._watched
        if plan and plan.drop_after_sent is not None and self._sent + len(data) >= plan.drop_after_sent:
            self._put_out(data[: plan.drop_after_sent - self._sent])
            self.drop(bool(plan.reset))
            return
        self._sent += len(data)
        self._put_out(data)

    def _put_out(self, item: Any) -> None:
        self._out.put(item, self._clock.seconds() + self._latency / 2 if self._latency else 0)

    def _deliver_out(self, item: Any) -> None:
        if isinstance(item, bytes):
            self._transport.write(item)
            self._release()
        else:
            item()

    def drop(self, reset: bool) -> None:
        """Break the connection as when the peer or the network dies."""
        if not self.closing:
            self.closing = True
            self._put_out(self._transport.abortConnection if reset else self._lose)
            self._dropped()

    def _lose(self) -> None:
        if self.lost:
            return
        self._transport.unregisterProducer()
        self._transport.loseConnection()

    def close(self) -> None:
        """Drop TCP once all is sent."""
        if not self.closing:
            self.closing = True
            self._put_out(self._lose)

    def close_gently(self) -> None:
        """End our side once all is sent, as Go's HTTP server does; drop the connection a little later."""
        if not self.closing:
            self.closing = True
            self._put_out(self._end_writing)

    def _end_writing(self) -> None:
        if self.lost:
            return
        self._transport.unregisterProducer()
        self._transport.resumeProducing()
        self._transport.loseWriteConnection()
        self._linger = self._clock.callLater(LINGER, self._transport.abortConnection)

    def stop_reading(self) -> None:
        """Look no more at what the client sends, nor whether it is still there."""
        self._transport.pauseProducing()

    def connection_lost(self) -> None:
        """The connection is gone."""
        self.lost = True
        self._in.clear()
        self._out.clear()
        if self._linger is not None and self._linger.active():
            self._linger.cancel()
        self._release()

    def writable(self) -> "Deferred[None] | None":
        """None, or what fires when there is room again (or the connection is gone)."""
        if self.lost or not (self._paused or self._out.waiting_bytes > WINDOW):
            return None
        waiter: Deferred[None] = Deferred()
        self._waiters.append(waiter)
        return waiter

    def _release(self) -> None:
        if not self.lost and (self._paused or self._out.waiting_bytes > WINDOW):
            return
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(None)

    # IPushProducer, towards the transport.

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._release()

    def stopProducing(self) -> None:
        self._paused = False
