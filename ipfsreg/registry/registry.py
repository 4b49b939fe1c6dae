"""The registry put together: every noun of the protocol over one bucket."""

from dataclasses import dataclass
from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipfsreg.bucket.cache.small_files import SmallFileCache
from ipfsreg.bucket.capabilities import ContentByCid, TakesAhead, TellsLeaves
from ipfsreg.bucket.errors import NotFound, SetupError, Unavailable, Unchangeable
from ipfsreg.bucket.gate import GatedBucket
from ipfsreg.bucket.interface import IBucket
from ipfsreg.flow.clock import MonotonicClock
from ipfsreg.flow.workers import Workers

from . import layout
from .content.cid_index import CidIndex
from .content.dags import Dags
from .content.guard import Clock, Guard
from .content.store import ContentStore
from .ipfs.blocks import Blocks
from .ipfs.cid_refresh import CidRefresh
from .ipfs.exporting import Exporter
from .ipfs.images_by_cid import ImagesByCid
from .ipfs.importing import Importer
from .ipfs.publish_queue import PublishQueue
from .ipfs.publishing import Publisher
from .ipfs.withheld import Withheld
from .original import OriginalLayout, is_original
from .repository.blobs import Blobs
from .repository.catalog import Catalog
from .repository.manifests import Manifests
from .repository.referrers import Referrers
from .repository.tags import Tags
from .upkeep.collector import Collector
from .upkeep.repository_check import RepositoryCheck
from .upkeep.scrubber import Scrubber
from .upkeep.verifier import Verifier
from .uploads.uploads import Uploads
from .visibility import Visibility


@dataclass(frozen=True, slots=True)
class Limits:
    """What a configuration bounds. Sizes in bytes, times in seconds; None is unlimited."""

    cache_memory: int
    max_manifest_size: int
    max_blob_size: int | None
    max_uploads: int
    upload_expiry: float
    gc_grace: float
    gc_untagged: float | None
    scrub_rate: float | None


