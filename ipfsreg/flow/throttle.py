"""Keeping long background work from taking the reactor or the disk for itself."""

from collections import deque
from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater


class Turns:
    """What many loops share that may run at the same time: one of them goes on in each turn of the reactor.

    Else the reactor would be kept for as many pauses as there are loops.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: deque[Deferred[None]] = deque()

    def next(self) -> "Deferred[None]":
        """Fires when it is the caller's turn."""
        turn: Deferred[None] = Deferred()
        self._waiting.append(turn)
        if len(self._waiting) == 1:
            self._clock.callLater(0, self._give)
        return turn

    def _give(self) -> None:
        turn = self._waiting.popleft()
        if self._waiting:
            self._clock.callLater(0, self._give)
        turn.callback(None)


_SHORTEST_REST = 0.005  # a shorter one would take longer than it should
_LONGEST_REST = 1.0

FILE_COSTS = 64 * 1024
"""Bytes that could be read in the time that it takes to open a file and read a little."""


class Throttle:
    """Pauses for background work. ``rate`` is in bytes a second, None for as fast as it goes.

    There is a pause after ``steps``, which should take no more than a millisecond or two together. ``turns`` are those
    of all loops of its kind. ``share`` is the part of the time in which it works, at the most: what lies between two
    pauses counts as work, that of threads too.
    """

    def __init__(
        self,
        clock: IReactorTime,
        rate: float | None = None,
        steps: int = 20,
        turns: Turns | None = None,
        share: float | None = None,
    ) -> None:
        self._clock = clock
        self._rate = rate
        self._every = steps
        self._turns = turns
        self._rest = 0.0 if share is None else 1 / share - 1  # seconds for each second of work
        self._owed = 0.0  # seconds of rest
        self._steps = 0
        self._began = clock.seconds()

    async def step(self, weight: int = 1) -> None:
        """Call it for each small step, or once for ``weight`` of them: now and then the reactor does other things."""
        self._steps += weight
        if self._steps >= self._every:
            self._steps = 0
            if self._turns:
                await self._turns.next()
                return
            self._owed += max(0.0, self._clock.seconds() - self._began) * self._rest
            rest = min(self._owed, _LONGEST_REST) if self._owed >= _SHORTEST_REST else 0.0
            self._owed = 0.0 if rest else self._owed
            await self._sleep(rest)
            self._began = self._clock.seconds()

    async def moved(self, length: int) -> None:
        """Call it after ``length`` bytes were read: it waits as long as the rate wants."""
        if self._rate:
            await self._sleep(length / self._rate)

    async def read(self, lengths: Sequence[int]) -> None:
        """Call it after whole files of these lengths were read: a short one counts as `FILE_COSTS` bytes."""
        await self.moved(sum(max(length, FILE_COSTS) for length in lengths))

    def _sleep(self, seconds: float) -> "Deferred[None]":
        return deferLater(self._clock, seconds, lambda: None)
