"""Which manifests refer to a subject (distribution-spec, "Listing Referrers")."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from typing import Any

from twisted.internet.defer import DeferredSemaphore
from twisted.logger import Logger

from ipfsreg.bucket.bulk import get_each
from ipfsreg.bucket.errors import BucketError, Corrupt, NotFound, TooLarge
from ipfsreg.bucket.interface import IBucket
from ipfsreg.flow.gather import batches, batches_async
from ipfsreg.flow.throttle import Throttle
from ipfsreg.registry import layout
from ipfsreg.registry.content.storage import Storage
from ipfsreg.registry.descriptor import Descriptor, encode_json, read_descriptor
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.documents import read_json
from ipfsreg.registry.errors import ManifestInvalid
from ipfsreg.registry.manifest import Manifest, parse_manifest
from ipfsreg.registry.names import Repository
from ipfsreg.registry.record import RECORD_MAX, Record, manifest_key, parse_record, read_record

from .referrer_index import ReferrerIndex
from .to_learn import ToLearn

DESCRIPTORS_PAGE = 1024 * 1024
"""The bytes of descriptors in one page: the rest is left to the next."""

_PAGES_AT_ONCE = 8  # a page is some MiB of objects while it is made, however many ask for one
_AT_ONCE = 64
_SHORT = 16 * 1024  # a descriptor that is not longer is read with others in one call of a thread
_MORE_THAN_MANIFEST = 64 * 1024
"""A descriptor has its manifest's annotations, and at most so many bytes more."""


_Page = tuple[list[dict[str, Any]], Digest | None]


