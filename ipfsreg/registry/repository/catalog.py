"""The names of the repositories, sorted, kept in memory once they were listed."""

from bisect import bisect_left, bisect_right, insort

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from ipfsreg.bucket.interface import IBucket
from ipfsreg.registry import layout
from ipfsreg.registry.names import Repository

SHARED_SECONDS = 5.0
"""For how long the names are believed where other daemons push to the same bucket."""


class Catalog:
    """The repositories that have a manifest. Who adds the first or removes the last one tells it here."""

    def __init__(self, bucket: IBucket, clock: IReactorTime) -> None:
        self._bucket = bucket
        self._clock = clock
        self._names: list[Repository] | None = None
        self._listed = 0.0
        self._waiting: list[Deferred[None]] | None = None
        self._changes: list[tuple[Repository, bool]] = []
        self._looking: dict[Repository, object] = {}
        self._doubts = 0

    async def after(self, last: str) -> list[Repository]:
        """The names that sort after ``last``, in lexical order."""
        names = await self._all()
        return names[bisect_right(names, last) :]

    def added(self, repository: Repository) -> None:
        """A manifest was put into a repository."""
        self._looking.pop(repository, None)
        self._changes.append((repository, True))
        self._apply()

    async def removed_from(self, repository: Repository) -> None:
        """A manifest was removed from a repository: it may have been the last one."""
        self._looking[repository] = token = object()
        empty = not await layout.has_manifests(self._bucket, repository)
        # A manifest that was put meanwhile took the token away: what was seen may be older than it.
        if self._looking.get(repository) is token:
            del self._looking[repository]
            if empty:
                self._changes.append((repository, False))
                self._apply()

    def doubted(self) -> None:
        """A change failed that may have had an effect all the same: the names are listed anew when asked for."""
        self._doubts += 1
        if self._waiting is None:
            self._names = None

    async def _all(self) -> list[Repository]:
        if self._bucket.shared and self._clock.seconds() - self._listed > SHARED_SECONDS:
            self._names = None
        while self._names is None:
            if self._waiting is None:
                await self._list()
            else:
                done: Deferred[None] = Deferred()
                self._waiting.append(done)
                await done
        return self._names

    async def _list(self) -> None:
        self._waiting = []
        self._changes = []
        doubts = self._doubts
        names: list[Repository] | None = None
        failure: Failure | None = None
        try:
            began = self._clock.seconds()
            names = sorted([each async for each in layout.repositories_with_manifests(self._bucket)])
            self._listed = began
        except BaseException:
            failure = Failure()
            raise
        finally:
            self._names = names if doubts == self._doubts else None
            waiting, self._waiting = self._waiting, None
            self._apply()
            for each in waiting:
                if failure is None:
                    each.callback(None)
                else:
                    each.errback(failure)

    def _apply(self) -> None:
        if self._names is None:
            if self._waiting is None:
                self._changes = []  # nobody has listed yet: the listing will see it
            return
        for repository, present in self._changes:
            at = bisect_left(self._names, repository)
            known = at < len(self._names) and self._names[at] == repository
            if present and not known:
                insort(self._names, repository)
            elif known and not present:
                del self._names[at]
        self._changes = []
