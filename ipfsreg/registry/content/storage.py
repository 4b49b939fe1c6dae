"""The base of a registry: its bucket, and the content in it."""

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime

from ipfsreg.bucket.capabilities import TellsLeaves
from ipfsreg.bucket.interface import IBucket
from ipfsreg.flow.throttle import Throttle, Turns
from ipfsreg.flow.workers import Workers

from .cid_index import CidIndex
from .dags import Dags
from .guard import Guard
from .store import ContentStore

P = ParamSpec("P")
T = TypeVar("T")

_INLINE = 64 * 1024  # a shorter document is read and hashed faster than a thread is woken


class Parser:
    """Reads long documents one at a time: a parsed one takes up to ten times its length in memory."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._one_at_a_time: DeferredLock = DeferredLock()

    async def run(self, length: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function that reads a document of ``length`` bytes, here or in a thread."""
        if length <= _INLINE:
            return function(*args, **kwargs)
        # An exception keeps what its thread was given. The thread takes it out of the list, so that it goes at once.
        work: list[Callable[[], T]] = [partial(function, *args, **kwargs)]
        del args, kwargs
        async with self._one_at_a_time:
            return await self._workers.run(_call_only, work)


def _call_only(work: list[Callable[[], T]]) -> T:
    return work.pop()()


class Storage:
    """A bucket with its contents, their DAGs, and who uses them.

    ``max_manifest_size`` is in bytes. ``teller`` may know the DAGs of what the bucket stores. ``now`` tells seconds
    since 1970, which others read later, and ``clock`` what is waited for.
    """

    def __init__(
        self,
        bucket: IBucket,
        index: CidIndex,
        guard: Guard,
        workers: Workers,
        clock: IReactorTime,
        max_manifest_size: int,
        now: Callable[[], float],
        teller: TellsLeaves | None = None,
    ) -> None:
        self.bucket = bucket
        self.index = index
        self.guard = guard
        self.workers = workers
        self.clock = clock
        self.now = now
        self.max_manifest_size = max_manifest_size
        self.parser = Parser(workers)
        self.store = ContentStore(bucket, workers, max_manifest_size)
        self.dags = Dags(bucket, index, workers, teller)
        self._turns = Turns(clock)

    def throttle(self) -> Throttle:
        """A throttle for a loop of small steps on behalf of one client."""
        return Throttle(self.clock, steps=500, turns=self._turns)
