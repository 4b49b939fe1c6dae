"""The manifests of a repository."""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Hashable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from cachetools import LRUCache
from twisted.logger import Logger

from ipfsreg.bucket.bulk import File
from ipfsreg.bucket.errors import Corrupt, InTheWay
from ipfsreg.bucket.interface import IBucket
from ipfsreg.registry import layout
from ipfsreg.registry.content.block_cid import is_one_block
from ipfsreg.registry.content.content_hash import leaves_of
from ipfsreg.registry.content.dags import no_cid
from ipfsreg.registry.content.storage import Storage
from ipfsreg.registry.content.store import content_key
from ipfsreg.registry.digest import Digest, digest_of
from ipfsreg.registry.errors import DigestInvalid, ManifestBlobUnknown, ManifestInvalid, ManifestUnknown, SizeInvalid
from ipfsreg.registry.manifest import Manifest, parse_manifest
from ipfsreg.registry.names import Repository, Tag
from ipfsreg.registry.record import manifest_key

from .blobs import Blobs, link_key
from .records import Records
from .referrers import Referrers
from .tags import Tags

T = TypeVar("T")
R = TypeVar("R", Tag, Digest)

_LOOKED_FOR = 1000  # blobs, before it is said which are missing: a hostile manifest lists 20,000
_TOGETHER = 50
_STEPS_OF_A_LINK = 25  # 20 of them, read from memory, take the reactor half a millisecond
_NAMED = 50  # missing blobs that an error names one by one
_TOLD = 10_000  # damaged files that were logged, each once


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest as it was pushed."""

    digest: Digest
    media_type: str
    content: bytes
    noted: float | None = None
    """When it was pushed, or last lost a tag, in seconds since 1970; None where nobody noted that."""


@dataclass(frozen=True, slots=True)
class PutManifest:
    """What became of a push: ``tags`` are those that now point to it."""

    digest: Digest
    media_type: str
    subject: Digest | None
    tags: tuple[Tag, ...]


class Manifests:
    """Pushing, reading and deleting manifests, with their tags and referrers.

    ``tagged`` is told of each manifest that was pushed with tags, once it is durable.
    """

    _log = Logger()

    def __init__(
        self,
        storage: Storage,
        records: Records,
        blobs: Blobs,
        tags: Tags,
        referrers: Referrers,
        tagged: Callable[[Repository, Digest, Sequence[Tag]], None] | None = None,
    ) -> None:
        self._storage = storage
        self._guard = storage.guard
        self._records = records
        self._blobs = blobs
        self._tags = tags
        self._referrers = referrers
        self._tagged = tagged
        self._told: LRUCache[str, None] = LRUCache(_TOLD)

    async def resolve(self, repository: Repository, reference: Tag | Digest) -> Digest:
        """The digest that a reference stands for; a digest stands for itself.

        :raises ManifestUnknown: for a tag that the repository does not have.
        """
        if isinstance(reference, Digest):
            return reference
        digest = await self._unless_damaged(layout.tag, repository, reference, self._tags.get(repository, reference))
        if digest is None:
            raise _unknown(reference)
        return digest

    async def _unless_damaged(
        self,
        path_of: Callable[[Repository, R], str],
        repository: Repository,
        reference: R,
        reading: Coroutine[Any, Any, T | None],
    ) -> T | None:
        """What is read from a small file; None where it is damaged on this disk, which only a push heals."""
        try:
            found = await reading
        except Corrupt as error:
            if self._storage.bucket.shared or isinstance(error, InTheWay):
                raise  # it may have been the transfer; and what is in the way keeps pushes out as well
            path = path_of(repository, reference)
            if path not in self._told:
                self._told[path] = None
                self._log.error("{error}. Push the image again to heal it.", error=error)
            return None
        if self._told:
            self._told.pop(path_of(repository, reference), None)
        return found

    async def get(self, repository: Repository, reference: Tag | Digest) -> StoredManifest:
        """Read a manifest by tag or digest.

        :raises ManifestUnknown: where the repository does not have it, or not whole.
        """
        digest = await self.resolve(repository, reference)
        while (found := await self._get(repository, digest)) is None:
            # A tag may have been moved meanwhile, and what it pointed to removed.
            former, digest = digest, await self.resolve(repository, reference)
            if digest == former:
                raise _unknown(reference, damaged=await self._records.was_damaged(repository, digest))
        return found

    async def _get(self, repository: Repository, digest: Digest) -> StoredManifest | None:
        async with self._guard.holding(manifest_key(repository, digest)) as use:
            reading = self._records.get(repository, digest)
            record = await self._unless_damaged(layout.manifest_record, repository, digest, reading)
            content = None if record is None else await self._storage.store.get(digest, record.size)
            if record is None or content is None:
                use.found_nothing()
                return None
            if await self._records.correct(repository, digest, record, len(content)):
                self._log.error(
                    "{path} was damaged, the manifest is whole: its length was written anew. Is the disk in order?",
                    path=layout.manifest_record(repository, digest),
                )
            return StoredManifest(digest, record.mediaType, content, record.released or None)

    async def mend_record(self, stored: IBucket, repository: Repository, digest: Digest) -> bool:
        """Correct the record of a manifest whose content is whole; False where that is not enough to serve it.

        ``stored`` is the bucket beneath the cache of small files, which may know what the record has said before.

        :raises ManifestUnknown: where the repository does not have it.
        """
        found = await self._get(repository, digest)
        if found is None:
            raise _unknown(digest)
        try:
            await self.parsed(found)
        except ManifestInvalid:
            return False
        async with self._guard.holding(manifest_key(repository, digest)):
            await self._records.restore(stored, repository, digest)
        return True

    async def cid(self, manifest: StoredManifest) -> str:
        """A manifest's CID; computed where that was never done.

        :raises Denied: where the bucket is encrypted.
        """
        digest, size = manifest.digest, len(manifest.content)
        known = await self._storage.dags.cid_text(digest, size)
        if known is not None:
            return known
        leaves = await self._storage.workers.run(leaves_of, manifest.content)
        async with self._guard.holding(content_key(digest)):
            cid = await self._storage.dags.add(digest, size, leaves)
        if cid is None:
            raise no_cid()
        return cid

    async def parsed(self, manifest: StoredManifest) -> Manifest:
        """What a manifest says.

        :raises ManifestInvalid: where the content is not a manifest: another program may have stored it.
        """
        return await self.extracted(manifest, parse_manifest)

    async def extracted(self, manifest: StoredManifest, extract: Callable[[bytes, str], T]) -> T:
        """What a function finds in a manifest's content, given its media type too. It may be called in a thread."""
        content = manifest.content
        return await self._storage.parser.run(len(content), extract, content, manifest.media_type)

    async def put(
        self,
        repository: Repository,
        content: bytes,
        content_type: str,
        expected: Digest | None,
        tags: Sequence[Tag],
    ) -> PutManifest:
        """Store a manifest and point tags to it. Durable when it returns.

        ``expected`` is the digest that it was pushed by, if it was pushed by one.

        :raises ManifestInvalid: where the content is not a manifest.
        :raises DigestInvalid: where it has another digest.
        :raises ManifestBlobUnknown: where the repository lacks a blob that it needs. Foreign layers, the
            manifests of an index and a subject may be missing (distribution-spec, "Pushing Manifests").
        :raises QuotaExceeded: where there is no room for it.
        :raises Denied: where one of the tags is immutable and points to another one.
        """
        algorithm = "sha256" if expected is None else expected.algorithm
        digest, manifest = await self._storage.parser.run(len(content), _read, content, content_type, algorithm)
        if expected is not None and digest != expected:
            raise DigestInvalid(f"the content received is {digest}", {"digest": str(expected)})
        for tag in tags:
            if self._tags.immutable.protects(repository, tag):  # before anything is stored
                await self._check_stays(repository, tag, digest)
        async with (
            self._guard.holding_all(_used(repository, digest, manifest), self._storage.throttle()),
            self._storage.quotas.room(repository, digest, len(content)),
        ):
            await self._check_blobs(repository, manifest)
            pointing = tuple(dict.fromkeys(tags))
            await self._write(repository, digest, content, manifest, pointing)
        if pointing and self._tagged is not None:
            self._tagged(repository, digest, pointing)
        return PutManifest(digest, manifest.media_type, manifest.subject, pointing)

    async def _write(
        self, repository: Repository, digest: Digest, content: bytes, manifest: Manifest, tags: Sequence[Tag]
    ) -> None:
        size = len(content)
        async with AsyncExitStack() as writing:
            then: list[File] = []
            if not is_one_block(digest, size):
                leaves = await self._storage.workers.run(leaves_of, content)
                then += await self._storage.dags.files(digest, size, leaves) or ()
            # The entry comes before the record: a reader that finds the manifest may rely on the entry.
            if manifest.subject is not None:
                then.append(await self._referrers.new_entry(repository, manifest.subject, digest, size, manifest))
            then += await writing.enter_async_context(
                self._records.noting(repository, digest, manifest.media_type, size)
            )
            for tag in sorted(tags):  # others may hold some of them and wait for the rest
                then += await writing.enter_async_context(self._pointing(repository, tag, digest))
            await self._storage.store.put(digest, content, then)

    async def delete(self, repository: Repository, digest: Digest) -> None:
        """Delete a manifest and the tags that point to it; the collector frees what nothing else needs.

        :raises ManifestUnknown: where the repository does not have it.
        :raises Denied: where a tag that points to it is immutable.
        """
        async with self._guard.deleting(manifest_key(repository, digest)):
            subject = await self._subject(repository, digest)
            pointing = await self._tags.pointing_to(repository, digest)
            for tag in pointing:
                if self._tags.immutable.protects(repository, tag) and await self._tags.whole(repository, tag) == digest:
                    self._tags.immutable.check(repository, tag, "deleted with its manifest")
            for tag in pointing:
                async with self._tags.changing(repository, tag):
                    if await self._tags.whole(repository, tag) == digest:  # nobody has moved it meanwhile
                        await self._tags.delete(repository, tag)
            await self._records.remove(repository, digest, subject)

    async def _subject(self, repository: Repository, digest: Digest) -> Digest | None:
        """The subject of a manifest as far as that can be read. :raises ManifestUnknown: where there is none."""
        try:
            record = await self._records.get(repository, digest)
        except Corrupt:
            return None
        if record is None:
            raise _unknown(digest)
        content = await self._storage.store.get(digest, record.size)
        if content is None:
            return None
        try:
            return (await self.parsed(StoredManifest(digest, record.mediaType, content))).subject
        except ManifestInvalid:
            return None

    def check_can_delete(self, repository: Repository, tags: Iterable[Tag]) -> None:
        """See whether each of these tags may be deleted, before any is.

        :raises Denied: where one is immutable.
        """
        for tag in tags:
            self._tags.immutable.check(repository, tag, "deleted")

    async def delete_tag(self, repository: Repository, tag: Tag) -> None:
        """Delete a tag; its manifest can be collected unless something else needs it.

        :raises ManifestUnknown: where there is no such tag.
        :raises Denied: where it is immutable.
        """
        while True:
            try:
                digest = await self._tags.get(repository, tag)
            except Corrupt:
                await self._tags.delete(repository, tag)
                return
            if digest is None:
                raise _unknown(tag)
            self._tags.immutable.check(repository, tag, "deleted")
            if await self.delete_tag_if(repository, tag, digest, _always):
                return

    async def delete_tag_if(
        self, repository: Repository, tag: Tag, digest: Digest, is_meant: Callable[[], Awaitable[bool]]
    ) -> bool:
        """Delete a tag that still points to a digest, if ``is_meant`` says so, which is asked while nobody moves it.

        Answers whether it did. Immutable or not is for the caller.
        """
        async with self._guard.holding(manifest_key(repository, digest)), self._tags.changing(repository, tag):
            if await self._tags.whole(repository, tag) != digest or not await is_meant():
                return False
            noted = await self._records.discard(repository, digest)
            await self._tags.delete(repository, tag)
            # On a full disk the deletion may have made room for the note. If not, it is kept in memory.
            if not noted and not await self._records.discard(repository, digest):
                self._records.remember_discarded(repository, digest)
            return True

    async def _check_stays(self, repository: Repository, tag: Tag, digest: Digest) -> None:
        former = await self._tags.whole(repository, tag)
        if former is not None and former != digest:
            self._tags.immutable.check(repository, tag, f"moved from {former}: push under another tag")

    @asynccontextmanager
    async def _pointing(self, repository: Repository, tag: Tag, digest: Digest) -> AsyncIterator[Sequence[File]]:
        """The files with which a tag comes to point to a digest, and which are written in the block."""
        async with self._tags.changing(repository, tag):
            former = await self._tags.whole(repository, tag)
            if former == digest:
                yield []
                return
            released: Sequence[File] = []
            if former is not None:
                self._tags.immutable.check(repository, tag, f"moved from {former}: push under another tag")
                released = await self._records.released(repository, former)
            with self._tags.pointing(repository, tag, digest) as file:
                yield [*released, file]

    async def _check_blobs(self, repository: Repository, manifest: Manifest) -> None:
        """Look for each of its blobs once, and no further than where some are missing."""
        throttle = self._storage.throttle()
        known: set[tuple[Digest, int]] = set()
        missing: list[str] = []
        for begin in range(0, len(manifest.blobs), _TOGETHER):
            some = dict.fromkeys(manifest.blobs[begin : begin + _TOGETHER])
            wanted = [blob for blob in some if blob not in known]
            known.update(wanted)
            await throttle.step(_TOGETHER + _STEPS_OF_A_LINK * len(wanted))
            sizes = await self._blobs.whole_sizes(repository, [digest for digest, _ in wanted]) if wanted else []
            for (digest, size), linked in zip(wanted, sizes, strict=True):
                if linked is None:
                    missing.append(str(digest))
                elif linked != size:
                    raise SizeInvalid(
                        f"the descriptor of {digest} says {size} bytes, the blob has {linked}",
                        {"digest": str(digest)},
                    )
            if missing and (begin + _TOGETHER) % _LOOKED_FOR == 0:
                break
        if missing:
            more = len(missing) - _NAMED
            raise ManifestBlobUnknown(
                "the repository lacks blobs of this manifest",
                {"digests": missing[:_NAMED]} | ({"more": more} if more > 0 else {}),
            )


async def _always() -> bool:
    return True


def _used(repository: Repository, digest: Digest, manifest: Manifest) -> Iterator[Hashable]:
    """The guard's keys of what a push relies on."""
    yield manifest_key(repository, digest)
    yield content_key(digest)
    for blob, _ in manifest.blobs:
        yield link_key(repository, blob)
    for blob in manifest.foreign:
        yield link_key(repository, blob)
    for child in manifest.manifests:
        yield manifest_key(repository, child)


def _read(content: bytes, content_type: str, algorithm: str) -> tuple[Digest, Manifest]:
    return digest_of(content, algorithm), parse_manifest(content, content_type)


def _unknown(reference: Tag | Digest, *, damaged: bool = False) -> ManifestUnknown:
    said = "the manifest was found damaged: push it again" if damaged else "manifest unknown to this repository"
    return ManifestUnknown(said, {"reference": str(reference)})
