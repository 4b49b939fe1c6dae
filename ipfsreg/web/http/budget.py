"""Memory that all bodies share which have to be read whole."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

SMALL = 64 * 1024
"""So many bytes of each body are not counted: what the connections themselves may hold is more."""

LEAST_RATE = 64 * 1024
"""A body that comes more slowly, in bytes a second, gives its memory back as soon as another one needs it."""

_LOOK_EVERY = 0.5
_MEASURED_FOR = 1.0  # seconds


class Lease:
    """What one body has of the memory. ``evict`` is called until it gives that back, where it has to."""

    def __init__(self, budget: "Budget", evict: Callable[[], None]) -> None:
        self.held = 0
        self.evict = evict
        self.wanted = 0
        self.waiting: Deferred[None] | None = None
        self.came = 0
        """How many bytes of the body came since `since`."""
        self.since = budget.now()
        self._budget = budget
        self._free = SMALL

    def grow(self, length: int) -> "Deferred[None] | None":
        """Count bytes that came. None where there is memory for them; else the Deferred fires when there is."""
        self.came += length
        free = min(self._free, length)
        self._free -= free
        return self._budget.take(self, length - free) if length > free else None


class Budget:
    """``total`` bytes for whoever has received them, and never for a promise to send them.

    Bodies that wait for each other's memory would wait for ever: the oldest one always gets what it needs. So the
    memory is bounded by ``total`` and one body more. Who holds memory and does not get on while another one waits is
    evicted.
    """

    def __init__(self, total: int, reactor: Any, clock: Callable[[], float]) -> None:
        self.now = clock
        self._left = total
        self._reactor = reactor
        self._leases: dict[Lease, None] = {}  # those that hold or want memory, the oldest first
        self._waiting = 0
        self._look_later: IDelayedCall | None = None

    @contextmanager
    def lease(self, evict: Callable[[], None]) -> Iterator[Lease]:
        """Memory for a body within the block."""
        lease = Lease(self, evict)
        try:
            yield lease
        finally:
            if lease in self._leases:
                del self._leases[lease]
                self._left += lease.held
                if lease.waiting is not None:
                    lease.waiting = None
                    self._waiting -= 1
                self._serve()

    def take(self, lease: Lease, length: int) -> "Deferred[None] | None":
        """A lease's side: give it so many bytes."""
        self._leases[lease] = None
        is_oldest = next(iter(self._leases)) is lease
        if is_oldest or (length <= self._left and not self._waiting):
            lease.held += length
            self._left -= length
            return None
        lease.wanted = length
        lease.waiting = Deferred()
        self._waiting += 1
        if self._look_later is None:
            self._look_later = self._reactor.callLater(_LOOK_EVERY, self._look)
        return lease.waiting

    def _serve(self) -> None:
        for position, lease in enumerate(list(self._leases)):
            if lease.waiting is not None:
                if position and lease.wanted > self._left:
                    return
                lease.held += lease.wanted
                self._left -= lease.wanted
                lease.came, lease.since = 0, self.now()  # it could not help the time that it waited
                waiting, lease.waiting = lease.waiting, None
                self._waiting -= 1
                waiting.callback(None)

    def _look(self) -> None:
        self._look_later = None
        if not self._waiting:
            return
        now = self.now()
        for lease in list(self._leases):
            if lease.waiting is None and now - lease.since >= _MEASURED_FOR:
                if lease.came < LEAST_RATE * (now - lease.since):
                    lease.evict()
                else:
                    lease.came, lease.since = 0, now
        self._look_later = self._reactor.callLater(_LOOK_EVERY, self._look)
