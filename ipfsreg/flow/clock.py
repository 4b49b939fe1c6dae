"""A clock that nobody can set."""

import time
from collections.abc import Callable
from typing import Any

STEP_SECONDS = 3600.0
"""By how much the time of day may be set ahead before anybody takes notice: more than any time server corrects."""


class MonotonicClock:
    """Seconds that only ever grow: what was used lately must not look old because the wall clock was set."""

    def seconds(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()


def _since_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)  # the time in which a machine is suspended counts


class TimeOfDay:
    """Tells whether the time of day was set ahead lately, when everything looks older than it is.

    ``away`` is for how long, in seconds, nobody has looked at it before: it may have been set meanwhile.
    """

    def __init__(
        self,
        away: float = 0.0,
        now: Callable[[], float] = time.time,
        steady: Callable[[], float] = _since_boot,
    ) -> None:
        self._now = now
        self._steady = steady
        self._right = now() - steady() - away
        """What it was ahead of the steady clock when it was last believed."""
        self._noticed: float | None = None

    def ahead(self, patience: float) -> float:
        """By how many seconds it was set ahead; 0 where it was not, or has stayed so for ``patience`` seconds since
        this was first called after that: then it is believed.
        """
        steady = self._steady()
        offset = self._now() - steady
        ahead = offset - self._right
        if ahead > STEP_SECONDS:
            self._noticed = steady if self._noticed is None else self._noticed
            if steady - self._noticed < patience:
                return ahead
        self._right, self._noticed = offset, None
        return 0.0


def run_by_monotonic_clock(reactor: Any) -> None:
    """Have all timers of a reactor, and its `seconds`, go by a clock that nobody can set.

    Twisted's go by the time of day. A step of an hour would end every deadline at once, and one back would let none of
    them end for an hour. To be called before there is any timer.
    """
    reactor.seconds = time.monotonic
