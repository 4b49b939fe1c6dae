"""Memory that all bodies share which have to be read whole."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

UNCOUNTED = 64 * 1024
"""So many bytes of each body are not counted: what the connections themselves may hold is more."""

LEAST_COLLECTED_RATE = 64 * 1024
"""A body that comes more slowly, in bytes a second, gives its memory back as soon as another one needs it."""

_LOOK_EVERY = 0.5
_MEASURED_FOR = 1.0  # seconds


class MemoryLease:
    """What one body has of the memory. ``evict`` is called until it gives that back, where it has to."""

    def __init__(self, budget: "Budget", evict: Callable[[], None]) -> None:
        self.held = 0
        self.wanted = 0
        """How many bytes more it waits for."""
        self._evict = evict
        self._budget = budget
        self._granted: Deferred[None] | None = None
        self._free = UNCOUNTED
        self._came = 0
        self._since = budget.now()

    @property
    def waits(self) -> bool:
        """Whether it waits for memory."""
        return self._granted is not None

    def grow(self, length: int) -> "Deferred[None] | None":
        """Count bytes that came. None where there is memory for them; else the Deferred fires when there is."""
        self._came += length
        free = min(self._free, length)
        self._free -= free
        return self._budget.take(self, length - free) if length > free else None

    # The budget's side.

    def hold(self, length: int) -> None:
        """It has so many bytes more."""
        self.held += length

    def wait(self, length: int) -> "Deferred[None]":
        """It has to wait for so many bytes."""
        self.wanted, self._granted = length, Deferred()
        return self._granted

    def grant(self) -> None:
        """It has what it waited for."""
        assert self._granted is not None
        self.held += self.wanted
        self._came, self._since = 0, self._budget.now()  # it could not help the time that it waited
        granted, self._granted = self._granted, None
        granted.callback(None)

    def look(self, now: float) -> None:
        """Let the body give everything back if it came too slowly since the last look."""
        seconds = now - self._since
        if self.waits or seconds < _MEASURED_FOR:
            return
        if self._came < LEAST_COLLECTED_RATE * seconds:
            self._evict()
        else:
            self._came, self._since = 0, now


class Budget:
    """``total`` bytes for bodies, taken as their bytes come, and not when a client says that it will send them.

    Bodies that wait for each other's memory would wait for ever, so the oldest one always gets what it needs. The
    memory is bounded by ``total`` and one body more. A body that holds memory and comes too slowly is evicted while
    another one waits.
    """

    def __init__(self, total: int, reactor: Any, clock: Callable[[], float]) -> None:
        self.now = clock
        self._left = total
        self._reactor = reactor
        self._leases: dict[MemoryLease, None] = {}  # those that hold or want memory, the oldest first
        self._waiting = 0
        self._look_later: IDelayedCall | None = None

    @contextmanager
    def lease(self, evict: Callable[[], None]) -> Iterator[MemoryLease]:
        """Memory for a body within the block."""
        lease = MemoryLease(self, evict)
        try:
            yield lease
        finally:
            if lease in self._leases:
                del self._leases[lease]
                self._left += lease.held
                self._waiting -= lease.waits
                self._serve()

    def take(self, lease: MemoryLease, length: int) -> "Deferred[None] | None":
        """A lease's side: give it so many bytes."""
        self._leases[lease] = None
        is_oldest = next(iter(self._leases)) is lease
        if is_oldest or (length <= self._left and not self._waiting):
            lease.hold(length)
            self._left -= length
            return None
        self._waiting += 1
        if self._look_later is None:
            self._look_later = self._reactor.callLater(_LOOK_EVERY, self._look)
        return lease.wait(length)

    def _serve(self) -> None:
        for position, lease in enumerate(list(self._leases)):
            if lease.waits:
                if position and lease.wanted > self._left:
                    return
                self._left -= lease.wanted
                self._waiting -= 1
                lease.grant()

    def _look(self) -> None:
        self._look_later = None
        if not self._waiting:
            return
        now = self.now()
        for lease in list(self._leases):
            lease.look(now)
        self._look_later = self._reactor.callLater(_LOOK_EVERY, self._look)