class Referrers:
    """The descriptors of manifests by their subject. Each is a file of its own, so no list is ever rewritten.

    ``stored`` is the bucket beneath the cache of small files: a long list would push all else out of that.
    """

    _log = Logger()

    def __init__(self, storage: Storage, stored: IBucket) -> None:
        self._storage = storage
        self._bucket = storage.bucket
        self._stored = stored
        self._index = ReferrerIndex(storage.index)
        self.to_learn = ToLearn()
        """The repositories whose referrers the index should have; `learn` has it read them."""
        self._turn: DeferredSemaphore = DeferredSemaphore(_PAGES_AT_ONCE)

    async def add(
        self, repository: Repository, subject: Digest, digest: Digest, size: int, manifest: Manifest
    ) -> Descriptor:
        """Note that a manifest refers to a subject, durably."""
        descriptor = manifest.descriptor(digest, size)
        content = await self._storage.parser.run(size, encode_json, descriptor.document)
        self._index.refers(repository, subject, digest, descriptor.artifact_type)
        await self._bucket.put(layout.referrer(repository, subject, digest), content)
        self.to_learn.added(repository)
        return descriptor

    async def remove(self, repository: Repository, subject: Digest, digest: Digest) -> None:
        """Forget that a manifest refers to a subject."""
        with suppress(NotFound):
            await self._bucket.remove(layout.referrer(repository, subject, digest))
        self._index.removed(repository, subject, digest)

    async def list(
        self,
        repository: Repository,
        subject: Digest,
        artifact_type: str | None = None,
        after: Digest | None = None,
    ) -> _Page:
        """The descriptors of the manifests that refer to a subject, in the order of their digests.

        A page of them: from behind ``after``, until there are `DESCRIPTORS_PAGE` bytes. The second value is the digest
        of the last one of this page where more may follow, else None.
        """
        async with self._turn:
            return await self._page(repository, subject, artifact_type, after)

    async def _page(
        self, repository: Repository, subject: Digest, artifact_type: str | None, after: Digest | None
    ) -> _Page:
        found: list[dict[str, Any]] = []
        length = 0
        last = after
        throttle = self._storage.throttle()
        async with aclosing(self._referring(repository, subject, artifact_type, after)) as referring:
            async for some in referring:
                quickly = {} if len(some) < _AT_ONCE else await self._short_and_whole(repository, subject, some)
                await throttle.step(_AT_ONCE)
                for digest in some:
                    if length >= DESCRIPTORS_PAGE:
                        return found, last
                    descriptor = quickly.get(digest) or await self._whole(repository, subject, digest)
                    if descriptor is None:
                        continue
                    if artifact_type is None or descriptor.artifact_type == artifact_type:
                        found.append(descriptor.document)
                        length += _length(descriptor)
                    last = digest
        return found, None

    async def _referring(
        self, repository: Repository, subject: Digest, artifact_type: str | None, after: Digest | None
    ) -> AsyncGenerator[Sequence[Digest], None]:
        """The manifests that may refer to a subject and be of a type, `_AT_ONCE` at a time, in order."""
        known: Sequence[Digest] | None = None
        while not self._bucket.shared:
            known = await self._index.some(repository, subject, artifact_type, after, _AT_ONCE)
            if known is None:
                break
            yield known
            if len(known) < _AT_ONCE:
                return
            after = known[-1]
        entries = await self._bucket.list(layout.referrers(repository, subject))
        self.to_learn.listed(repository, len(entries))
        digests = await self._storage.workers.run(layout.referring, entries, after)
        for some in batches(digests, _AT_ONCE):
            yield some

    async def learn(self, repository: Repository, throttle: Throttle) -> None:
        """Have the index know all of a repository, of a bucket that nobody else writes to."""
        if await self._index.knows(repository):
            return
        async for some in batches_async(layout.referrer_entries(self._stored, repository), _AT_ONCE):
            if not await self._learn(repository, some, throttle):
                return
        self._index.has_all(repository)

    async def _learn(self, repository: Repository, some: Sequence[tuple[Digest, Digest]], throttle: Throttle) -> bool:
        contents = await get_each(self._stored, [(layout.referrer(repository, *each), _SHORT) for each in some])
        descriptors = await self._storage.workers.run(_descriptors, contents)
        for (subject, digest), descriptor in zip(some, descriptors, strict=True):
            if descriptor is None or descriptor.digest != digest:
                self._index.found(repository, subject, digest)
            else:
                self._index.refers(repository, subject, digest, descriptor.artifact_type)
        await throttle.step(len(some))
        return await self._index.settled()

    async def _short_and_whole(
        self, repository: Repository, subject: Digest, digests: Sequence[Digest]
    ) -> dict[Digest, Descriptor]:
        """Those descriptors that were read at once and are as they should be. For the others that says nothing."""
        records = [(layout.manifest_record(repository, digest), RECORD_MAX) for digest in digests]
        entries = [(layout.referrer(repository, subject, digest), _SHORT) for digest in digests]
        contents = await get_each(self._stored, [*records, *entries])
        return await self._storage.workers.run(_parsed_all, digests, contents)

    async def entry(self, bucket: IBucket, repository: Repository, subject: Digest, digest: Digest) -> Descriptor:
        """The descriptor that is stored, read from ``bucket``.

        :raises NotFound: where there is no file.
        :raises Corrupt: where the file holds something else.
        """
        path = layout.referrer(repository, subject, digest)
        try:
            content = await bucket.get(path, self._storage.max_manifest_size + _MORE_THAN_MANIFEST)
            descriptor = await self._storage.parser.run(len(content), _parsed, content)
        except (ManifestInvalid, TooLarge):
            raise Corrupt(f"{path} is not the descriptor of a manifest") from None
        if descriptor.digest != digest:
            raise Corrupt(f"{path} is the descriptor of another manifest")
        return descriptor

    async def mend(self, repository: Repository, subject: Digest, digest: Digest) -> Descriptor | None:
        """Write a damaged descriptor anew from its manifest; None where that cannot be read or is not there."""
        async with self._storage.guard.holding(manifest_key(repository, digest)):
            record = await read_record(self._bucket, repository, digest)
            content = None if record is None else await self._storage.store.get(digest, record.size)
            if record is None or content is None:
                return None
            try:
                manifest = await self._storage.parser.run(len(content), parse_manifest, content, record.mediaType)
            except ManifestInvalid:
                return None
            if manifest.subject != subject:
                return None
            self._log.error(
                "{path} was damaged or missing: it was written anew from its manifest. Is the disk in order?",
                path=layout.referrer(repository, subject, digest),
            )
            try:
                return await self.add(repository, subject, digest, len(content), manifest)
            except BucketError as error:
                self._log.error("It could not be written: {error}", error=error)
                return manifest.descriptor(digest, len(content))

    async def _whole(self, repository: Repository, subject: Digest, digest: Digest) -> Descriptor | None:
        try:
            if await self._record(repository, digest) is None:
                return None  # left by a crash in the middle of a push or deletion
            return await self.entry(self._bucket, repository, subject, digest)
        except NotFound:  # deleted since it was listed
            return None
        except Corrupt:
            if self._bucket.shared:
                raise
            return await self.mend(repository, subject, digest)

    async def _record(self, repository: Repository, digest: Digest) -> Record | None:
        try:
            return await read_record(self._bucket, repository, digest)
        except Corrupt:
            if self._bucket.shared:
                raise
            return None  # the manifest cannot be pulled either


def _parsed_all(digests: Sequence[Digest], contents: Sequence[bytes | BucketError]) -> dict[Digest, Descriptor]:
    found = {}
    for digest, record, entry in zip(digests, contents, contents[len(digests) :], strict=False):
        if isinstance(record, bytes) and isinstance(entry, bytes):
            try:
                parse_record("", record)
                descriptor = _parsed(entry)
            except (Corrupt, ManifestInvalid):
                continue
            if descriptor.digest == digest:
                found[digest] = descriptor
    return found


def _descriptors(contents: Sequence[bytes | BucketError]) -> list[Descriptor | None]:
    """Those that could be read and are short."""

    def read(content: bytes | BucketError) -> Descriptor | None:
        try:
            return _parsed(content) if isinstance(content, bytes) else None
        except ManifestInvalid:
            return None

    return [read(content) for content in contents]


def _parsed(content: bytes) -> Descriptor:
    return read_descriptor(read_json(content), "descriptor")


def _length(descriptor: Descriptor) -> int:
    """About how many bytes it is in an answer."""
    annotations = descriptor.annotations or {}
    return 300 + sum(len(key) + len(value) + 6 for key, value in annotations.items())
