"""The base of a registry: its bucket, and the content in it."""

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

from twisted.internet.defer import DeferredLock

from ipfsreg.bucket.capabilities import Capabilities
from ipfsreg.bucket.interface import IBucket
from ipfsreg.flow.throttle import Throttle, Turns
from ipfsreg.flow.workers import Workers
from ipfsreg.registry.runtime import Runtime

from .cid_index import CidIndex
from .dags import Dags, NoDags
from .guard import Guard
from .late_dags import LateDags
from .quotas import QuotaLimits, Quotas
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


_UNLIMITED = QuotaLimits()


class Storage:
    """A bucket with its contents, their DAGs, and the guard of what is used.

    ``max_manifest_size`` is in bytes. ``can`` is what the storage behind the bucket can do beside being one.
    """

    def __init__(
        self,
        bucket: IBucket,
        index: CidIndex,
        guard: Guard,
        runtime: Runtime,
        max_manifest_size: int,
        can: Capabilities,
        quotas: QuotaLimits = _UNLIMITED,
    ) -> None:
        self.bucket = bucket
        self.index = index
        self.quotas = Quotas(quotas, index)
        self.guard = guard
        self.workers = workers = runtime.workers
        self.clock = runtime.clock
        self.now = runtime.now
        self.max_manifest_size = max_manifest_size
        self.parser = Parser(workers)
        self.store = ContentStore(bucket, workers, max_manifest_size, verify_reads=can.verify_reads)
        self.dags = self._dags(index, can)
        self._turns = Turns(self.clock)
        self._share = None if bucket.shared else runtime.share

    def _dags(self, index: CidIndex, can: Capabilities) -> Dags:
        if not can.cids:
            return NoDags(self.bucket, index, self.workers)
        if can.late_dags:
            return LateDags(self.bucket, index, self.workers, self.guard, self.clock)
        return Dags(self.bucket, index, self.workers, can.teller)

    def throttle(self) -> Throttle:
        """A throttle for a loop of small steps on behalf of one client."""
        return Throttle(self.clock, steps=500, turns=self._turns)

    def background(self, rate: float | None = None) -> Throttle:
        """A throttle for work in the background, at a ``rate`` in bytes a second, if any.

        Where the bucket is on this disk it takes no more than a part of a core: elsewhere most of its time is waiting.
        """
        return Throttle(self.clock, rate, share=self._share)
