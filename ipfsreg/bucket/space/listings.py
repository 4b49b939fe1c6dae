"""Directories as the daemon lists them, which takes it some time for each file in there."""

from collections.abc import Sequence
from dataclasses import dataclass

from cachetools import LRUCache
from twisted.internet.interfaces import IReactorTime

from ipfsreg.bucket.errors import NotFound
from ipfsreg.flow.single_flight import SingleFlight

from .client import SpaceClient
from .proto import space_pb2

CACHED_SECONDS = 60.0
"""The longest time for which a listing is cached."""

DEADLINE_MAX = 3600.0
"""The longest time that the daemon gets for one: it may take seconds for each file."""

QUICK_SECONDS = 0.2
"""A listing that took no longer is not cached."""

PATIENT_SECONDS = 2.0
"""A directory whose listing took longer is slow. It is not listed just to save the daemon from opening a small file."""

SLOW_SECONDS = 60.0
SLOW_TIMES = 10
"""A directory counts as slow for so many seconds at least, and for so many times as long as its listing took."""

LISTINGS_MAX = 16
"""How many listings are cached: the large ones, which take long, are few."""

TIMES_MAX = 10_000
"""Of how many directories it is remembered how long their listing took."""

KEEP = ".keep"
"""What the daemon puts into folders that somebody made with another program."""


@dataclass(frozen=True, slots=True)
class _Known:
    entries: Sequence[space_pb2.Entry]
    until: float


class Listings:
    """The listings of one bucket of the daemon.

    Those who want a directory at the same time share one listing. One that took long is cached for as long again, at
    most `CACHED_SECONDS`. What this process changes is seen at once.
    """

    def __init__(self, client: SpaceClient, bucket: str, clock: IReactorTime) -> None:
        self._client = client
        self._bucket = bucket
        self._clock = clock
        self._known: LRUCache[str, _Known] = LRUCache(LISTINGS_MAX)
        self._running: dict[str, SingleFlight[Sequence[space_pb2.Entry]]] = {}
        self._seconds: LRUCache[str, float] = LRUCache(TIMES_MAX)
        self._slow_until: LRUCache[str, float] = LRUCache(TIMES_MAX)

    async def of(self, directory: str) -> Sequence[space_pb2.Entry]:
        """The entries of a directory, not sorted, hidden ones too; none where there is no such directory.

        :raises BucketError: where the daemon does not say.
        """
        known = self._cached(directory)
        if known is not None:
            return known.entries
        if directory not in self._running:
            self._running[directory] = SingleFlight(lambda: self._ask(directory))
        return await self._running[directory].outcome()

    async def entry(self, path: str) -> space_pb2.Entry:
        """What the directory of a path says of it.

        :raises NotFound: where there is nothing.
        """
        directory, _, name = path.rpartition("/")
        for entry in await self.of(directory):
            if entry.name == name:
                return entry
        raise NotFound(path)

    def is_slow(self, directory: str) -> bool:
        """Whether a directory takes long to list, as far as is known, and no listing of it is cached now."""
        slow = self._clock.seconds() < self._slow_until.get(directory, 0.0)
        return slow and self._cached(directory) is None

    def _cached(self, directory: str) -> _Known | None:
        known = self._known.get(directory)
        return known if known is not None and self._clock.seconds() < known.until else None

    def changed(self, directory: str) -> None:
        """Something was, or may have been, added to a directory or removed from it: look anew."""
        # The directories above too, since it may have come or gone with that.
        while True:
            self._known.pop(directory, None)
            self._running.pop(directory, None)
            if not directory:
                return
            directory = directory.rpartition("/")[0]

    def forget(self) -> None:
        """Look anew everywhere."""
        self._known.clear()
        self._running.clear()

    async def _ask(self, directory: str) -> Sequence[space_pb2.Entry]:
        work = self._running.get(directory)
        began = self._clock.seconds()
        try:
            try:
                entries = await self._list(directory)
            finally:  # also where that was too long: then the next one gets more time
                seconds = self._took(directory, self._clock.seconds() - began)
            # Unless something was changed meanwhile: then it may be of before.
            if seconds > QUICK_SECONDS and work is not None and self._running.get(directory) is work:
                self._known[directory] = _Known(entries, self._clock.seconds() + min(seconds, CACHED_SECONDS))
            return entries
        finally:
            if self._running.get(directory) is work:
                self._running.pop(directory, None)

    def _took(self, directory: str, seconds: float) -> float:
        self._seconds[directory] = seconds
        if seconds > PATIENT_SECONDS:
            self._slow_until[directory] = self._clock.seconds() + max(SLOW_SECONDS, SLOW_TIMES * seconds)
        else:
            self._slow_until.pop(directory, None)
        return seconds

    async def _list(self, directory: str) -> Sequence[space_pb2.Entry]:
        # Without omitMembers the daemon would ask its hub about each entry.
        request = space_pb2.ListDirectoryRequest(path=directory, bucket=self._bucket, omitMembers=True)
        deadline = min(self._client.timeout + 4 * self._seconds.get(directory, 0.0), DEADLINE_MAX)
        try:
            found = await self._client.call(
                "ListDirectory", request, space_pb2.ListDirectoryResponse, deadline=deadline
            )
        except NotFound:
            return ()
        return found.entries
