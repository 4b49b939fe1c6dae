"""Memory that all requests share which have to be read whole."""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from twisted.internet.defer import Deferred

SMALL = 64 * 1024
"""Bodies up to this many bytes are not counted: what the connections themselves may hold is more."""


class Budget:
    """``total`` bytes for whoever asks, first come, first served."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._left = total
        self._waiting: deque[tuple[int, Deferred[None]]] = deque()

    @asynccontextmanager
    async def of(self, length: int) -> AsyncIterator[None]:
        """Within the block that many bytes are the caller's; waits until they are there. More than all is all."""
        length = 0 if length <= SMALL else min(length, self._total)
        if length > self._left or (length and self._waiting):
            turn: Deferred[None] = Deferred()
            self._waiting.append((length, turn))
            await turn
        else:
            self._left -= length
        try:
            yield
        finally:
            self._left += length
            while self._waiting and self._waiting[0][0] <= self._left:
                wanted, turn = self._waiting.popleft()
                self._left -= wanted
                turn.callback(None)
