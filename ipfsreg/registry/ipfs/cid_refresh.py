"""Bringing the index of CIDs up to date with the bucket."""

from ipfsreg.bucket.bulk import get_each
from ipfsreg.bucket.errors import Corrupt
from ipfsreg.bucket.interface import IBucket
from ipfsreg.flow.gather import batches
from ipfsreg.flow.progress import Progress
from ipfsreg.flow.throttle import Throttle
from ipfsreg.registry import layout
from ipfsreg.registry.content.cid_index import Holder
from ipfsreg.registry.content.storage import Storage
from ipfsreg.registry.names import Repository
from ipfsreg.registry.record import RECORD_MAX, parse_record
from ipfsreg.registry.repository.blobs import LINK_MAX, parse_link
from ipfsreg.registry.repository.catalog import Catalog
from ipfsreg.registry.repository.referrers import Referrers
from ipfsreg.registry.repository.tags import Tags

SHARED_BUCKET_SECONDS = 3600.0
"""The pause between two passes over a bucket that others write to."""

_AT_ONCE = 500
_READ_AT_ONCE = 64


class CidRefresh:
    """Tells the index of all that is in a bucket: after a kill, or where others write to the bucket as well.

    In a bucket that nobody else writes to it has all tags and referrers read as well, where the index does not know
    them.

    Where there are quotas, or DAGs are computed after the push, it looks for the sizes too, which means to read a
    small file for each content.
    """

    def __init__(self, bucket: IBucket, storage: Storage, tags: Tags, referrers: Referrers, catalog: Catalog) -> None:
        self._bucket = bucket
        self._referrers = referrers
        self._catalog = catalog
        self._tags = tags
        self._storage = storage
        self._index = storage.index
        self._dags = storage.dags
        self._clock = storage.clock
        self._sizes_wanted = storage.quotas.are_set or storage.dags.late
        self._last: float | None = None
        self.progress = Progress()
        """How far the pass is that is under way."""

    async def run(self) -> None:
        """One pass over everything."""
        throttle, began = self._storage.background(), self._clock.seconds()
        await self._index.begin_pass()
        self.progress.begin("Listing what repositories have")
        async for digest in layout.all_dags(self._bucket):
            await throttle.step()
            if not await self._index.has_dag(digest):
                dag = await self._dags.load(digest)
                if dag is not None:
                    await self._dags.note(digest, dag)
        async for repository in layout.repositories(self._bucket):
            await self._tell(repository, throttle)
            if not self._bucket.shared:
                await self._tags.learn(repository, throttle)
                await self._referrers.learn(repository, throttle)
        self.progress.begin("Ending the pass")
        await self._index.end_pass()
        await self._catalog.prepare(throttle)
        await self._dags.want_missing()
        self._last = began

    async def run_if_needed(self) -> None:
        """One pass, unless the index knows of everything, as far as one can know what others write."""
        due = self._last is None or self._clock.seconds() - self._last >= SHARED_BUCKET_SECONDS
        if not self._index.complete or (self._bucket.shared and due) or await self._lacks_sizes():
            await self.run()
        elif not self._bucket.shared:
            await self._catalog.prepare(self._storage.background())

    async def learn(self) -> None:
        """Learn the repositories that have grown, or that somebody had to wait for; also while a pass is under way.

        It is for a bucket that nobody else writes to.
        """
        throttle = self._storage.throttle()  # somebody waits, or would: no rests
        await self._tags.to_learn.learn(self._tags.learn, throttle)
        await self._referrers.to_learn.learn(self._referrers.learn, throttle)

    async def _lacks_sizes(self) -> bool:
        # Once: a push tells its size. Before there were quotas, a pass did not.
        return self._last is None and self._sizes_wanted and not await self._index.knows_all_sizes()

    async def _tell(self, repository: Repository, throttle: Throttle) -> None:
        some: list[Holder] = []
        for digests in (layout.blob_links, layout.manifest_records):
            async for digest in digests(self._bucket, repository):
                some.append(Holder(digest, repository, digests is layout.manifest_records))
                await throttle.step()
                self.progress.done += 1
                if len(some) >= _AT_ONCE:
                    await self._held(some, throttle)
                    some = []
        await self._held(some, throttle)

    async def _held(self, some: list[Holder], throttle: Throttle) -> None:
        self._index.held(*some)
        if not self._sizes_wanted:
            await self._index.settled()
            return
        unknown = set(await self._index.without_size([each.digest for each in some]))
        wanted = [each for each in some if each.digest in unknown]
        for part in batches(wanted, _READ_AT_ONCE):
            contents = await get_each(self._bucket, [_small_file(each) for each in part])
            for each, content in zip(part, contents, strict=True):
                size = _size(each, content) if isinstance(content, bytes) else None
                if size is not None:  # else it was deleted meanwhile, or nobody can say how long it is
                    self._index.measured(each.digest, size)
            await throttle.step(len(part))


def _small_file(holder: Holder) -> tuple[str, int]:
    """The file that says how long a content is, and how long that file may be."""
    if holder.is_manifest:
        return layout.manifest_record(holder.repository, holder.digest), RECORD_MAX
    return layout.blob_link(holder.repository, holder.digest), LINK_MAX


def _size(holder: Holder, content: bytes) -> int | None:
    if not holder.is_manifest:
        return parse_link(content)
    try:
        return parse_record(layout.manifest_record(holder.repository, holder.digest), content).size
    except Corrupt:
        return None
