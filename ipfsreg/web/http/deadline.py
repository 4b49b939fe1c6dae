"""The one time by which a client has to have done what is waited for."""

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall

_LEAST = 0.01  # seconds, between two looks: the two clocks never quite agree


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
        """As `clear`, for good."""
        self._due = None
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
