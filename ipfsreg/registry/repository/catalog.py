"""The names of the repositories, in order, known once they were listed."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from itertools import islice

from twisted.internet.interfaces import IReactorTime

from ipfsreg.bucket.interface import IBucket
from ipfsreg.flow.gather import batches_async
from ipfsreg.flow.single_flight import SingleFlight
from ipfsreg.flow.throttle import Throttle
from ipfsreg.registry import layout
from ipfsreg.registry.names import Repository

from .catalog_index import CatalogIndex

CATALOG_BELIEVED_SECONDS = 5.0
"""For how long the names are believed where other daemons push to the same bucket."""

_AT_ONCE = 1000


class Catalog:
    """The repositories that have a manifest. It is told of the first manifest of one, and of its last.

    They are kept in an index where there is one that can be used, else in memory.
    """

    def __init__(self, bucket: IBucket, clock: IReactorTime, kept: CatalogIndex | None = None) -> None:
        self._bucket = bucket
        self._kept = None if bucket.shared else kept
        self._clock = clock
        self._names: list[Repository] | None = None
        self._listed = 0.0
        self._listing = SingleFlight(self._list)
        self._changes: list[tuple[Repository, bool]] | None = None  # while the names are being listed
        self._looking: dict[Repository, object] = {}
        self._doubts = 0
        self._unhurried: Throttle | None = None  # of a listing that nobody waits for

    async def after(
        self, last: str, most: int | None = None, part: str = "", *, backwards: bool = False
    ) -> list[Repository]:
        """The names that sort after ``last``, in lexical order, at most so many; only those with ``part`` in them.

        ``backwards``, those that sort before it from there on, and for "" from the end on.
        """
        if self._kept is not None:
            found = await self._kept.some(last, most, part, backwards=backwards)
            if found is None and self._names is None:
                self._unhurried = None
                await self._listing.outcome()
                found = await self._kept.some(last, most, part, backwards=backwards)
            if found is not None:
                self._names = None
                return found
        names = await self._all()
        numbers: Iterable[int] = range(bisect_right(names, last), len(names))
        if backwards:
            numbers = range(bisect_left(names, last) - 1 if last else len(names) - 1, -1, -1)
        return list(islice((name for name in map(names.__getitem__, numbers) if part in name), most))

    async def count(self, part: str = "", until: str | None = None) -> int:
        """How many names have ``part`` in them, of those that do not sort after ``until``."""
        known = None if self._kept is None else await self._kept.count(part, until)
        if known is None:
            names = await self.after("", part=part)
            return len(names) if until is None else bisect_right(names, until)
        return known

    def added(self, repository: Repository) -> None:
        """A manifest was put into a repository."""
        self._looking.pop(repository, None)
        self._changed(repository, present=True)

    async def removed_from(self, repository: Repository) -> None:
        """A manifest was removed from a repository: it may have been the last one."""
        self._looking[repository] = token = object()
        empty = not await layout.has_manifests(self._bucket, repository)
        # A manifest that was put meanwhile took the token away: the listing may be older than it.
        if self._looking.get(repository) is token:
            del self._looking[repository]
            if empty:
                self._changed(repository, present=False)

    def doubted(self) -> None:
        """A change failed, and may have had an effect: the names are listed again when they are asked for."""
        self._doubts += 1
        self._names = None
        if self._kept is not None:
            self._kept.doubt()

    async def prepare(self, throttle: Throttle) -> None:
        """Have the names listed in the background where they are not kept, so that nobody has to wait for that."""
        if self._kept is not None and not await self._kept.knows():
            self._unhurried = throttle
            try:
                await self._listing.outcome()
            finally:
                self._unhurried = None

    async def _all(self) -> list[Repository]:
        if self._bucket.shared and self._clock.seconds() - self._listed > CATALOG_BELIEVED_SECONDS:
            self._names = None
        while self._names is None:
            await self._listing.outcome()
        return self._names

    async def _list(self) -> None:
        self._changes = []
        doubts, began = self._doubts, self._clock.seconds()
        try:
            if self._kept is not None and await self._list_into(self._kept, doubts):
                return
            names = sorted([each async for each in layout.repositories_with_manifests(self._bucket)])
            for repository, present in self._changes:  # the listing may have passed the place before the change
                _apply(names, repository, present=present)
        finally:
            self._changes = None
        if doubts == self._doubts:
            self._names, self._listed = names, began

    async def _list_into(self, kept: CatalogIndex, doubts: int) -> bool:
        """Whether the index has all names now."""
        assert self._changes is not None
        kept.begin()
        async for some in batches_async(layout.repositories_with_manifests(self._bucket), _AT_ONCE):
            if not await kept.add(some):
                return False
            if self._unhurried is not None:
                await self._unhurried.step(len(some))
        for repository, present in self._changes:
            kept.changed(repository, present=present)
        if doubts != self._doubts:
            return False
        kept.end()
        return await kept.knows()  # it believes nothing where it has lost something since its last pass

    def _changed(self, repository: Repository, *, present: bool) -> None:
        if self._kept is not None:
            self._kept.changed(repository, present=present)
        if self._changes is not None:
            self._changes.append((repository, present))
        if self._names is not None:
            _apply(self._names, repository, present=present)


def _apply(names: list[Repository], repository: Repository, *, present: bool) -> None:
    at = bisect_left(names, repository)
    known = at < len(names) and names[at] == repository
    if present and not known:
        insort(names, repository)
    elif known and not present:
        del names[at]
