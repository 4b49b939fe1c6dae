"""A registry in memory, and clients of it that remember what they were told.

The bucket is a `ScheduledBucket`, so between any two of its operations everything else can happen.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from tempfile import mkdtemp
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from ipfsreg.bucket.errors import BucketError, Unavailable
from ipfsreg.flow.workers import Workers
from ipfsreg.registry import layout
from ipfsreg.registry.content.content_hash import leaves_of
from ipfsreg.registry.digest import Digest, digest_of
from ipfsreg.registry.errors import BlobUnknown, ManifestBlobUnknown, ManifestUnknown
from ipfsreg.registry.names import Repository, Tag
from ipfsreg.registry.registry import Registry, RegistryLimits
from ipfsreg.registry.runtime import Runtime
from ipfsreg.registry.upkeep.collector import Collection
from tests.bucket.scheduled import Event, ScheduledBucket, Scheduler, current_owner

from .known import BY_DIGEST, Known
from .scheduling import Chooser, ScheduledClock, ScheduledWorkers

GRACE = 100.0
UNTAGGED = 1000.0


@dataclass(eq=False)
class Operation:
    """A client's change: from when to when it was under way, in numbers of events, and what it was."""

    kind: str
    repository: Repository
    thing: object
    digest: Digest | None
    began: int
    ended: int | None = None
    """None while it is under way, or where it failed in the middle: then it may have had an effect or not."""

    def surely_before(self, other: "Operation") -> bool:
        return self.ended is not None and self.ended < other.began


@dataclass(frozen=True)
class Told:
    """Something that a client was told the repository has."""

    kind: str
    repository: Repository
    digest: Digest
    at: int
    through: tuple[Digest, ...] = ()
    """The manifests from which the client concludes it: it holds while those are not deleted."""


