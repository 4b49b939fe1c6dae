"""Who may change what at the same time, within this process.

The daemon has no locks across calls, and no way to remove a directory only if it is empty. So here a path is changed by
one at a time, and a directory that is about to go is held: nothing is added to it, or below it, meanwhile.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from twisted.internet.defer import Deferred, DeferredLock


class Turns:
    """The turns of one bucket."""

    def __init__(self) -> None:
        self._paths: dict[str, DeferredLock] = {}
        self._adding: Counter[str] = Counter()
        self._held: set[str] = set()
        self._waiting: list[Deferred[None]] = []

    @asynccontextmanager
    async def of(self, *paths: str) -> AsyncIterator[None]:
        """Wait until nobody else changes these paths; nobody else does while the block runs."""
        async with AsyncExitStack() as stack:
            for path in sorted(set(paths)):  # always in the same order, so that no two wait for each other
                await stack.enter_async_context(self._one(path))
            yield

    @asynccontextmanager
    async def _one(self, path: str) -> AsyncIterator[None]:
        lock = self._paths.setdefault(path, DeferredLock())
        await lock.acquire()
        try:
            yield
        finally:
            lock.release()
            if not (lock.locked or lock.waiting) and self._paths.get(path) is lock:
                del self._paths[path]

    @asynccontextmanager
    async def adding(self, directory: str) -> AsyncIterator[None]:
        """Something is added to a directory while the block runs; waits until it and those above are not held."""
        await self._until(lambda: not any(_is_within(directory, held) for held in self._held))
        self._adding[directory] += 1
        try:
            yield
        finally:
            self._adding[directory] -= 1
            if not self._adding[directory]:
                del self._adding[directory]

    @asynccontextmanager
    async def holding(self, directory: str) -> AsyncIterator[bool]:
        """Hold a directory while the block runs, unless (False) something is being added to it or below it.

        Waits for another who holds it. Who holds several begins with the innermost.
        """
        await self._until(lambda: directory not in self._held)
        if any(_is_within(each, directory) for each in self._adding):
            yield False
            return
        self._held.add(directory)
        try:
            yield True
        finally:
            self._held.discard(directory)
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
