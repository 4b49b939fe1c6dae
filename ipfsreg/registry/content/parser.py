"""Where documents are read: off the reactor, unless they are short."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from twisted.internet.defer import DeferredLock

from ipfsreg.flow.workers import Workers

P = ParamSpec("P")
T = TypeVar("T")

_INLINE = 64 * 1024  # a shorter document is read and hashed faster than a thread is woken


class Parser:
    """Reads long documents one at a time, since one that is taken apart needs up to ten times its length in memory."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._one_at_a_time: DeferredLock = DeferredLock()

    async def run(self, length: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function that reads a document of ``length`` bytes, here or in a thread."""
        if length <= _INLINE:
            return function(*args, **kwargs)
        async with self._one_at_a_time:
            return await self._workers.run(function, *args, **kwargs)
