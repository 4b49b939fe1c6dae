"""The registry put together: every noun of the protocol over one bucket."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipfsreg.bucket.cache.hits import Hits
from ipfsreg.bucket.cache.small_files import SmallFileCache
from ipfsreg.bucket.capabilities import Capabilities
from ipfsreg.bucket.gate import GatedBucket
from ipfsreg.bucket.interface import IBucket

from .content.cid_index import CidIndex
from .content.guard import Guard
from .content.quotas import QuotaLimits
from .content.storage import Storage
from .digest import Digest
from .events.event import Event, EventAction
from .events.events import Events
from .ipfs.blocks import Blocks
from .ipfs.cid_refresh import CidRefresh
from .ipfs.held_content import HeldContent
from .ipfs.image_reader import ImagesByCid
from .ipfs.image_source import ImageSource
from .ipfs.withheld import Withheld
from .layout_version import check_layout, check_there
from .names import Repository, Tag
from .readiness import Readiness
from .repository.blobs import Blobs
from .repository.catalog import Catalog
from .repository.catalog_index import CatalogIndex
from .repository.manifests import Manifests
from .repository.records import Records
from .repository.referrers import Referrers
from .repository.tag_times import TagTimes
from .repository.tags import Tags
from .runtime import Runtime
from .upkeep.tag_rules import RetentionPolicy
from .uploads.sessions import Bounds
from .uploads.spool_writer import UploadEnvironment
from .uploads.uploads import Uploads
from .visibility import Visibility

if TYPE_CHECKING:
    from .ipfs.describing import Describer
    from .ipfs.exporting import Exporter
    from .ipfs.importing import Importer
    from .ipfs.publish_queue import PublishQueue
    from .ipfs.publishing import Publisher
    from .upkeep.collector import Collector
    from .upkeep.scrubber import Scrubber
    from .upkeep.tag_retention import TagRetention
    from .upkeep.verifier import Verifier


@dataclass(frozen=True, slots=True)
class RegistryLimits:
    """What a configuration bounds. Sizes in bytes, times in seconds; None is unlimited."""

    cache_memory: int
    max_manifest_size: int
    max_blob_size: int | None
    max_uploads: int
    max_uploads_of_client: int
    upload_expiry: float
    gc_grace: float
    gc_untagged: float | None
    scrub_rate: float | None
    max_uploads_of_user: int | None = None
    max_unfinished_of_user: int | None = None
    max_tags_at_once: int = 100
    quotas: QuotaLimits = field(default_factory=QuotaLimits)
    retention: RetentionPolicy = field(default_factory=RetentionPolicy)


@dataclass(frozen=True, slots=True)
class OnIpfs:
    """What a registry does as a part of IPFS. ``storage`` is what its storage can do there.

    ``pull_by_cid`` switches `Registry.images_by_cid` on, and ``from_network`` lets it fetch what is not here.
    ``visibility`` says what is shown by its CID. With ``publish``, each image that gets a tag is published soon after.
    """

    storage: Capabilities = field(default_factory=Capabilities)
    pull_by_cid: bool = True
    from_network: bool = True
    visibility: Visibility = field(default_factory=Visibility)
    publish: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes: of all repositories, each content once, and of some of them by name.

    Where it is not ``complete``, what was there before is still being counted.
    """

    of_all: int
    of_repositories: Mapping[str, int]
    complete: bool


_ON_IPFS = OnIpfs()


