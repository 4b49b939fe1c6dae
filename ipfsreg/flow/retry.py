"""Trying something until it works."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from twisted.application.internet import backoffPolicy
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

FIRST_PAUSE = 1.0

T = TypeVar("T")
E = TypeVar("E", bound=Exception)


async def retry(
    clock: IReactorTime,
    work: Callable[[], Awaitable[T]],
    expected: type[E],
    failed: Callable[[E], object],
    longest: float = 60.0,
) -> T:
    """Call ``work`` until it does not fail as ``expected``, with pauses of `FIRST_PAUSE` to ``longest`` seconds.

    ``failed`` is told of each failure. Any other exception ends it.
    """
    pause = backoffPolicy(FIRST_PAUSE, longest)
    tries = 0
    while True:
        try:
            return await work()
        except expected as error:
            failed(error)
        await deferLater(clock, pause(tries), lambda: None)
        tries += 1