class Registry:
    """The nouns of the protocol over one bucket.

    ``directory`` on this disk is the daemon's own: for upload sessions, the index of CIDs, and how far the scrub came.

    ``daemon_seen`` is for a command that runs while the daemon does not: when that last served clients, in seconds
    since 1970, so that what they were told then is known to be no younger. None is for the daemon itself. ``steady`` is
    the clock of the guard, by default one that nobody can set. ``ahead`` is told of what uploads bring while they bring
    it; ``teller`` may know the DAGs of what is stored.

    ``node`` is what fetches by CID, where the bucket is on a node, and ``on_node`` says that it is. ``pull_by_cid``
    switches `by_cid` on. ``visibility`` says what is shown by its CID. With ``publish``, each image that gets a tag
    is published soon after.
    """

    _log = Logger()

    def __init__(
        self,
        bucket: IBucket,
        directory: Path,
        workers: Workers,
        clock: IReactorTime,
        limits: Limits,
        *,
        daemon_seen: float | None = None,
        steady: Clock | None = None,
        ahead: TakesAhead | None = None,
        teller: TellsLeaves | None = None,
        node: ContentByCid | None = None,
        on_node: bool = False,
        pull_by_cid: bool = True,
        visibility: Visibility | None = None,
        publish: bool = False,
    ) -> None:
        self._original = OriginalLayout(bucket, clock)
        self._gate = GatedBucket(self._original, self._check)
        cached = SmallFileCache(self._gate, limits.cache_memory)
        # For background work, which reads everything once and must leave alone what the original program wrote.
        stored = GatedBucket(bucket, lambda _: self._gate.passed())
        steady = MonotonicClock() if steady is None else steady
        since = 0.0 if daemon_seen is None else max(0.0, clock.seconds() - daemon_seen)
        guard = Guard(steady, steady.seconds() - since)
        store = ContentStore(cached, workers, limits.max_manifest_size)
        self.limits = limits
        self.name = bucket.name
        self.bucket = bucket
        self._bucket = cached
        self._checking: Deferred[None] | None = None
        self.catalog = Catalog(cached, clock)
        self.tags = Tags(cached)
        self.referrers = Referrers(cached, store, guard, workers, limits.max_manifest_size)
        self._index = CidIndex(directory / "cids.sqlite", workers)
        self.dags = Dags(cached, self._index, workers, teller)
        self.cid_refresh = CidRefresh(self._gate, self._index, self.dags, clock)
        self.blobs = Blobs(cached, store, self.dags, self._index, guard)
        self.manifests = Manifests(
            cached,
            store,
            self.dags,
            self._index,
            self.blobs,
            self.tags,
            self.referrers,
            self.catalog,
            guard,
            workers,
            clock,
        )
        visibility = Visibility() if visibility is None else visibility
        self.by_cid: ImagesByCid | None = None
        if pull_by_cid:
            self.by_cid = ImagesByCid(
                self.manifests,
                self.blobs,
                self._index,
                workers,
                node,
                limits.max_manifest_size,
                visibility.shows,
                None if visibility.everything else Withheld(cached, self._index, visibility.hides),
            )
        self.publisher = Publisher(
            cached, self.manifests, self.blobs, workers, on_node=on_node, hidden=visibility.hides
        )
        self._publishing = PublishQueue(self.publisher)
        if publish:
            self.manifests.tagged = self._publishing.add
        self.exporter = Exporter(self.manifests, self.blobs, workers)
        self.uploads = Uploads(
            directory / "uploads",
            self.blobs,
            workers,
            clock,
            expiry=limits.upload_expiry,
            maximum=limits.max_uploads,
            max_blob_size=limits.max_blob_size,
            ahead=ahead,
            teller=teller,
        )
        self.blocks = Blocks(self._gate, self.blobs, self.manifests, self.dags, workers)
        self.importer = Importer(
            directory / "imports",
            self.manifests,
            self.blobs,
            self.uploads,
            self._index,
            workers,
            limits.max_manifest_size,
        )
        self.collector = Collector(
            cached,
            stored,
            self.blobs,
            self.manifests,
            self.dags,
            self.uploads,
            guard,
            workers,
            clock,
            grace=limits.gc_grace,
            untagged=limits.gc_untagged,
        )
        repositories = RepositoryCheck(stored, workers, self.blobs, self.manifests, self.referrers)
        self.verifier = Verifier(stored, store, repositories, workers, clock)
        self.scrubber = Scrubber(stored, self.verifier, workers, clock, directory / "scrub-position", limits.scrub_rate)

    async def start(self) -> None:
        """Open the bucket and go on with the uploads of an earlier daemon.

        :raises SetupError: where the user has to change something first.
        """
        await self._bucket.start()
        await self._index.open()
        await self.uploads.start()
        await self.importer.start()
        if self._bucket.shared:
            # It is on the network, and may not answer for long: the daemon is up meanwhile, and says 503.
            self._checking = ensureDeferred(self._gate.passed()).addErrback(self._cannot_be_used_yet)
        else:
            await self._gate.passed()

    async def stop(self) -> None:
        """Close the bucket."""
        self._publishing.stop()
        if self._checking is not None:
            self._checking.cancel()
        await self._index.close()
        await self._bucket.stop()

    async def _check(self, bucket: IBucket) -> None:
        await _check_layout(bucket)
        # The original program had no backend on this disk alone.
        self._original.active = bucket.shared and await is_original(bucket)

    def _cannot_be_used_yet(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._log.error(
                "{name} cannot be used yet: {error}. Each request tries again.", name=self.name, error=failure.value
            )


async def _check_layout(bucket: IBucket) -> None:
    try:
        found = (await bucket.get(layout.VERSION_FILE, 64)).decode("ascii", "replace").strip()
    except NotFound:
        try:
            await bucket.put(layout.VERSION_FILE, b"%d\n" % layout.VERSION)
        except Unchangeable:
            raise Unavailable(f"{bucket.name}: there is no registry: it has no {layout.VERSION_FILE}", 60) from None
        return
    if found != str(layout.VERSION):
        raise SetupError(
            f"{bucket.name} has layout version {found[:20]}, and this ipfsreg knows version {layout.VERSION} only; "
            "run the ipfsreg that wrote it, or choose another directory or bucket"
        )
