"""What a registry runs on: threads and clocks."""

from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from ipfsreg.flow.clock import MonotonicClock
from ipfsreg.flow.workers import Workers


class Clock(Protocol):
    """What tells the time. Not the wall clock, which can be set back."""

    def seconds(self) -> float:
        """Seconds since some moment."""


class Runtime:
    """Threads, and a clock for each purpose.

    ``clock`` is for timers. ``steady`` is the guard's, by default one that nobody can set. ``now`` tells seconds since
    1970, for times that are read after a restart; by default ``clock`` does. ``share`` is the part of one core that
    work in the background may take beside clients, None where there are none.
    """

    def __init__(
        self,
        workers: Workers,
        clock: IReactorTime,
        *,
        steady: Clock | None = None,
        now: Callable[[], float] | None = None,
        share: float | None = None,
    ) -> None:
        self.workers = workers
        self.clock = clock
        self.steady: Clock = MonotonicClock() if steady is None else steady
        self.share = share
        self.now = clock.seconds if now is None else now
