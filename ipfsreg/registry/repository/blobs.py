"""The blobs of a repository."""

import re
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from twisted.logger import Logger

from ipfsreg.bucket.bulk import File, get_each, put_in_order, stat_each
from ipfsreg.bucket.errors import Corrupt, NotFound, TooLarge, Unavailable, Unchangeable
from ipfsreg.bucket.interface import IBucket, IReader, Stat
from ipfsreg.flow.gather import gather
from ipfsreg.flow.locks import KeyedLock
from ipfsreg.ipfs.file_dag import FileDag
from ipfsreg.registry import layout
from ipfsreg.registry.content.cid_index import Holder
from ipfsreg.registry.content.content_hash import leaves_of
from ipfsreg.registry.content.open_content import read_part
from ipfsreg.registry.content.storage import Storage
from ipfsreg.registry.content.store import content_key
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.errors import BlobUnknown
from ipfsreg.registry.names import Repository

LINK_MAX = 64
"""The bytes of the longest link that is read."""

_LINK = re.compile(rb"[0-9]+\n?")


def link_key(repository: Repository, digest: Digest) -> tuple[str, Repository, Digest]:
    """The guard's key of a repository's link to a blob."""
    return ("link", repository, digest)


async def read_link(bucket: IBucket, repository: Repository, digest: Digest) -> int | None:
    """The length that a repository's link to a blob gives, or None for a damaged one.

    :raises NotFound: where there is no link.
    """
    try:
        return parse_link(await bucket.get(layout.blob_link(repository, digest), LINK_MAX))
    except (TooLarge, Corrupt):
        return None


def parse_link(link: bytes) -> int | None:
    """The length that is in a link, or None for a damaged one."""
    return int(link) if _LINK.fullmatch(link) else None


@dataclass(frozen=True, slots=True)
class OpenBlob:
    """A blob opened for reading: close the reader when done."""

    digest: Digest
    size: int
    reader: IReader


