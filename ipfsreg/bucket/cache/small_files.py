"""A wrapper that keeps small files in memory: tags, records and manifests are read far more than written."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import zip_longest
from pathlib import Path
from time import monotonic

from cachetools import Cache, LRUCache, TTLCache
from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from ipfsreg.bucket.bulk import IBulkReads, get_each, names, stat_each
from ipfsreg.bucket.cache.hits import Hits
from ipfsreg.bucket.errors import BucketError
from ipfsreg.bucket.interface import IBucket, Stat
from ipfsreg.bucket.wrapper import BucketWrapper
from ipfsreg.flow.shield import shield

SHARED_SECONDS = 2.0
"""For how long a file of a bucket that others write to is believed."""

_ENTRY_OVERHEAD = 400  # what a cached entry costs beside its content, roughly, so that empty ones count too


@implementer(IBulkReads)
class SmallFileCache(BucketWrapper):
    """A bucket whose `get` answers from memory what it knows; everything else goes to the wrapped bucket.

    All writes to the wrapped bucket must come through here, and each goes on to its end though its Deferred is
    cancelled. ``memory`` bounds the cache, in bytes; ``clock`` answers seconds, counted from any moment.
    """

    def __init__(self, bucket: IBucket, memory: int, clock: Callable[[], float] = monotonic) -> None:
        super().__init__(bucket)
        self._files: Cache[str, bytes]
        if bucket.shared:
            self._files = TTLCache(memory, ttl=SHARED_SECONDS, timer=clock, getsizeof=_cost)
        else:
            self._files = LRUCache(memory, getsizeof=_cost)
        self.hits = Hits()
        """How often a file that was asked for was known."""
        self._loading: dict[str, object] = {}
        self._being_changed: Counter[str] = Counter()

    def stop(self) -> "Deferred[None]":
        self._files.clear()
        return super().stop()

    def get(self, path: str, limit: int) -> "Deferred[bytes]":
        known = self._known(path, limit)
        if known is not None:
            return succeed(known)
        token = self._token(path)

        def loaded(result: bytes | Failure) -> bytes | Failure:
            self._loaded(path, token, result)
            return result

        return self._bucket.get(path, limit).addBoth(loaded)

    def get_each(self, wanted: Sequence[tuple[str, int]]) -> "Deferred[list[bytes | BucketError]]":
        found = [self._known(*each) for each in wanted]
        missing = [each for each, known in zip(wanted, found, strict=True) if known is None]
        return ensureDeferred(self._get_each(found, missing))

    async def _get_each(
        self, found: Sequence[bytes | None], missing: Sequence[tuple[str, int]]
    ) -> list[bytes | BucketError]:
        tokens = [self._token(path) for path, _ in missing]
        results: Sequence[bytes | BucketError] = ()
        try:
            results = await get_each(self._bucket, missing) if missing else ()
        finally:
            for (path, _), token, result in zip_longest(missing, tokens, results):
                self._loaded(path, token, result)
        others = iter(results)
        return [next(others) if known is None else known for known in found]

    def stat_each(self, paths: Sequence[str]) -> "Deferred[list[Stat | BucketError]]":
        return ensureDeferred(stat_each(self._bucket, paths))

    def names(self, directory: str) -> AsyncIterator[Sequence[str]]:
        return names(self._bucket, directory)

    def _known(self, path: str, limit: int) -> bytes | None:
        try:
            known = self._files[path]  # `get` would look twice
        except KeyError:
            known = None
        if known is not None and len(known) <= limit:
            self.hits.hits += 1
            return known
        self.hits.misses += 1
        return None

    def _token(self, path: str) -> object:
        token = object()
        # While it is changed, what is read may be of before or after the change, and not durable yet.
        if path not in self._being_changed:
            self._loading[path] = token
        return token

    def _loaded(self, path: str, token: object, result: object) -> None:
        # A change that began meanwhile took the token away: what was read may be older than it.
        if self._loading.get(path) is token:
            del self._loading[path]
            if isinstance(result, bytes) and _cost(result) <= self._files.maxsize:
                self._files[path] = result

    def put(self, path: str, content: bytes) -> "Deferred[None]":
        """See `IBucket.put`. Written also where the same content is known: the file itself may be damaged."""
        return self._changing(self._bucket.put(path, content), path)

    def put_file(self, path: str, source: Path) -> "Deferred[None]":
        return self._changing(self._bucket.put_file(path, source), path)

    def move(self, source: str, destination: str) -> "Deferred[None]":
        return self._changing(self._bucket.move(source, destination), source, destination)

    def remove(self, path: str) -> "Deferred[None]":
        return self._changing(self._bucket.remove(path), path)

    def _changing(self, change: "Deferred[None]", *paths: str) -> "Deferred[None]":
        for path in paths:
            self._files.pop(path, None)
            self._loading.pop(path, None)
            self._being_changed[path] += 1

        def changed(result: None | Failure) -> None | Failure:
            for path in paths:
                self._being_changed[path] -= 1
                if not self._being_changed[path]:
                    del self._being_changed[path]
            return result

        return shield(change.addBoth(changed))


def _cost(content: bytes) -> int:
    return len(content) + _ENTRY_OVERHEAD
