"""The clocks that daemons on one bucket go by."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def _uptime() -> float:
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True, slots=True)
class Clocks:
    """``reactor`` is for what this daemon waits for.

    ``uptime`` is for what others wait for: seconds that go on while the machine sleeps, whatever becomes of its clock.
    ``now`` is the time of day in seconds, by which states are numbered; it may differ between machines.
    """

    reactor: Any
    uptime: Callable[[], float] = _uptime
    now: Callable[[], float] = time.time