class Blobs:
    """Which repository has which blob, and the blobs' content.

    ``is_private`` says from which repositories nobody mounts a blob without naming one that has it.
    """

    _log = Logger()

    def __init__(self, storage: Storage, is_private: Callable[[str], bool] | None = None) -> None:
        self._bucket = storage.bucket
        self._store = storage.store
        self._dags = storage.dags
        self._index = storage.index
        self._guard = storage.guard
        self._quotas = storage.quotas
        self._workers = storage.workers
        self._is_private = is_private
        self._mending = KeyedLock()

    async def size(self, repository: Repository, digest: Digest) -> int:
        """A blob's length in bytes.

        :raises BlobUnknown: where the repository does not have it, or not whole.
        """
        async with self._guard.holding(link_key(repository, digest), content_key(digest)) as use:
            size = await self.whole_size(repository, digest)
            if size is None:
                use.found_nothing()
                raise _unknown(digest)
            return size

    async def open(self, repository: Repository, digest: Digest) -> OpenBlob:
        """Open a blob for reading.

        :raises BlobUnknown: where the repository does not have it, or not whole.
        """
        async with self._guard.holding(link_key(repository, digest), content_key(digest)) as use:
            size = linked = await self.linked_size(repository, digest)
            reader = None if size is None else await self._store.open(digest, size)
            if reader is None:  # the link or the content is missing or damaged
                size = await self.whole_size(repository, digest)
                reader = None if size is None else await self._store.open(digest, size)
            if size is None or reader is None:
                use.found_nothing()
                raise _unknown(digest, damaged=linked is not None and await self._store.was_quarantined(digest))
            return OpenBlob(digest, size, reader)

    async def read(self, repository: Repository, digest: Digest, most: int) -> bytes | None:
        """The content of a blob of at most ``most`` bytes, unverified; None for a longer one.

        :raises BlobUnknown: as `open`.
        """
        blob = await self.open(repository, digest)
        with closing(blob.reader):
            return await read_part(self._workers, blob.reader, 0, blob.size) if blob.size <= most else None

    async def cid(self, repository: Repository, digest: Digest) -> str:
        """A blob's CID; see `dag`."""
        return str((await self.dag(repository, digest)).cid)

    async def dag(self, repository: Repository, digest: Digest) -> FileDag:
        """A blob's DAG; computed by reading it where that was never done.

        :raises BlobUnknown: where the repository does not have it, or not whole.
        """
        async with self._guard.holding(link_key(repository, digest), content_key(digest)):
            blob = await self.open(repository, digest)
            with closing(blob.reader):
                dag = await self._dags.get(digest, blob.size, blob.reader)
            assert dag is not None
            return dag

    async def add_file(
        self, repository: Repository, digest: Digest, source: Path, size: int, leaves: bytes | None
    ) -> None:
        """Give a repository a blob from a verified, fsynced file of the spool. Durable when it returns.

        ``leaves`` are the hashes of its DAG's leaves, or None where they have to be found out.

        :raises QuotaExceeded: where there is no room for it; so do `add`, `link` and `mount`.
        """
        async with (
            self._guard.holding(link_key(repository, digest), content_key(digest)),
            self._quotas.room(repository, digest, size),
        ):
            dag = await self._dags.files(digest, size, leaves)
            if dag is not None:
                await self._store.put_file(digest, source, size, [*dag, self._noted_link(repository, digest, size)])
                return
            await self._store.put_file(digest, source, size)
            await self._dags.add(digest, size, leaves)
            await self._link(repository, digest, size)

    async def add(self, repository: Repository, digest: Digest, content: bytes) -> None:
        """Give a repository a small blob, of at most some KiB. Durable when it returns."""
        async with (
            self._guard.holding(link_key(repository, digest), content_key(digest)),
            self._quotas.room(repository, digest, len(content)),
        ):
            await self._store.put(digest, content)
            await self._dags.add(digest, len(content), leaves_of(content))
            await self._link(repository, digest, len(content))

    async def check_room(self, repository: Repository, digest: Digest | None, size: int) -> None:
        """See that a repository may get a blob, before it is sent. See `Quotas.check`."""
        await self._quotas.check(repository, digest, size)

    async def link(self, repository: Repository, digest: Digest, size: int, leaves: bytes | None) -> bool:
        """Give a repository a blob whose content of ``size`` bytes was stored before; False where it is not there."""
        async with self._guard.holding(link_key(repository, digest), content_key(digest)):
            if await self._store.whole_size(digest, size) != size:
                return False
            async with self._quotas.room(repository, digest, size):
                await self._dags.add(digest, size, leaves)
                await self._link(repository, digest, size)
            return True

    async def mount(
        self,
        repository: Repository,
        digest: Digest,
        source: Repository | None,
        may_read: Callable[[str], bool] | None = None,
    ) -> int | None:
        """Give a repository a blob that another has: no transfer. Answers its length in bytes.

        Where no ``source`` is named, that is any repository that is not private and for which ``may_read`` says yes.
        Answers None where there is no such blob: then it has to be uploaded.
        """
        async with self._guard.holding(link_key(repository, digest), content_key(digest)) as use:
            size = await self._size_elsewhere(digest, source, may_read)
            if size is None:
                use.found_nothing()
                return None
            async with self._quotas.room(repository, digest, size):
                await self._link(repository, digest, size)
            return size

    async def delete(self, repository: Repository, digest: Digest) -> None:
        """Take a blob from a repository; the collector frees the content when no repository has it.

        :raises BlobUnknown: where the repository does not have it.
        """
        async with self._guard.deleting(link_key(repository, digest)):
            if not await self.remove_link(repository, digest):
                raise _unknown(digest)

    async def remove_link(self, repository: Repository, digest: Digest) -> bool:
        """Take a blob out of a repository; the caller has made sure that nobody uses it. False where there is none."""
        try:
            await self._bucket.remove(layout.blob_link(repository, digest))
            removed = True
        except NotFound:
            removed = False
        self._index.lost(Holder(digest, repository, is_manifest=False))
        return removed

    async def whole_size(self, repository: Repository, digest: Digest) -> int | None:
        """A blob's length in bytes, or None where the repository does not have it, or not whole.

        A damaged link to whole content is written anew. The caller holds `link_key` in the guard.
        """
        try:
            linked = await self._link_of(repository, digest)
            if linked is not None and await self._store.has(digest, linked):
                return linked
            async with self._mending.of((repository, digest)):
                linked = await self._link_of(repository, digest)  # somebody may have mended it while we waited
                size = await self._store.whole_size(digest, linked)
                if size is not None and size != linked:
                    await self._write_anew(repository, digest, size)
                return size
        except NotFound:
            return None

    async def whole_sizes(self, repository: Repository, digests: Sequence[Digest]) -> list[int | None]:
        """As `whole_size` of each, where nearly all are whole: these are looked at together."""
        if self._bucket.shared:  # each look is a call, and several are under way at a time

            async def whole_size(digest: Digest) -> int | None:
                return await self.whole_size(repository, digest)

            return await gather(whole_size, digests)
        links = await get_each(self._bucket, [(layout.blob_link(repository, digest), LINK_MAX) for digest in digests])
        contents = await stat_each(self._bucket, [layout.blob(digest) for digest in digests])
        sizes: list[int | None] = []
        for digest, link, content in zip(digests, links, contents, strict=True):
            size = parse_link(link) if isinstance(link, bytes) else None
            if not isinstance(link, NotFound) and not (isinstance(content, Stat) and content.size == size):
                size = await self.whole_size(repository, digest)
            sizes.append(size)
        return sizes

    async def linked_size(self, repository: Repository, digest: Digest) -> int | None:
        """The length that the repository's link gives, or None where there is no link, or a damaged one."""
        try:
            return await self._link_of(repository, digest)
        except NotFound:
            return None

    async def mend_link(self, stored: IBucket, repository: Repository, digest: Digest, size: int) -> bool:
        """Correct a link to content of ``size`` bytes that was found whole; False where nothing is to be corrected.

        ``stored`` is the bucket beneath the cache of small files, which may know what the link has said before.
        """
        async with self._guard.holding(link_key(repository, digest), content_key(digest)):
            try:
                if await read_link(stored, repository, digest) == size:
                    return False
            except NotFound:
                return False
            await self._write_anew(repository, digest, size)
            return True

    async def _size_elsewhere(
        self, digest: Digest, source: Repository | None, may_read: Callable[[str], bool] | None
    ) -> int | None:
        private = self._is_private
        if source is None and (private is not None or may_read is not None):

            def shows(name: str) -> bool:
                return not (private is not None and private(name)) and (may_read is None or may_read(name))

            source = await self._shown_holder(digest, shows)
            if source is None:
                return None
        try:
            size = await (self._store.size(digest) if source is None else self._link_of(source, digest))
        except NotFound:
            return None
        return await self._store.whole_size(digest, size)

    async def _shown_holder(self, digest: Digest, shows: Callable[[str], bool]) -> Repository | None:
        """A repository that has a blob and may be taken from. Where the index knows of none, the client pushes."""
        try:
            async for holder in self._index.holders(digest, shows):
                if not holder.is_manifest and await self.linked_size(holder.repository, digest) is not None:
                    return holder.repository
        except Unavailable:  # the index, and that was logged
            pass
        return None

    async def _link_of(self, repository: Repository, digest: Digest) -> int | None:
        linked = await read_link(self._bucket, repository, digest)
        if linked is None and self._bucket.shared:
            # A broken transfer must not look like an absence.
            raise Corrupt(
                f"{layout.blob_link(repository, digest)} says no length; push the blob again, or run `verify`"
            )
        return linked

    async def _write_anew(self, repository: Repository, digest: Digest, size: int) -> None:
        try:
            await self._link(repository, digest, size)
        except Unchangeable:
            return  # the blob is served correctly all the same
        self._log.error(
            "{path} was damaged, the blob is whole: the link was written anew. Is the disk in order?",
            path=layout.blob_link(repository, digest),
        )

    async def _link(self, repository: Repository, digest: Digest, size: int) -> None:
        await put_in_order(self._bucket, [self._noted_link(repository, digest, size)])

    def _noted_link(self, repository: Repository, digest: Digest, size: int) -> File:
        """A link that is about to be written."""
        self._index.held(Holder(digest, repository, is_manifest=False), size=size)
        return layout.blob_link(repository, digest), b"%d\n" % size


def _unknown(digest: Digest, *, damaged: bool = False) -> BlobUnknown:
    said = "the blob was found damaged: push it again" if damaged else "blob unknown to this repository"
    return BlobUnknown(said, {"digest": str(digest)})
