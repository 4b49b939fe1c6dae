"""What a client is waited for, and for how long."""

from collections.abc import Callable
from enum import Enum, auto
from typing import Any

from twisted.internet.interfaces import IDelayedCall

from .limits import LEAST_RATE, LINGER_SECONDS, HttpLimits

_LEAST = 0.01  # seconds, between two looks: the two clocks never quite agree


def _nothing(*_: object) -> None:
    """In place of what would be called: a connection that is gone, and all that holds it, is freed at once."""


class Deadline:
    """Calls ``expired`` when the time is over, by a clock that nobody can set.

    The reactor's timers go by the wall clock, so a call of theirs says only that it is time to look. Setting the
    deadline anew for each request moves no timer: it is moved when it goes off.
    """

    def __init__(self, reactor: Any, clock: Callable[[], float], expired: Callable[[], None]) -> None:
        self._reactor = reactor
        self._clock = clock
        self._expired = expired
        self._due: float | None = None
        self._call: IDelayedCall | None = None
        self._wakes = 0.0

    def set(self, seconds: float) -> None:
        """Give the client so many seconds from now on."""
        self._due = self._clock() + seconds
        self._wake_by(self._due, seconds)

    def earn(self, seconds: float, at_most: float) -> None:
        """Give it so many seconds more, but never more than ``at_most`` from now on. Nothing without a deadline."""
        if self._due is not None:
            self._due = min(self._due + seconds, self._clock() + at_most)

    def clear(self) -> None:
        """Wait for nothing."""
        self._due = None

    def stop(self) -> None:
        """As `clear`, for good: whoever was to be called is forgotten."""
        self._due = None
        self._expired = _nothing
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _wake_by(self, due: float, seconds: float) -> None:
        if self._call is None:
            self._call = self._reactor.callLater(seconds, self._look)
        elif due < self._wakes:
            self._call.reset(seconds)
        else:
            return
        self._wakes = due

    def _look(self) -> None:
        self._call = None
        if self._due is None:
            return
        left = self._due - self._clock()
        if left > 0:
            self._wake_by(self._due, max(left, _LEAST))
        else:
            self._due = None
            self._expired()


class Awaited(Enum):
    """What a client is to do next."""

    NOTHING = auto()
    """It is this side's turn."""
    REQUEST = auto()
    """To send a request, all of whose headers have to come within the time."""
    BODY = auto()
    """To send a body for the disk."""
    SMALL_BODY = auto()
    """To send a body that goes into memory, or to nobody."""
    READING = auto()
    """To take what it was sent."""
    GOODBYE = auto()
    """To see that it is refused, and stop sending."""


class Patience:
    """Calls ``expired`` with what was awaited when the time for it is over.

    A byte now and then is no reason to wait longer: the time begins anew with each step of the client's, and a body
    has to come at `LEAST_RATE`, but for pauses as long as the time itself.
    """

    def __init__(
        self, reactor: Any, clock: Callable[[], float], limits: HttpLimits, expired: Callable[[Awaited], None]
    ) -> None:
        self._deadline = Deadline(reactor, clock, self._too_late)
        self._expired = expired
        self._awaited = Awaited.NOTHING
        self._seconds = {
            Awaited.REQUEST: limits.idle,
            Awaited.BODY: limits.stall if limits.body is None else limits.body,
            Awaited.SMALL_BODY: limits.idle,
            Awaited.READING: limits.stall,
            Awaited.GOODBYE: min(limits.idle, LINGER_SECONDS),
        }

    def wait_for(self, awaited: Awaited) -> None:
        """Wait for this from now on; if that is what is waited for already, for no longer."""
        if awaited is self._awaited:
            return
        self._awaited = awaited
        if awaited is Awaited.NOTHING:
            self._deadline.clear()
        else:
            self._deadline.set(self._seconds[awaited])

    def step(self) -> None:
        """The client did what was awaited, or a part that counts for all."""
        awaited, self._awaited = self._awaited, Awaited.NOTHING
        self._deadline.clear()
        if awaited is Awaited.READING:
            self.wait_for(awaited)

    def came(self, length: int) -> None:
        """So many bytes of a body came."""
        if self._awaited is Awaited.BODY or self._awaited is Awaited.SMALL_BODY:
            self._deadline.earn(length / LEAST_RATE, self._seconds[self._awaited])

    def stop(self) -> None:
        """Wait for nothing any more."""
        self._awaited, self._expired = Awaited.NOTHING, _nothing
        self._deadline.stop()

    def _too_late(self) -> None:
        self._expired(self._awaited)
