"""A clock that nobody can set."""

import time
from typing import Any


class MonotonicClock:
    """Seconds that only ever grow: what was used lately must not look old because the wall clock was set."""

    def seconds(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()


def run_by_monotonic_clock(reactor: Any) -> None:
    """Have all timers of a reactor, and its `seconds`, go by a clock that nobody can set.

    Twisted's go by the time of day. A step of an hour would end every deadline at once, and one back would let none of
    them end for an hour. To be called before there is any timer.
    """
    reactor.seconds = time.monotonic
