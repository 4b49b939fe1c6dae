"""Keeping long background work from taking the reactor or the disk for itself."""

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater


class Throttle:
    """Pauses for background work. ``rate`` is in bytes a second, None for as fast as it goes.

    There is a pause after ``steps``, which should take no more than a millisecond or two together.
    """

    def __init__(self, clock: IReactorTime, rate: float | None = None, steps: int = 20) -> None:
        self._clock = clock
        self._rate = rate
        self._every = steps
        self._steps = 0

    async def step(self, weight: int = 1) -> None:
        """Call it for each small step, or once for ``weight`` of them: now and then the reactor does other things."""
        self._steps += weight
        if self._steps >= self._every:
            self._steps = 0
            await self._sleep(0)

    async def moved(self, length: int) -> None:
        """Call it after ``length`` bytes were read: it waits as long as the rate wants."""
        if self._rate:
            await self._sleep(length / self._rate)

    def _sleep(self, seconds: float) -> "Deferred[None]":
        return deferLater(self._clock, seconds, lambda: None)
