"""Holding bytes back to a rate."""

from .call import Call

_SMALLEST_SLEEP = 0.005


class Pace:
    """Lets content through at so many bytes a second, or (None) at once."""

    def __init__(self, call: Call, bytes_per_second: float | None) -> None:
        self._call = call
        self._rate = bytes_per_second
        self._started = call.clock.seconds()
        self._moved = 0

    async def moved(self, count: int) -> None:
        """Wait until so many bytes more are due."""
        if self._rate is None:
            return
        self._moved += count
        ahead = self._moved / self._rate - (self._call.clock.seconds() - self._started)
        if ahead >= _SMALLEST_SLEEP:
            await self._call.sleep(ahead)
