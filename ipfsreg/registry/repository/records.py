"""Which manifests the repositories have: the records, each a small file beside the content."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from ipfsreg.bucket.bulk import File, put_one_by_one
from ipfsreg.bucket.errors import BucketError, Corrupt, Full, NotFound, Unchangeable
from ipfsreg.bucket.interface import IBucket
from ipfsreg.registry import layout
from ipfsreg.registry.content.cid_index import Holder
from ipfsreg.registry.content.storage import Storage
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.names import Repository
from ipfsreg.registry.record import Record, read_record, record_file, write_record

from .catalog import Catalog
from .referrers import Referrers

_FRESH = 60.0  # seconds for which the time in a record is recent enough


class Records:
    """Making, changing and removing records. Callers hold `manifest_key` in the guard."""

    def __init__(self, storage: Storage, catalog: Catalog, referrers: Referrers) -> None:
        self._bucket = storage.bucket
        self._store = storage.store
        self._index = storage.index
        self._now = storage.now
        self._catalog = catalog
        self._referrers = referrers
        self._discarded: set[tuple[Repository, Digest]] = set()

    async def get(self, repository: Repository, digest: Digest) -> Record | None:
        """A manifest's record, or None where the repository does not have the manifest.

        :raises Corrupt: where it says nothing sensible.
        """
        return await read_record(self._bucket, repository, digest)

    async def was_damaged(self, repository: Repository, digest: Digest) -> bool:
        """Whether a repository has a manifest whose record is damaged, or whose content was found damaged once."""
        try:
            return await self.get(repository, digest) is not None and await self._store.was_quarantined(digest)
        except Corrupt:
            return True

    @asynccontextmanager
    async def noting(
        self, repository: Repository, digest: Digest, media_type: str, size: int
    ) -> AsyncIterator[Sequence[File]]:
        """The file that says that a manifest was pushed, if it does not yet; it is made durable in the block."""
        self._index.held(Holder(digest, repository, is_manifest=True), size=size)
        now = self._now()
        known = await self._whole(repository, digest)
        if (
            known is None
            or known.mediaType != media_type
            or known.discarded
            or known.original
            or abs(now - known.released) >= _FRESH
        ):
            try:
                yield [record_file(repository, digest, Record(mediaType=media_type, size=size, released=now))]
            except BucketError:
                self._catalog.doubted()
                raise
            self._catalog.added(repository)
        else:  # it is the same manifest under another tag, and two fsyncs are saved
            yield []
        self._discarded.discard((repository, digest))

    async def correct(self, repository: Repository, digest: Digest, record: Record, size: int) -> bool:
        """Write the length of a whole manifest into its record, where that says another; answers whether it did."""
        if size == record.size or record.original:
            return False
        try:
            await write_record(self._bucket, repository, digest, record.model_copy(update={"size": size}))
        except Unchangeable:
            return False  # it is served as it should be all the same
        return True

    async def restore(self, stored: IBucket, repository: Repository, digest: Digest) -> None:
        """Write a sound record anew where ``stored``, beneath the cache of small files, has another type or length."""
        record, found = await self.get(repository, digest), await read_record(stored, repository, digest)
        if record is None or found is None or record.original:
            return
        if (record.mediaType, record.size) != (found.mediaType, found.size):
            with suppress(Unchangeable):  # it is served as it should be all the same
                await write_record(self._bucket, repository, digest, record)

    async def release(self, repository: Repository, digest: Digest, *, discarded: bool = False) -> None:
        """Note that a manifest is about to lose a tag; ``discarded`` says that it need not be kept any longer.

        It is noted before: a daemon that dies in between leaves a note that is merely early.
        """
        await put_one_by_one(self._bucket, await self.released(repository, digest, discarded=discarded))

    async def released(self, repository: Repository, digest: Digest, *, discarded: bool = False) -> Sequence[File]:
        """What `release` writes, for a caller that does so."""
        record = await self._whole(repository, digest)
        if record is None or record.original:
            return []
        changed = record.model_copy(update={"released": self._now(), "discarded": discarded})
        return [record_file(repository, digest, changed)]

    async def discard(self, repository: Repository, digest: Digest) -> bool:
        """As `release` with ``discarded``; False where the storage has no room for it."""
        try:
            await self.release(repository, digest, discarded=True)
        except Full:
            return False
        return True

    def remember_discarded(self, repository: Repository, digest: Digest) -> None:
        """Keep in memory that a manifest is discarded, where there was no room to note it."""
        self._discarded.add((repository, digest))

    def was_discarded(self, repository: Repository, digest: Digest) -> bool:
        """Whether a manifest is discarded, as far as that is kept in memory."""
        return (repository, digest) in self._discarded

    async def remove(self, repository: Repository, digest: Digest, subject: Digest | None) -> None:
        """Take a manifest out of a repository; the caller has made sure that nobody uses it."""
        try:
            await self._bucket.remove(layout.manifest_record(repository, digest))
            await self._catalog.removed_from(repository)
        except NotFound:
            pass
        except BucketError:
            self._catalog.doubted()
            raise
        self._index.lost(Holder(digest, repository, is_manifest=True))
        self._discarded.discard((repository, digest))
        # An entry without a record is not shown, and the collector takes it.
        if subject is not None:
            await self.remove_entry(repository, subject, digest)

    async def remove_entry(self, repository: Repository, subject: Digest, digest: Digest) -> None:
        """Take away what says that a manifest, which is not there, refers to a subject."""
        await self._referrers.remove(repository, subject, digest)

    async def _whole(self, repository: Repository, digest: Digest) -> Record | None:
        try:
            return await self.get(repository, digest)
        except Corrupt:
            return None  # pushing the manifest heals it
