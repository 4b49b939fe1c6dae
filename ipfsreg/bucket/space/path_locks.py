"""Which paths are being changed, within this process.

The daemon has no locks across calls, and no way to remove a directory only if it is empty. So here a path is changed by
one at a time, and nothing is added to a directory that is about to go, or below it.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from twisted.internet.defer import Deferred

from ipfsreg.flow.locks import KeyedLock


class PathLocks:
    """The locks of one bucket."""

    def __init__(self) -> None:
        self._paths = KeyedLock()
        self._adding: Counter[str] = Counter()
        self._going: set[str] = set()
        self._waiting: list[Deferred[None]] = []

    @asynccontextmanager
    async def of(self, *paths: str) -> AsyncIterator[None]:
        """Wait until nobody else changes these paths; nobody else does while the block runs."""
        async with AsyncExitStack() as stack:
            for path in sorted(set(paths)):  # always in the same order, so that no two wait for each other
                await stack.enter_async_context(self._paths.of(path))
            yield

    @asynccontextmanager
    async def adding(self, directory: str) -> AsyncIterator[None]:
        """Something is added to a directory while the block runs; waits until neither it nor one above is to go."""
        await self._until(lambda: not any(_is_within(directory, each) for each in self._going))
        self._adding[directory] += 1
        try:
            yield
        finally:
            self._adding[directory] -= 1
            if not self._adding[directory]:
                del self._adding[directory]

    @asynccontextmanager
    async def removing(self, directory: str) -> AsyncIterator[bool]:
        """A directory may go while the block runs, unless (False) something is being added to it or below it.

        Waits while another caller has it. A caller that needs several takes the innermost first.
        """
        await self._until(lambda: directory not in self._going)
        if any(_is_within(each, directory) for each in self._adding):
            yield False
            return
        self._going.add(directory)
        try:
            yield True
        finally:
            self._going.discard(directory)
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                each.callback(None)

    async def _until(self, free: Callable[[], bool]) -> None:
        while not free():
            waiting: Deferred[None] = Deferred(self._gave_up)
            self._waiting.append(waiting)
            await waiting

    def _gave_up(self, waiting: "Deferred[None]") -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)


def _is_within(path: str, directory: str) -> bool:
    return path == directory or path.startswith(f"{directory}/")
