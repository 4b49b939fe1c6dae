"""What keeps the online collector from taking anything that somebody relies on.

Clients rely on what they were told: a HEAD that found a blob makes them skip its upload, and the manifest that
needs it comes only later. So each use of a thing is remembered for a while, a thing in use right now is *held*,
and what the collector is *removing* right now cannot begin to be used until that is done. There are no locks
between two users of a thing, only between users and the remover.
"""

from collections.abc import AsyncIterator, Hashable, Iterable, Sequence
from contextlib import asynccontextmanager

from twisted.internet.defer import Deferred

from ipfsreg.flow.throttle import Throttle
from ipfsreg.registry.runtime import Clock

USES_REMEMBERED = 200_000
"""How many uses are remembered at the most, half of them at the least. What is not remembered counts as used when the
last one was that had to be forgotten.
"""


class Use:
    """The use of what one block holds."""

    counts = True
    """Whether it is remembered."""

    def found_nothing(self) -> None:
        """Say that nothing was found: nobody relies on that, so the use is not remembered."""
        self.counts = False


class Guard:
    """Which things are used, and when each was used last. A thing is any hashable key.

    Times are the clock's seconds. Everything counts as used at ``began``, since what an earlier daemon told its
    clients is not known.
    """

    def __init__(self, clock: Clock, began: float) -> None:
        self._clock = clock
        self._floor = began
        # Of a key only its hash is kept: two keys with the same one are merely kept for too long. Numbers are nothing
        # that Python's garbage collector looks at, as it would at hundreds of thousands of keys.
        self._used: dict[int, float] = {}
        self._used_before: dict[int, float] = {}
        self._before = began
        self._held: dict[Hashable, int] = {}
        self._removing: dict[Hashable, list[Deferred[None]]] = {}
        self._released: dict[Hashable, list[Deferred[None]]] = {}

    def now(self) -> float:
        """The time by which uses are remembered."""
        return self._clock.seconds()

    def touch(self, key: Hashable) -> None:
        """Remember that a thing was used now."""
        known = hash(key)
        if len(self._used) >= USES_REMEMBERED // 2 and known not in self._used:
            self._floor, self._before = self._before, self._clock.seconds()
            self._used_before, self._used = self._used, {}
        self._used[known] = self._clock.seconds()

    def holding(self, *keys: Hashable) -> "_Holding":
        """Keep things from being removed while the block runs, and count them as used when it ends.

        Waits first until none of them is being removed. Any number of blocks may hold the same thing.
        """
        return _Holding(self, keys)

    @asynccontextmanager
    async def holding_all(self, keys: Iterable[Hashable], throttle: Throttle) -> AsyncIterator[Use]:
        """As `holding`, for so many things that it has to be done in pieces."""
        use = Use()
        held: list[Hashable] = []
        try:
            for key in keys:
                await self.hold(key)
                held.append(key)
                await throttle.step()
            yield use
        finally:
            for key in held:
                self.release(key, use)
                await throttle.step()

    async def hold(self, key: Hashable) -> None:
        """One thing of `holding`. The caller has to call `release` as well."""
        while key in self._removing:
            done: Deferred[None] = Deferred()
            self._removing[key].append(done)
            await done
        self._held[key] = self._held.get(key, 0) + 1

    def release(self, key: Hashable, use: Use) -> None:
        """The end of `hold`."""
        if use.counts:
            self.touch(key)
        count = self._held[key] - 1
        if count:
            self._held[key] = count
        else:
            del self._held[key]
            _fire(self._released.pop(key, ()))

    @asynccontextmanager
    async def removing(self, keys: Sequence[Hashable], since: float) -> AsyncIterator[bool]:
        """The collector's side: yields whether the things may be removed in the block.

        They may not where somebody holds one of them, or used one at or after ``since``.
        """
        if any(key in self._removing or key in self._held or self._last_used(key) >= since for key in keys):
            yield False
            return
        async with self._exclusive(*keys):
            yield True

    @asynccontextmanager
    async def deleting(self, key: Hashable) -> AsyncIterator[None]:
        """A client's own removal: waits until nobody else holds the thing, whenever it was used last."""
        while key in self._held or key in self._removing:
            done: Deferred[None] = Deferred()
            waiting = self._removing[key] if key in self._removing else self._released.setdefault(key, [])
            waiting.append(done)
            await done
        async with self._exclusive(key):
            yield

    @asynccontextmanager
    async def _exclusive(self, *keys: Hashable) -> AsyncIterator[None]:
        for key in keys:
            self._removing[key] = []
        try:
            yield
        finally:
            for waiting in [self._removing.pop(key) for key in keys]:
                _fire(waiting)

    def _last_used(self, key: Hashable) -> float:
        known = hash(key)
        return max(self._used.get(known, self._floor), self._used_before.get(known, self._floor), self._floor)


class _Holding:
    """A class, since every request for a manifest goes through it and a generator for that costs five times as much."""

    __slots__ = ("_guard", "_held", "_keys", "_use")

    def __init__(self, guard: Guard, keys: Sequence[Hashable]) -> None:
        self._guard = guard
        self._keys = keys
        self._held = 0
        self._use = Use()

    async def __aenter__(self) -> Use:
        try:
            for key in self._keys:
                await self._guard.hold(key)
                self._held += 1
        except BaseException:
            self._release()
            raise
        return self._use

    async def __aexit__(self, *_: object) -> None:
        self._release()

    def _release(self) -> None:
        for key in self._keys[: self._held]:
            self._guard.release(key, self._use)


def _fire(waiting: Iterable["Deferred[None]"]) -> None:
    for done in waiting:
        done.callback(None)
