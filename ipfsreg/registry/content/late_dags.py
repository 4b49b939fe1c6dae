"""DAGs that are computed after the push: for a storage that is read faster than its content is hashed.

A push then hashes its content once, for its digest. The index of CIDs keeps what is wanted, so that it goes on after a
restart; what was lost with the index is found by the pass that makes it again.
"""

from collections.abc import Callable
from contextlib import closing, suppress

from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from ipfsreg.bucket.errors import BucketError, Corrupt, NotFound, Unavailable
from ipfsreg.bucket.interface import IBucket, IReader
from ipfsreg.flow.locks import KeyedLock
from ipfsreg.flow.single_flight import SingleFlight
from ipfsreg.flow.throttle import Throttle
from ipfsreg.flow.workers import Workers
from ipfsreg.ipfs.file_dag import FileDag
from ipfsreg.registry import layout
from ipfsreg.registry.digest import Digest

from .block_cid import is_one_block
from .cid_index import CidIndex
from .dags import Dags
from .guard import Guard
from .store import content_key

RATE = 128 * 1024**2
"""Bytes a second, at most, while nobody waits: about a tenth of a core."""

BUSY_SECONDS = 0.5
"""How long to wait before looking again whether something is being pushed."""

PATIENCE_SECONDS = 30.0
"""For how long a content is left at most because something is being pushed: a slow client would keep it for ever."""

WAIT_SECONDS = 20.0
"""How long somebody waits who asks for what may not be computed yet."""


class LateDags(Dags):
    """As `Dags`; but a content that is stored without its leaves gets its DAG later, by `complete`."""

    late = True

    def __init__(self, bucket: IBucket, index: CidIndex, workers: Workers, guard: Guard, clock: IReactorTime) -> None:
        super().__init__(bucket, index, workers)
        self._guard = guard
        self._clock = clock
        self._computing = KeyedLock()
        self._is_busy: Callable[[], bool] = bool
        self._flight = SingleFlight(self._complete)
        self._hurried = 0
        self._may_be_wanted = True
        self._stopped = False
        self._patient_until = 0.0

    async def add(self, digest: Digest, size: int, leaves: bytes | None) -> str | None:
        """See `Dags.add`: where the leaves are not known, None, unless it is known already."""
        if leaves is not None or is_one_block(digest, size):
            return await super().add(digest, size, leaves)
        known = await self.cid_text(digest, size)
        if known is None:
            self.index.want_dag(digest, size)
            self._may_be_wanted = True
        return known

    async def get(self, digest: Digest, size: int, reader: IReader | None = None) -> FileDag | None:
        """See `Dags.get`. Who asks while `complete` is at it waits for that, which does not wait for pushes then."""
        self._hurried += 1
        try:
            return await self._get_once(digest, size, reader)
        finally:
            self._hurried -= 1

    async def _get_once(self, digest: Digest, size: int, reader: IReader | None) -> FileDag | None:
        async with self._computing.of(digest):
            return await super().get(digest, size, reader)

    async def complete(self, is_busy: Callable[[], bool] = bool) -> None:
        """Compute all that is wanted, slowly, and not at all while ``is_busy`` says that something is being pushed."""
        self._is_busy = is_busy
        if self._may_be_wanted:
            await self._flight.outcome()

    async def catch_up(self) -> bool:
        if await self.index.wanted_dag() is None:
            return False
        self._hurried += 1
        try:
            await self._flight.outcome().addTimeout(WAIT_SECONDS, self._clock)
        except DeferredTimeout:
            raise Unavailable("the CIDs of what was pushed last are being computed", 5) from None
        finally:
            self._hurried -= 1
        return True

    async def want_missing(self) -> None:
        await self.index.want_missing_dags()
        self._may_be_wanted = True

    async def stop(self) -> None:
        """See `Dags.stop`. What is under way ends with the piece that is being read."""
        self._stopped = True
        with suppress(BucketError):
            await self._flight.outcome()

    async def _complete(self) -> None:
        self._may_be_wanted = False
        try:
            while not self._stopped and (wanted := await self.index.wanted_dag()) is not None:
                self._patient_until = self._clock.seconds() + PATIENCE_SECONDS
                await self._leave_to_pushes()
                await self._compute_wanted(*wanted)
        except BaseException:
            self._may_be_wanted = True
            raise

    async def _compute_wanted(self, digest: Digest, size: int) -> None:
        async with self._guard.holding(content_key(digest)) as use:
            use.found_nothing()  # no client relies on it
            try:
                with closing(await self._bucket.open(layout.blob(digest))) as reader:
                    await self._get_once(digest, size, reader)
            except NotFound:
                pass  # it was deleted
            except Corrupt as error:
                self._log.error("{error}. It has no CID.", error=error)
            self.index.want_no_dag(digest)
            await self.index.settled()

    async def _leave_to_pushes(self) -> None:
        while not self._hurried and not self._stopped and self._is_busy() and self._is_patient():
            await deferLater(self._clock, BUSY_SECONDS, lambda: None)

    def _is_patient(self) -> bool:
        return self._clock.seconds() < self._patient_until

    async def _moved(self, length: int) -> None:
        if self._stopped:
            raise Unavailable("the daemon stops")
        if self._hurried:
            return
        await Throttle(self._clock, RATE).moved(length)
        await self._leave_to_pushes()
