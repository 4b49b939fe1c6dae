"""Clocks that nobody can set."""

import subprocess
import sys

from ipfsreg.flow.clock import STEP_SECONDS, TimeOfDay

STEPPED = """
import time
from twisted.internet import reactor
from ipfsreg.flow.clock import run_by_monotonic_clock

run_by_monotonic_clock(reactor)
wall = time.time
time.time = lambda: wall() - 365 * 86400  # as if somebody had set it
assert abs(reactor.seconds() - time.monotonic()) < 1.0
late = []
reactor.callLater(0.05, lambda: (late.append(True), reactor.stop()))
reactor.callLater(3600.0, late.append, False)
began = time.monotonic()
reactor.run()
assert late == [True] and time.monotonic() - began < 30.0
"""


def test_the_reactors_timers_go_by_it() -> None:
    subprocess.run([sys.executable, "-c", STEPPED], check=True, timeout=60)


DAY = 86400.0
YEAR = 365 * DAY


class Clocks:
    """Both clocks, and a `TimeOfDay` that goes by them."""

    def __init__(self, away: float = 0.0) -> None:
        self.steady, self.set_ahead = 1000.0, 5e8
        self.time = TimeOfDay(away, lambda: self.steady + self.set_ahead, lambda: self.steady)

    def ahead(self) -> float:
        return self.time.ahead(DAY)


def test_a_clock_that_is_set_ahead_is_believed_when_it_stays_so() -> None:
    clocks = Clocks()
    for _ in range(3):
        clocks.steady += 10 * YEAR  # time goes by
        assert clocks.ahead() == 0
    clocks.set_ahead += YEAR
    for _ in range(3):
        assert clocks.ahead() == YEAR
        clocks.steady += DAY / 4
    clocks.set_ahead += YEAR
    clocks.steady += DAY / 8
    assert clocks.ahead() == 2 * YEAR
    clocks.steady += DAY / 8
    assert clocks.ahead() == 0
    assert clocks.ahead() == 0


def test_a_clock_that_is_set_right_again() -> None:
    clocks = Clocks()
    clocks.set_ahead += YEAR
    assert clocks.ahead() == YEAR
    clocks.set_ahead -= YEAR
    assert clocks.ahead() == 0
    clocks.set_ahead += STEP_SECONDS  # as a time server may
    assert clocks.ahead() == 0
    clocks.set_ahead -= YEAR  # nothing looks older then
    assert clocks.ahead() == 0


def test_who_was_away_does_not_know() -> None:
    clocks = Clocks(away=30 * DAY)
    assert clocks.ahead() == 30 * DAY
    clocks.steady += DAY
    assert clocks.ahead() == 0
