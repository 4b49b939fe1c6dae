"""Finding silent damage: every content read again and compared with its digest, and every image's parts counted."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from twisted.internet.interfaces import IReactorTime

from ..bucket.errors import NotFound
from ..bucket.interface import IBucket
from ..uninterrupted import uninterrupted
from ..workers import Workers
from . import layout
from .content_check import check_content
from .digest import Digest, parse_digest
from .inventory import Inventory, take_inventory
from .names import Repository
from .pace import Pace
from .store import ContentStore


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

    def __init__(self, stored: IBucket, store: ContentStore, workers: Workers, clock: IReactorTime) -> None:
        self._stored = stored
        self._workers = workers
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
            again = await check_content(self._stored, self._workers, digest, pace)
            return again is not None and not again.whole

        checked = await check_content(self._stored, self._workers, digest, pace)
        if checked is None:
            return False
        report.contents += 1
        report.bytes += checked.length
        if not checked.whole and await uninterrupted(self._store.quarantine_if(digest, damaged)):
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


def _names(repository: Repository, digest: Digest, contents: Inventory) -> list[str]:
    within = {digest}
    while True:  # the indexes that list it, and the indexes that list those
        more = {each for each, manifest in contents.manifests.items() if within & set(manifest.manifests)} - within
        if not more:
            break
        within |= more
    names = [f"{repository}:{tag}" for tag, pointed_to in contents.tags.items() if pointed_to in within]
    return sorted(names) or [f"{repository}@{digest}"]
