"""The online garbage collector: frees what no tag leads to, while clients push and pull.

Rules (docs/architecture.md has the argument why nothing reachable is taken):

* A manifest goes when no tag points to it, no manifest that is present lists it, the subject it refers to is not
  present, and the time for which untagged manifests are kept is over.
* A repository's link to a blob goes when no manifest that is present in the repository refers to it.
* Content goes when no repository links to it.

"Present" instead of "reachable" makes each decision a local one: a push only has to touch what it names itself.
Whatever was used after the run began, or within the grace period, is left for the next run; see `guard`.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.logger import Logger

from ipfsreg.bucket.errors import Corrupt, KeyMissing, NotFound
from ipfsreg.bucket.interface import IBucket
from ipfsreg.flow.progress import Progress
from ipfsreg.flow.shield import shield
from ipfsreg.flow.throttle import Throttle
from ipfsreg.registry import layout
from ipfsreg.registry.content.storage import Storage
from ipfsreg.registry.content.store import content_key
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.names import Repository
from ipfsreg.registry.record import manifest_key
from ipfsreg.registry.repository.blobs import Blobs, link_key
from ipfsreg.registry.repository.records import Records
from ipfsreg.registry.uploads.uploads import Uploads

from .compact import Beginnings
from .inventory import LOOKING, Inventory, take_inventory
from .keeping import Keeping

EARLY_MAX = 200_000
"""Of so many manifests whose time lies in the future it is remembered when they were first seen."""

ENOUGH_SECONDS = 2.0
"""How long it is looked for what a run would free, for who only wants to know."""

_NUMBERS = 20  # of so many manifests that are looked at in memory one counts as a step


class Interrupted(Exception):
    """A run was not to go on."""


@dataclass(frozen=True, slots=True)
class GraceTimes:
    """For how many seconds things are kept that nothing needs.

    ``grace`` is for what was used, ``untagged`` for manifests without a tag, where None keeps them for ever.
    """

    grace: float
    untagged: float | None


@dataclass
class Collection:
    """What a run did, or with ``dry_run`` would have done."""

    dry_run: bool
    manifests: int = 0
    blob_links: int = 0
    contents: int = 0
    freed: int = 0
    """Bytes."""
    untagged: int = 0
    """Manifests that nothing needs, but that have been without a tag for too short a time to go."""
    used: int = 0
    """Other things that nothing needs, but that somebody used too recently for them to go."""
    skipped: list[str] = field(default_factory=list)
    """Repositories from which nothing is taken, since something in them is damaged."""


@dataclass(slots=True)
class CollectorTotals:
    """What all runs since the start have done."""

    runs: int = 0
    seconds: float = 0.0
    manifests: int = 0
    blob_links: int = 0
    contents: int = 0
    freed: int = 0

    def add(self, found: Collection, seconds: float) -> None:
        """A run has ended."""
        self.runs += 1
        self.seconds += seconds
        self.manifests += found.manifests
        self.blob_links += found.blob_links
        self.contents += found.contents
        self.freed += found.freed


class Collector:
    """Finds and frees garbage.

    A run can be cancelled between two removals. One that is under way goes on to its end with its things kept from
    others, since the thread that is at it cannot be stopped.

    ``stored`` is the bucket beneath the cache of small files: a run reads everything once, which must not push
    what clients ask for out of the cache.
    """

    _log = Logger()

    def __init__(
        self,
        storage: Storage,
        stored: IBucket,
        blobs: Blobs,
        records: Records,
        uploads: Uploads,
        times: GraceTimes,
    ) -> None:
        self._bucket = storage.bucket
        self._dags = storage.dags
        self._guard = storage.guard
        self._workers = storage.workers
        self._throttle = storage.background
        self._stored = stored
        self._blobs = blobs
        self._records = records
        self._uploads = uploads
        self._times = times
        self._now = storage.now
        self._clock = storage.clock
        self._seen_early: dict[int, float] = {}
        self.progress: Progress | None = None
        """How far the run is that is under way, if any."""
        self._one_at_a_time: DeferredLock = DeferredLock()
        self.last: tuple[float, Collection] | None = None
        """When the last run but dry ones ended, in seconds since 1970, and what it did; None before the first."""
        self.totals = CollectorTotals()

    async def run(
        self,
        *,
        dry_run: bool = False,
        grace: float | None = None,
        untagged: float | None = None,
        goes_on: Callable[[], bool] = lambda: True,
        progress: Progress | None = None,
    ) -> Collection:
        """One run; a second one waits for the first. ``grace`` and ``untagged`` replace those that are configured.

        ``goes_on`` is asked before each removal. ``progress`` counts repositories, then contents.

        :raises Interrupted: where it says no. Nothing is under way then.
        """
        async with self._one_at_a_time:
            since = self._guard.now() - (self._times.grace if grace is None else grace)
            kept = self._times.untagged if untagged is None else untagged
            throttle = self._throttle()
            self.progress = progress = progress or Progress()
            run = _Run(Collection(dry_run), since, kept, self._now(), throttle, goes_on, progress)
            began = self._clock.seconds()
            try:
                report = await self._run(run)
            finally:
                self.progress = None
            if not dry_run:
                self.totals.add(report, self._clock.seconds() - began)
                self.last = (self._now(), report)
            self._seen_early = run.seen_early
            return report

    async def would_free(self) -> Collection | None:
        """What a run would free now; None where it takes longer than `ENOUGH_SECONDS` to find out."""
        try:
            return await Deferred.fromCoroutine(self.run(dry_run=True)).addTimeout(ENOUGH_SECONDS, self._clock)
        except TookTooLong:
            return None

    async def _run(self, run: "_Run") -> Collection:
        run.progress.begin(LOOKING)
        async for repository in layout.repositories(self._stored):
            contents = await take_inventory(self._stored, self._workers, repository, run.throttle, run.progress)
            if contents.damaged:
                run.report.skipped.append(repository)
                self._log.error(
                    "Nothing is collected from {repository}: something in it is damaged, and nobody knows what that "
                    "needs. `ipfsreg verify` names it; push it again, or delete it.",
                    repository=repository,
                )
            else:
                await self._collect_manifests(repository, contents, run)
                await self._collect_referrers(repository, contents, run)
            for digest in contents.listed:
                await run.throttle.step()
                if contents.has(digest):
                    run.needed.add(digest)
            await self._collect_links(repository, contents, run)
            run.progress.done += 1
        await self._workers.run(run.needed.seal)
        run.progress.begin("Looking through contents")
        async for digest in layout.all_blobs(self._stored):
            await run.throttle.step()
            run.progress.done += 1
            if digest not in run.needed:
                await shield(self._collect_content(digest, run))
        async for digest in layout.all_dags(self._stored):
            await run.throttle.step()
            if digest not in run.needed:
                await shield(self._collect_dag(digest, run))
        return run.report

    async def _collect_manifests(self, repository: Repository, contents: Inventory, run: "_Run") -> None:
        for number, released in enumerate(contents.released):
            if number % _NUMBERS == 0:
                await run.throttle.step()
            if released > run.now:
                key = manifest_key(repository, contents.listed[number])
                contents.released[number] = self._as_of_now(key, released, run)
        keeping = await Keeping.of(contents, run.throttle)
        pending = await keeping.unneeded(run.throttle)
        waiting = bytearray(len(contents.listed))
        while pending:  # an index that went may have been all that kept its manifests
            number = pending.pop()
            await run.throttle.step(contents.weight(number))
            if self._records.was_discarded(repository, contents.listed[number]):
                contents.discard(number)
            if await self._may_go(repository, contents, [number], run):
                pending.extend(await keeping.removed(number, run.throttle))
                run.report.manifests += 1
            else:
                waiting[number] = 1
                self._stays(contents, [number], run)
        # What is left and cannot be reached are manifests that only keep each other, as an index does that lists its
        # own subject: they go all at once, or none of them.
        circle = await keeping.unreachable(
            lambda number: bool(waiting[number]) or not run.is_over(contents, number), run.throttle
        )
        if circle:
            if await self._may_go(repository, contents, circle, run):
                for number in circle:
                    contents.removed(number)
                run.report.manifests += len(circle)
            else:
                self._stays(contents, circle, run)

    async def _may_go(self, repository: Repository, contents: Inventory, group: Sequence[int], run: "_Run") -> bool:
        if not all(run.is_over(contents, number) for number in group):
            return False
        subjects = {contents.listed[number]: contents.subject(number) for number in group}
        return await shield(self._remove_manifests(repository, subjects, run))

    def _stays(self, contents: Inventory, group: Sequence[int], run: "_Run") -> None:
        for number in group:
            if run.is_over(contents, number):
                run.report.used += 1
            else:
                run.report.untagged += 1

    def _as_of_now(self, key: Hashable, released: float, run: "_Run") -> float:
        """A time that lies in the future counts as the time at which it was first seen.

        It was noted by a clock that was wrong. That one is right now cannot be known, so nothing is written.
        """
        known, steady = hash(key), self._guard.now()
        since = self._seen_early.get(known, steady)
        if len(run.seen_early) < EARLY_MAX:
            run.seen_early[known] = since
        return run.now - (steady - since)

    async def _collect_referrers(self, repository: Repository, contents: Inventory, run: "_Run") -> None:
        """A crash may leave an entry of a manifest that is not there."""
        async for subject, digest in layout.referrer_entries(self._stored, repository):
            await run.throttle.step()
            if not contents.has(digest):
                await shield(self._remove_referrer(repository, subject, digest, run))

    async def _remove_referrer(self, repository: Repository, subject: Digest, digest: Digest, run: "_Run") -> None:
        async with self._guard.removing([manifest_key(repository, digest)], run.since) as may:
            if may and not run.report.dry_run:
                await self._records.remove_entry(repository, subject, digest)

    async def _remove_manifests(
        self, repository: Repository, group: Mapping[Digest, Digest | None], run: "_Run"
    ) -> bool:
        # A subject that is being pushed just now makes its referrers needed: its key is asked for as well.
        things = group.keys() | {subject for subject in group.values() if subject is not None}
        async with self._guard.removing([manifest_key(repository, each) for each in things], run.since) as may:
            if may and not run.report.dry_run:
                for digest, subject in group.items():
                    await self._records.remove(repository, digest, subject)
            return may

    async def _collect_links(self, repository: Repository, contents: Inventory, run: "_Run") -> None:
        referred = bytearray(len(contents.links))
        for number in range(len(contents.listed)):
            if number % _NUMBERS == 0:
                await run.throttle.step()
            if contents.is_whole(number):
                await run.throttle.step(contents.weight(number) - 1)
                for link in contents.linked(number):
                    referred[link] = 1
        # They are listed once more: of a million only numbers were kept. What came meanwhile is in use.
        async for digest in layout.blob_links(self._stored, repository):
            await run.throttle.step()
            link_number = contents.links.number(digest)
            if link_number is None or referred[link_number] or contents.damaged:
                run.needed.add(digest)
            elif await shield(self._remove_link(repository, digest, run)):
                run.report.blob_links += 1
            else:
                run.needed.add(digest)
                run.report.used += 1

    async def _remove_link(self, repository: Repository, digest: Digest, run: "_Run") -> bool:
        if self._uploads.active(repository, self._guard.now() - run.since):
            return False  # somebody is pushing layers; the manifest that needs them comes last
        async with self._guard.removing([link_key(repository, digest)], run.since) as may:
            if may and not run.report.dry_run:
                await self._blobs.remove_link(repository, digest)
            return may

    async def _collect_content(self, digest: Digest, run: "_Run") -> None:
        async with self._guard.removing([content_key(digest)], run.since) as may:
            if not may:
                run.report.used += 1
                return
            try:
                size = (await self._stored.stat(layout.blob(digest))).size
            except NotFound:
                return
            except (Corrupt, KeyMissing):
                size = 0  # nobody needs it, damaged or not
            if not run.report.dry_run:
                await self._dags.remove(digest)
                await self._remove(layout.blob(digest))
            run.report.contents += 1
            run.report.freed += size or 0

    async def _collect_dag(self, digest: Digest, run: "_Run") -> None:
        """A DAG may outlive its content where that was damaged, or moved away by hand."""
        async with self._guard.removing([content_key(digest)], run.since) as may:
            if may and not run.report.dry_run:
                await self._dags.remove(digest)

    async def _remove(self, path: str) -> None:
        with suppress(NotFound):
            await self._bucket.remove(path)


@dataclass
class _Run:
    """One run: what was used at ``used_since`` or later stays. ``needed`` is the content that stays in any case.

    Manifests stay for ``untagged`` seconds without a tag, before ``now``, None for ever. ``seen_early`` is when those
    whose times are in the future were first seen.
    """

    report: Collection
    used_since: float
    untagged: float | None
    now: float
    throttle: Throttle
    goes_on: Callable[[], bool]
    progress: Progress
    needed: Beginnings = field(default_factory=Beginnings)
    seen_early: dict[int, float] = field(default_factory=dict)

    @property
    def since(self) -> float:
        """As ``used_since``, to be asked for each removal. :raises Interrupted:"""
        if not self.goes_on():
            raise Interrupted("somebody needs the run to end")
        return self.used_since

    def is_over(self, contents: Inventory, number: int) -> bool:
        """Whether a manifest was without a tag for long enough, if it is."""
        if contents.is_discarded(number):
            return True
        return self.untagged is not None and contents.released[number] + self.untagged <= self.now
