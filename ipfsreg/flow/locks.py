"""Work that must not be done twice at once."""

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

from twisted.internet.defer import DeferredLock

T = TypeVar("T")


class KeyedLock:
    """Blocks of code with the same key run one after the other, in the order in which they came."""

    def __init__(self) -> None:
        self._locks: dict[Hashable, DeferredLock] = {}

    @asynccontextmanager
    async def of(self, key: Hashable) -> AsyncIterator[None]:
        """Wait for one's turn; the next one begins when the block ends."""
        lock = self._locks.setdefault(key, DeferredLock())
        await lock.acquire()
        try:
            yield
        finally:
            lock.release()
            if not (lock.locked or lock.waiting) and self._locks.get(key) is lock:
                del self._locks[key]

    async def run(self, work: Callable[[], Awaitable[T]], *keys: str) -> T:
        """Do some work as one block with all these keys. They are taken in their order, so nobody waits in a circle."""
        async with AsyncExitStack() as until_end:
            for key in sorted(set(keys)):
                await until_end.enter_async_context(self.of(key))
            return await work()