class Registry:
    """The nouns of the protocol over one bucket.

    ``directory`` on this disk is the daemon's own: for upload sessions, the index of CIDs, and how far the scrub came.

    ``daemon_seen`` is for a command that runs while the daemon does not: when that last served clients, in seconds
    since 1970, so that what they were told then is known to be no younger. None is for the daemon itself.
    """

    _log = Logger()

    def __init__(
        self,
        bucket: IBucket,
        directory: Path,
        runtime: Runtime,
        limits: RegistryLimits,
        on_ipfs: OnIpfs = _ON_IPFS,
        *,
        daemon_seen: float | None = None,
    ) -> None:
        workers, clock, ipfs, visibility = runtime.workers, runtime.clock, on_ipfs.storage, on_ipfs.visibility
        self.limits = limits
        self.clock = clock
        self.now = runtime.now
        self.name = bucket.name
        self.bucket = bucket
        self.events = Events(clock, runtime.now)
        self._checking: Deferred[None] | None = None
        self._gate: GatedBucket | None = None
        # ``_stored`` is for what removes and scrubs: it must leave alone what the original program
        # wrote. That had no backend on this disk alone, and a bucket here was looked at when the registry has started.
        base = self._stored = bucket
        if bucket.shared:
            from .original import OriginalLayout

            original = OriginalLayout(bucket, workers, clock)
            base = gate = self._gate = GatedBucket(original, original.check)
            self._stored = GatedBucket(bucket, lambda _: gate.passed())
        since = 0.0 if daemon_seen is None else max(0.0, runtime.now() - daemon_seen)
        guard = Guard(runtime.steady, runtime.steady.seconds() - since)
        self.readiness = Readiness(lambda: check_there(base), clock)
        self._bucket = SmallFileCache(base, limits.cache_memory)
        self._index = CidIndex(directory / "cids.sqlite", workers, clock, kept=ipfs.cids)
        storage = Storage(self._bucket, self._index, guard, runtime, limits.max_manifest_size, ipfs, limits.quotas)
        self.dags = storage.dags
        self._on_ipfs, self._directory, self._imports = on_ipfs, directory, directory / "imports"
        self._base, self._storage = base, storage
        self._publishing: PublishQueue | None = None

        self.catalog = Catalog(self._bucket, clock, CatalogIndex(self._index))
        self.tags = Tags(storage, base, limits.retention.immutable)
        self.referrers = Referrers(storage, base)
        self.blobs = Blobs(storage, visibility.is_private if visibility.any_private else None)
        records = self._records = Records(storage, self.catalog, self.referrers)
        self.manifests = Manifests(storage, records, self.blobs, self.tags, self.referrers, self._tagged)
        self.uploads = self._make_uploads()
        self.tag_times: TagTimes | None = None
        if limits.retention.notes_times:
            self.tag_times = TagTimes(directory / "pulls.sqlite" if ipfs.cids else None, workers, runtime.now)
            if limits.retention.notes_pulls:
                self.events.subscribe(self._pulled, {EventAction.PULL})
        held = self._held = HeldContent(storage, self.manifests, self.blobs)
        self.blocks = Blocks(base, held, storage)
        self.images_by_cid = self._make_images_by_cid() if on_ipfs.pull_by_cid else None
        self.cid_refresh = CidRefresh(base, storage, self.tags, self.referrers, self.catalog)

    def _make_uploads(self) -> Uploads:
        limits, ipfs, storage = self.limits, self._on_ipfs.storage, self._storage
        environment = UploadEnvironment(
            self.blobs,
            storage.workers,
            storage.clock,
            limits.max_blob_size,
            ipfs.ahead,
            ipfs.teller,
            ipfs.cids and not ipfs.late_dags,
            ipfs.spool,
        )
        bounds = Bounds(
            limits.max_uploads,
            limits.max_uploads_of_client,
            limits.max_uploads_of_user,
            limits.max_unfinished_of_user,
        )
        directory = self._directory / "uploads"
        return Uploads(directory, environment, self.now, expiry=limits.upload_expiry, bounds=bounds)

    def _make_images_by_cid(self) -> ImagesByCid:
        on_ipfs, storage, visibility = self._on_ipfs, self._storage, self._on_ipfs.visibility
        withheld = None if visibility.everything else Withheld(storage, visibility.shows)
        network = on_ipfs.storage.content_by_cid if on_ipfs.from_network else None
        return ImagesByCid(storage, self._held, visibility.shows, ImageSource(storage, network, withheld))

    # What follows is loaded and made when it is used: a start has no need of it, and takes as long as it takes to load.

    @cached_property
    def tag_retention(self) -> "TagRetention":
        """Deletes the tags that no rule keeps."""
        from .upkeep.tag_retention import TagRetention

        policy = self.limits.retention
        return TagRetention(policy, self._storage, self.manifests, self.tags, self.tag_times, self.events)

    @cached_property
    def collector(self) -> "Collector":
        """Frees what nothing needs."""
        from .upkeep.collector import Collector, GraceTimes

        times = GraceTimes(self.limits.gc_grace, self.limits.gc_untagged)
        return Collector(self._storage, self._stored, self.blobs, self._records, self.uploads, times)

    @cached_property
    def verifier(self) -> "Verifier":
        """Reads everything and compares it with its digests."""
        from .upkeep.repository_check import RepositoryCheck
        from .upkeep.verifier import Verifier

        base, storage = self._base, self._storage
        repositories = RepositoryCheck(base, storage.workers, self.blobs, self.manifests, self.referrers)
        list_top = self._on_ipfs.storage.list_top
        return Verifier(base, storage.store, repositories, storage.workers, storage.background, list_top)

    @cached_property
    def scrubber(self) -> "Scrubber":
        """Goes through all content, again and again."""
        from .upkeep.scrubber import SavedPosition, Scrubber

        storage = self._storage
        position = SavedPosition(self._directory / "scrub-position", self._on_ipfs.storage.spool)
        throttle = partial(storage.background, self.limits.scrub_rate)
        return Scrubber(self._stored, self.verifier, storage.workers, self.clock, throttle, position)

    @cached_property
    def publisher(self) -> "Publisher":
        """Makes images public."""
        from .ipfs.publishing import Publisher

        on_ipfs = self._on_ipfs
        on_node = on_ipfs.storage.content_by_cid is not None
        return Publisher(self._storage, self.manifests, self.blobs, on_ipfs.visibility, on_node=on_node)

    @cached_property
    def exporter(self) -> "Exporter":
        """Images as CARs."""
        from .ipfs.exporting import Exporter

        return Exporter(self.manifests, self.blobs, self._storage.workers)

    @cached_property
    def importer(self) -> "Importer":
        """Images out of CARs."""
        from .ipfs.importing import Importer

        held, uploads = self._held, self.uploads
        return Importer(self._imports, self._storage, held, self.manifests, self.blobs, uploads)

    @cached_property
    def describer(self) -> "Describer":
        """What an image is, for people."""
        from .ipfs.describing import Describer
        from .ipfs.stored_images import StoredImages

        return Describer(StoredImages(self._storage, self.manifests, self.blobs, self.referrers))

    async def describer_of(self, repository: Repository, tags: Sequence[Tag]) -> "Describer":
        """As `describer`, with the images of some tags read together."""
        from .ipfs.read_ahead import read_ahead

        return await read_ahead(self.describer, self._base, self._storage.workers, repository, tags)

    @property
    def small_files(self) -> Hits:
        """How often a small file came from memory."""
        return self._bucket.hits

    async def bytes_used(self) -> int:
        """The bytes of all that repositories have, each content once. :raises Unavailable: where it is not known."""
        return (await self._index.usage(Repository(""), None)).of_all

    async def start(self) -> None:
        """Open the bucket and go on with the uploads of an earlier daemon.

        :raises SetupError: where the user has to change something first.
        """
        await self._bucket.start()
        await self._index.open()
        if self.tag_times is not None:
            await self.tag_times.start()
        await self.uploads.start()
        await self._storage.workers.run(shutil.rmtree, self._imports, True)  # what a killed daemon left
        if self._gate is None:
            await check_layout(self.bucket)
        else:
            # A bucket on the network may not answer for long. The daemon is up meanwhile, and answers 503.
            self._checking = ensureDeferred(self._gate.passed()).addErrback(self._cannot_be_used_yet)

    async def complete_dags(self) -> None:
        """Compute the DAGs that are missing, while nothing is being pushed."""
        await self.dags.complete(self.uploads.any_busy)

    async def stop(self) -> None:
        """Close the bucket."""
        if self._publishing is not None:
            self._publishing.stop()
        if self._checking is not None:
            self._checking.cancel()
        await self.dags.stop()
        await self._index.close()
        if self.tag_times is not None:
            await self.tag_times.stop()
        await self._bucket.stop()

    async def used(self, repositories: Sequence[Repository] = ()) -> Usage:
        """What some repositories use, and all together, as far as it was counted: nothing is read for it.

        :raises Unavailable: where the count cannot be read.
        """
        found = await self._index.used(repositories)
        return Usage(found.pop("", 0), found, self._index.complete)

    def _pulled(self, event: Event) -> None:
        target = event.target
        if self.tag_times is not None and target.is_manifest:
            self.tag_times.pulled(target.repository, target.tag or str(target.digest))

    def _tagged(self, repository: Repository, digest: Digest, tags: Sequence[Tag]) -> None:
        if self.tag_times is not None:
            for tag in tags:
                self.tag_times.pushed(repository, tag, str(digest))
        if self._on_ipfs.publish:
            self._publish(repository, digest)

    def _publish(self, repository: Repository, digest: Digest) -> None:
        if self._publishing is None:
            from .ipfs.publish_queue import PublishQueue

            self._publishing = PublishQueue(self.publisher, self._on_ipfs.visibility)
        self._publishing.add(repository, digest)

    def _cannot_be_used_yet(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._log.error(
                "{name} cannot be used yet: {error}. Each request tries again.", name=self.name, error=failure.value
            )
