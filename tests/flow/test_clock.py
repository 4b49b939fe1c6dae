"""Clocks that nobody can set."""

import subprocess
import sys

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