@dataclass
class Clients:
    """The registry, its clients and their memories, and time."""

    directory: Path
    seed: int = 0
    cache_memory: int = 0
    problems: list[str] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    collections: list[Collection] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.scheduler = Scheduler()
        self.catalog: list[Repository] | None = None
        self.failing = self.has_failed = False
        self.clock = ScheduledClock(self.scheduler)
        limits = RegistryLimits(
            cache_memory=self.cache_memory,
            max_manifest_size=100_000,
            max_blob_size=None,
            max_uploads=100,
            max_uploads_of_client=100,
            upload_expiry=1e9,
            gc_grace=GRACE,
            gc_untagged=UNTAGGED,
            scrub_rate=None,
        )
        workers = ScheduledWorkers(self.scheduler)
        directory = Path(mkdtemp(dir=self.directory))
        self.bucket = self.make_bucket(workers, directory)
        self.registry = Registry(self.bucket, directory, Runtime(workers, self.clock, steady=self.clock), limits)
        self.registry.dags.index._path = Path(":memory:")  # hundreds of worlds a second, each with its own
        self.run([("start", self.registry.start)], in_order=True)

    def make_bucket(self, workers: Workers, directory: Path) -> Any:
        """The bucket of this world: a `ScheduledBucket`, or one like it."""
        return ScheduledBucket(self.scheduler)

    # Running.

    def fail_now_and_then(self, odds: float) -> None:
        """From now on the storage fails with these odds, before or after an operation had its effect."""
        self.failing = odds > 0
        self.has_failed = self.has_failed or self.failing

        def fail(label: str) -> tuple[BucketError, bool] | None:
            if self.random.random() >= odds:
                return None
            return Unavailable("an outage"), self.random.random() < 0.5

        self.bucket.fail = fail

    def run(self, programs: Sequence[tuple[str, Callable[[], Any]]], *, in_order: bool = False) -> None:
        """Let programs run to their ends, side by side in an order that the seed gives, or one after the other."""
        running: dict[str, Deferred[None]] = {}
        for number, (name, program) in enumerate(programs):
            owner = f"{number} {name}"
            self.scheduler.add("begin", self._begin(owner, program, running), owner)
            if in_order:
                self.scheduler.fire_all()
        chooser = Chooser(self.random)
        while self.scheduler.pending:
            event = chooser.choose(self.scheduler.pending)
            self.before(event)
            self.scheduler.fire(event)
        for owner, done in running.items():
            if not done.called:
                self.problems.append(f"{owner} never ends")

    def before(self, event: Event) -> None:
        """Called before each event."""

    def begin(self, program: Callable[[], Any]) -> "Deferred[None]":
        """Begin a program, without running it on."""
        running: dict[str, Deferred[None]] = {}
        self._begin("begun", program, running)()
        return running["begun"]

    def run_but(self, held: Event, program: Callable[[], Any]) -> None:
        """Run a program to its end while one event is held back."""
        done = self.begin(program)
        while others := [event for event in self.scheduler.pending if event is not held]:
            self.scheduler.fire(others[0])
        if not done.called:
            self.problems.append("the program waits for the event that is held back")

    def _begin(
        self, owner: str, program: Callable[[], Any], running: "dict[str, Deferred[None]]"
    ) -> Callable[[], None]:
        def begin() -> None:
            token = current_owner.set(owner)
            try:
                running[owner] = Deferred.fromCoroutine(program()).addErrback(failed)
            finally:
                current_owner.reset(token)

        def failed(failure: Failure) -> None:
            if failure.check(CancelledError) or (self.failing and failure.check(BucketError)):
                return
            self.problems.append(f"{owner} failed: {failure.getTraceback()}")

        return begin

    @property
    def now(self) -> int:
        """How many events there have been."""
        return len(self.scheduler.log)

    # What clients do.

    def tell(self, kind: str, repository: Repository, digest: Digest) -> None:
        self.told.append(Told(kind, repository, digest, self.now))

    def tell_manifest(self, repository: Repository, manifest: Known, through: tuple[Digest, ...] = ()) -> None:
        """A client that is told of a manifest relies on its parts. An index may lack some of what it lists."""
        self.told.append(Told("manifest", repository, manifest.digest, self.now, through))
        through += (manifest.digest,)
        for blob in manifest.blobs:
            self.told.append(Told("blob", repository, digest_of(blob), self.now, through))
        for child in manifest.children:
            if self._has(repository, child):
                self.tell_manifest(repository, child, through)

    def _has(self, repository: Repository, manifest: Known) -> bool:
        return layout.manifest_record(repository, manifest.digest) in self.bucket.files

    async def change(
        self, operation: Operation, make: Callable[[], Any], expected: type[Exception] | None = None
    ) -> bool:
        """Make a change; answers whether it was made. ``expected`` is the error that says that there is nothing to."""
        self.operations.append(operation)
        try:
            await make()
        except BucketError:
            return False  # it may have had an effect, or not
        except Exception as error:
            if expected is None or not isinstance(error, expected):
                raise
            self.operations.remove(operation)
            return False
        operation.ended = self.now
        return True

    async def ensure_blob(self, repository: Repository, blob: bytes, how: str = "head") -> None:
        """Have a repository have a blob: look first, or mount, and upload it only where that does not help."""
        digest, blobs = digest_of(blob), self.registry.blobs
        if how == "head":
            try:
                await blobs.size(repository, digest)
                self.tell("blob", repository, digest)
                return
            except BlobUnknown:
                pass
        else:
            operation = Operation("add blob", repository, digest, digest, self.now)
            self.operations.append(operation)
            if await blobs.mount(repository, digest, None if how == "mount" else Repository(how)):
                operation.ended = self.now
                self.tell("blob", repository, digest)
                return
            self.operations.remove(operation)
        source = Path(f"{repository}-{digest.hex[:8]}-{self.now}")
        self.bucket.spool[source] = blob
        operation = Operation("add blob", repository, digest, digest, self.now)
        self.operations.append(operation)
        await blobs.add_file(repository, digest, source, len(blob), leaves_of(blob))
        operation.ended = self.now
        self.tell("blob", repository, digest)

    async def ensure_manifest(self, repository: Repository, manifest: Known) -> bool:
        try:
            await self.registry.manifests.get(repository, manifest.digest)
            self.tell_manifest(repository, manifest)
        except ManifestUnknown:
            return await self.push(repository, manifest, None)
        return True

    async def push(self, repository: Repository, manifest: Known, tag: Tag | None, how: str = "head") -> bool:
        """Push what is missing of a manifest and then itself; answers whether that could be done.

        ``how`` is how to find out what is missing: "head", "mount", or the repository to mount from; a "blind" client
        sends the manifest and sees.
        """
        for blob in manifest.blobs if how != "blind" else ():
            await self.ensure_blob(repository, blob, how)
        for child in manifest.children if how != "blind" else ():
            if not await self.ensure_manifest(repository, child):
                return False
        tags = [] if tag is None else [tag]
        operation = Operation("put", repository, tag, manifest.digest, self.now)
        put = partial(self.registry.manifests.put, repository, manifest.content, manifest.media_type, None, tags)
        try:
            if await self.change(operation, put):
                self.tell_manifest(repository, manifest)
                return True
        except ManifestBlobUnknown:
            if how != "blind" and not self._was_deleted(repository, *(digest_of(blob) for blob in manifest.blobs)):
                raise
        return False

    async def slow_push(self, repository: Repository, manifest: Known, tag: Tag | None) -> None:
        """A push with an upload session that is open the whole time."""
        upload = await self.registry.uploads.begin(repository)
        await self.push(repository, manifest, tag)
        await upload.cancel()

    async def pull(self, repository: Repository, tag: Tag) -> None:
        began = self.now
        try:
            pulled = await self.registry.manifests.get(repository, tag)
        except ManifestUnknown:
            if not self._may_be_missing(repository, tag, began):
                self.problems.append(f"{repository}:{tag} was not found though it was there all the time")
            return
        self.tell_manifest(repository, BY_DIGEST[pulled.digest])
        await self._pull_parts(repository, BY_DIGEST[pulled.digest])

    async def _pull_parts(self, repository: Repository, manifest: Known) -> None:
        for blob in manifest.blobs:
            try:
                (await self.registry.blobs.open(repository, digest_of(blob))).reader.close()
            except BlobUnknown:
                if not self._was_deleted(repository, manifest.digest, digest_of(blob)):
                    self.problems.append(f"a pull from {repository} misses {blob!r}")
        for child in manifest.children:
            there = self._has(repository, child)
            try:
                await self.registry.manifests.get(repository, child.digest)
            except ManifestUnknown:
                if there and not self._was_deleted(repository, manifest.digest, child.digest):
                    self.problems.append(f"a pull from {repository} misses {child.digest}")
                continue
            await self._pull_parts(repository, child)

    def _may_be_missing(self, repository: Repository, tag: Tag, began: int) -> bool:
        """Whether there was a moment since ``began`` at which a tag was not there."""
        puts = self._tag_puts(repository, tag)
        before = [put for put in puts if put.ended is not None and put.ended < began]
        possible = [put for put in puts if not any(put.surely_before(each) for each in before)]
        deletes = [each for each in self.operations if each.repository == repository]
        return (
            not before
            or any(
                each.kind == "delete tag" and each.thing == tag and not any(each.surely_before(put) for put in before)
                for each in deletes
            )
            or any(
                each.kind == "delete manifest" and each.digest == put.digest and not each.surely_before(put)
                for each in deletes
                for put in possible
            )
        )

    def _tag_puts(self, repository: Repository, tag: Tag) -> list[Operation]:
        return [
            each
            for each in self.operations
            if each.kind == "put" and each.repository == repository and each.thing == tag
        ]

    async def delete_tag(self, repository: Repository, tag: Tag) -> None:
        operation = Operation("delete tag", repository, tag, None, self.now)
        await self.change(operation, lambda: self.registry.manifests.delete_tag(repository, tag), ManifestUnknown)

    async def delete_manifest(self, repository: Repository, digest: Digest) -> None:
        operation = Operation("delete manifest", repository, digest, digest, self.now)
        await self.change(operation, lambda: self.registry.manifests.delete(repository, digest), ManifestUnknown)

    async def delete_blob(self, repository: Repository, digest: Digest) -> None:
        operation = Operation("delete blob", repository, digest, digest, self.now)
        await self.change(operation, lambda: self.registry.blobs.delete(repository, digest), BlobUnknown)

    async def collect(self, grace: float | None = None, dry_run: bool = False) -> None:
        self.collections.append(await self.registry.collector.run(dry_run=dry_run, grace=grace))

    async def list_catalog(self) -> None:
        self.catalog = list(await self.registry.catalog.after(""))

    def _was_deleted(self, repository: Repository, *digests: Digest) -> bool:
        return any(
            each.repository == repository and each.digest in digests and each.kind.startswith("delete")
            for each in self.operations
        )
