"""The names of the repositories, sorted, kept in memory once they were listed."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence

from twisted.internet.interfaces import IReactorTime

from ipfsreg.bucket.interface import IBucket
from ipfsreg.flow.single_flight import SingleFlight
from ipfsreg.registry import layout
from ipfsreg.registry.names import Repository

from .catalog_index import CatalogIndex

CATALOG_BELIEVED_SECONDS = 5.0
"""For how long the names are believed where other daemons push to the same bucket."""


class Catalog:
    """The repositories that have a manifest. It is told of the first manifest of one, and of its last."""

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

    async def after(self, last: str) -> list[Repository]:
        """The names that sort after ``last``, in lexical order."""
        names = await self._all()
        return names[bisect_right(names, last) :]

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

    async def prepare(self) -> None:
        """Have the names listed in the background where they are not kept, so that nobody has to wait for that."""
        if self._kept is not None and await self._kept.names() is None:
            await self._listing.outcome()

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
            known = None if self._kept is None else await self._kept.names()
            names = known
            prepared: Sequence[str] = ()
            if names is None:
                names = sorted([each async for each in layout.repositories_with_manifests(self._bucket)])
                prepared = () if self._kept is None else await self._kept.prepared(names)
            if self._kept is not None and known is None and doubts == self._doubts:
                self._kept.keep(prepared)
            for repository, present in self._changes:  # the listing may have passed the place before the change
                _apply(names, repository, present=present)
                if self._kept is not None:
                    self._kept.changed(repository, present=present)
        finally:
            self._changes = None
        if doubts == self._doubts:
            self._names, self._listed = names, began

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
