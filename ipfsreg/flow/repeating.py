"""What is done again and again while something else goes on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall


@contextmanager
def repeating(do: Callable[[], object], seconds: float, clock: IReactorTime) -> Iterator[None]:
    """Do it every so many seconds, the first time when they are over."""
    call = LoopingCall(do)
    call.clock = clock
    call.start(seconds, now=False)
    try:
        yield
    finally:
        call.stop()
