"""Finding silent damage: every content is compared with its digest, and what refers to it is looked through."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from ipfsreg.bucket.bulk import IBulkReads, get_each
from ipfsreg.bucket.errors import Corrupt, Forbidden
from ipfsreg.bucket.interface import IBucket
from ipfsreg.flow.gather import batches
from ipfsreg.flow.progress import Progress
from ipfsreg.flow.shield import shield
from ipfsreg.flow.throttle import Throttle
from ipfsreg.flow.workers import Workers
from ipfsreg.registry import layout
from ipfsreg.registry.content.open_content import Checked, check_content
from ipfsreg.registry.content.store import ContentStore
from ipfsreg.registry.digest import Digest, digest_of, parse_digest

from .compact import Digests, Lengths
from .inventory import AT_ONCE, LOOKING
from .naming import images_using
from .repository_check import Findings, RepositoryCheck
from .strays import ListTop, find_strays

_SHORT = 64 * 1024  # content that is not longer is read with others in one call of a thread


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
    """The paths of tags and records that say nothing sensible, which can be pushed again or deleted; and of what this
    process may not read, with the reason."""
    mended: list[str] = field(default_factory=list)
    """The paths of small files that were damaged, and have been written anew from what is whole."""
    strays: dict[str, str] = field(default_factory=dict)
    """What is not as the layout says, and not named before: paths, with what is there."""
    stopped_by: str | None = None
    """What hides so much that the rest could not be looked at."""


class Verifier:
    """Reads what is stored and compares. Damaged content is put into quarantine; small files are mended where
    what is whole says what has to be in them.
    """

    def __init__(
        self,
        stored: IBucket,
        store: ContentStore,
        repositories: RepositoryCheck,
        workers: Workers,
        throttle: Callable[[float | None], Throttle],
        list_top: ListTop | None = None,
    ) -> None:
        self._stored = stored
        self._workers = workers
        self._store = store
        self._repositories = repositories
        self._throttle = throttle
        self._list_top = list_top

    async def verify(self, *, rate: float | None = None, progress: Progress | None = None) -> Verification:
        """Read everything once. ``rate`` bounds the reading, in bytes a second. ``progress`` counts contents."""
        report = Verification()
        progress = progress or Progress()
        progress.begin("Looking for what does not belong")
        throttle = self._throttle(rate)
        strays = await find_strays(self._stored, self._list_top, throttle)
        try:
            await self._check_all(throttle, report, progress)
        except Corrupt as error:
            if not strays:
                raise
            report.stopped_by = str(error)
        quarantined = {layout.blob(parse_digest(each)) for each in report.damaged}
        named = {*report.unreadable, *report.mended, *quarantined}
        report.strays = {path: what for path, what in strays.items() if path not in named}
        return report

    async def _check_all(self, throttle: Throttle, report: Verification, progress: Progress) -> None:
        progress.begin("Counting")
        digests = await Digests.of(layout.all_blobs(self._stored), self._workers, throttle)
        lengths = Lengths(digests)
        progress.begin("Reading contents", total=len(digests))
        for some in batches(digests, AT_ONCE):
            async for digest, length in self.check(some, throttle, report):
                if length is not None:
                    lengths.set(digest, length)
                progress.done, progress.moved = progress.done + 1, report.bytes
        progress.begin(LOOKING)
        await self._check_repositories(lengths, throttle, report, progress)

    async def check(
        self, digests: Sequence[Digest], throttle: Throttle, report: Verification
    ) -> AsyncIterator[tuple[Digest, int | None]]:
        """Read some contents; yields each with its length, or None where it is not there whole: see `check_one`."""
        whole = await self._short_and_whole(digests, throttle)
        for digest in digests:
            length = whole.get(digest)
            if length is None:
                yield digest, await self.check_one(digest, throttle, report)
            else:
                report.contents += 1
                report.bytes += length
                yield digest, length
        await throttle.step(len(digests))

    async def _short_and_whole(self, digests: Sequence[Digest], throttle: Throttle) -> dict[Digest, int]:
        """Those that were read at once and are whole, with their lengths. For the others that says nothing."""
        if not IBulkReads.providedBy(self._stored):
            return {}  # there may be a cache in between, which is not what is to be looked at
        contents = await get_each(self._stored, [(layout.blob(digest), _SHORT) for digest in digests])
        found = [(digest, each) for digest, each in zip(digests, contents, strict=True) if isinstance(each, bytes)]
        whole = await self._workers.run(_whole, found)
        await throttle.read(list(whole.values()))
        return whole

    async def check_one(self, digest: Digest, throttle: Throttle, report: Verification) -> int | None:
        """Read one content; answers its length, or None where it is not there whole: then it is quarantined."""
        try:
            checked = await self._checked(digest, throttle)
        except Forbidden as error:
            report.unreadable.append(str(error))
            return None
        if checked is None:
            return None
        report.contents += 1
        report.bytes += checked.length
        if checked.whole:
            return checked.length
        again: Checked | None = None

        async def damaged() -> bool:
            nonlocal again
            again = await self._checked(digest, throttle)
            return again is not None and not again.whole

        if await shield(self._store.quarantine_if(digest, damaged)):
            report.damaged.append(str(digest))
            return None
        return None if again is None else again.length  # it was pushed again meanwhile

    async def _checked(self, digest: Digest, throttle: Throttle) -> Checked | None:
        try:
            return await check_content(self._stored, self._workers, digest, throttle)
        except Corrupt:
            # A cache before a bucket on the network has all of short content before it is open. The way there may be
            # to blame, once.
            return Checked(False, 0)

    async def images_using(self, digests: Iterable[Digest]) -> dict[str, list[str]]:
        """For each digest the images that use it, as ``repository:tag``, or ``repository@digest`` without one."""
        return await images_using(self._stored, self._workers, digests, self._throttle(None))

    async def _check_repositories(
        self, lengths: Lengths, throttle: Throttle, report: Verification, progress: Progress
    ) -> None:
        findings = Findings()
        async for repository in layout.repositories(self._stored):
            await self._repositories.check(repository, lengths, throttle, findings)
            progress.done += 1
        report.unreadable += findings.unreadable
        report.mended = findings.mended
        damaged = {parse_digest(each) for each in report.damaged}
        missing = findings.missing - damaged
        if missing or damaged:
            report.images = await self.images_using(missing | damaged)
        # What no image uses any more was deleted while we looked.
        report.missing = [str(digest) for digest in sorted(missing) if report.images[str(digest)]]


def _whole(contents: Sequence[tuple[Digest, bytes]]) -> dict[Digest, int]:
    return {digest: len(each) for digest, each in contents if digest_of(each, digest.algorithm) == digest}
