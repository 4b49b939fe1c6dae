"""Finding silent damage: every content read again and compared with its digest, and every image's parts counted."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from twisted.internet.interfaces import IConsumer, IProducer, IReactorTime
from zope.interface import implementer

from ..bucket.errors import Corrupt, NotFound
from ..bucket.interface import IBucket, IReader
from ..uninterrupted import uninterrupted
from . import layout
from .digest import Digest, Hash, new_hash, parse_digest
from .inventory import Inventory, take_inventory
from .names import Repository
from .pace import Pace
from .store import ContentStore

_PIECE = 1024 * 1024


@dataclass
class Verification:
    """What a verification found."""

    contents: int = 0
    bytes: int = 0
    damaged: list[str] = field(default_factory=list)
    """Digests whose content was put into quarantine."""
    missing: list[str] = field(default_factory=list)
    """Digests that an image needs and that are not there (after this or an earlier quarantine)."""
    images: dict[str, list[str]] = field(default_factory=dict)
    """For each damaged or missing digest the images that use it."""
    unreadable: list[str] = field(default_factory=list)
    """The paths of tags that say nothing sensible. They can be pushed again or deleted."""

    @property
    def well(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.damaged or self.missing or self.unreadable)


class Verifier:
    """Reads what is stored and compares. It changes nothing but to put damaged content into quarantine."""

    def __init__(self, stored: IBucket, store: ContentStore, clock: IReactorTime) -> None:
        self._stored = stored
        self._store = store
        self._clock = clock

    async def verify(self, *, rate: float | None = None) -> Verification:
        """Read everything once. ``rate`` bounds the reading, in bytes a second."""
        report = Verification()
        pace = Pace(self._clock, rate)
        present: set[Digest] = set()
        async for digest in layout.all_blobs(self._stored):
            await pace.step()
            if await self.check(digest, pace, report):
                present.add(digest)
        await self._count_parts(present, pace, report)
        return report

    async def check(self, digest: Digest, pace: Pace, report: Verification) -> bool:
        """Read one content; answers whether it is there and whole, and quarantines it where it is not whole."""

        async def damaged() -> bool:
            return await self._has_other_digest(digest, pace) is True

        found = await self._has_other_digest(digest, pace, report)
        if found is None:
            return False
        report.contents += 1
        if found and await uninterrupted(self._store.quarantine_if(digest, damaged)):
            report.damaged.append(str(digest))
            return False
        return True

    async def images_using(self, digests: Iterable[Digest]) -> dict[str, list[str]]:
        """For each digest the images that use it, as ``repository:tag``, or ``repository@digest`` without one."""
        wanted = set(digests)
        using: dict[str, list[str]] = {str(digest): [] for digest in wanted}
        pace = Pace(self._clock)
        async for repository in layout.repositories(self._stored):
            contents = await take_inventory(self._stored, repository, pace)
            for digest in sorted(contents.listed):
                manifest = contents.manifests.get(digest)
                parts = {digest} | (manifest.references if manifest is not None else set())
                for part in parts & wanted:
                    names = _names(repository, digest, contents)
                    using[str(part)].extend(name for name in names if name not in using[str(part)])
        return using

    async def _count_parts(self, present: set[Digest], pace: Pace, report: Verification) -> None:
        missing: set[Digest] = set()
        async for repository in layout.repositories(self._stored):
            contents = await take_inventory(self._stored, repository, pace)
            links = {digest async for digest in layout.blob_links(self._stored, repository)}
            for digest in contents.listed:
                if digest not in contents.records:  # the record is damaged, so the manifest cannot be pulled
                    missing.add(digest)
                    continue
                manifest = contents.manifests.get(digest)
                blobs = {blob for blob, _ in manifest.blobs} if manifest is not None else set()
                for part in ({digest} | blobs) - missing:
                    # What the listings did not have may have been pushed meanwhile.
                    if (part not in present and not await self._is_there(layout.blob(part))) or (
                        part in blobs - links and not await self._is_there(layout.blob_link(repository, part))
                    ):
                        missing.add(part)
            report.unreadable += [path for path in contents.unreadable if path.startswith(layout.tags_of(repository))]
        damaged = {parse_digest(each) for each in report.damaged}
        if missing or damaged:
            report.images = await self.images_using(missing | damaged)
        # What no image uses any more was deleted while we looked.
        report.missing = [str(digest) for digest in sorted(missing - damaged) if report.images[str(digest)]]

    async def _is_there(self, path: str) -> bool:
        try:
            await self._stored.stat(path)
        except NotFound:
            return False
        return True

    async def _has_other_digest(self, digest: Digest, pace: Pace, report: Verification | None = None) -> bool | None:
        try:
            reader = await self._stored.open(layout.blob(digest))
        except NotFound:
            return None
        try:
            hash_ = new_hash(digest.algorithm)
            length = await self._read(reader, hash_, pace)
        except Corrupt:
            return True  # the disk cannot read it, or it became shorter
        finally:
            reader.close()
        if report is not None:
            report.bytes += length
        return hash_.hexdigest() != digest.hex

    async def _read(self, reader: IReader, hash_: Hash, pace: Pace) -> int:
        consumer = _HashingConsumer(hash_)
        # A reader that still fetches may come to know the size while it is read, or only by the end.
        while (size := reader.size) is None or consumer.length < size:
            length = _PIECE if size is None else min(_PIECE, size - consumer.length)
            before = consumer.length
            try:
                await reader.read(consumer, before, length)
            except Corrupt:
                if size is not None:
                    raise
                break  # that was the end: the digest tells whether it was the right one
            if size is None and consumer.length < before + length:
                break
            await pace.moved(consumer.length - before)
        return consumer.length


@implementer(IConsumer)
class _HashingConsumer:
    """Hashes what is written to it: pieces of a quarter of a MiB take a fraction of a millisecond."""

    def __init__(self, hash_: Hash) -> None:
        self.length = 0
        self._hash = hash_

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """See `IConsumer`."""

    def unregisterProducer(self) -> None:
        """See `IConsumer`."""

    def write(self, data: bytes) -> None:
        """See `IConsumer`."""
        self.length += len(data)
        self._hash.update(data)


def _names(repository: Repository, digest: Digest, contents: Inventory) -> list[str]:
    within = {digest}
    while True:  # the indexes that list it, and the indexes that list those
        more = {each for each, manifest in contents.manifests.items() if within & set(manifest.manifests)} - within
        if not more:
            break
        within |= more
    names = [f"{repository}:{tag}" for tag, pointed_to in contents.tags.items() if pointed_to in within]
    return sorted(names) or [f"{repository}@{digest}"]
