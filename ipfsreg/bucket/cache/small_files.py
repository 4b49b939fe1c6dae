"""A wrapper that keeps small files in memory: tags, records and manifests are read far more than written."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic

from cachetools import Cache, LRUCache, TTLCache
from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from ipfsreg.bucket.bulk import File, IPutsInOrder, put_in_order
from ipfsreg.bucket.interface import IBucket
from ipfsreg.bucket.wrapper import BucketWrapper
from ipfsreg.flow.hits import Hits
from ipfsreg.flow.shield import shield

SHARED_SECONDS = 2.0
"""For how long a file of a bucket that others write to is believed."""

_ENTRY_OVERHEAD = 400  # what a cached entry costs beside its content, roughly, so that empty ones count too


@implementer(IPutsInOrder)
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
        """See `IBucket.stop`."""
        self._files.clear()
        return super().stop()

    def get(self, path: str, limit: int) -> "Deferred[bytes]":
        """See `IBucket.get`."""
        try:
            known = self._files[path]  # `get` would look twice
        except KeyError:
            known = None
        if known is not None and len(known) <= limit:
            self.hits.hits += 1
            return succeed(known)
        self.hits.misses += 1
        if path in self._being_changed:
            # What is read now may be of before or after the change, and not durable yet.
            return self._bucket.get(path, limit)
        token = object()
        self._loading[path] = token

        def loaded(result: bytes | Failure) -> bytes | Failure:
            # A change that began meanwhile took the token away: what was read may be older than it.
            if self._loading.get(path) is token:
                del self._loading[path]
                if isinstance(result, bytes) and _cost(result) <= self._files.maxsize:
                    self._files[path] = result
            return result

        return self._bucket.get(path, limit).addBoth(loaded)

    def put(self, path: str, content: bytes) -> "Deferred[None]":
        """See `IBucket.put`. Written also where the same content is known: the file itself may be damaged."""
        return self._changing(self._bucket.put(path, content), path)

    def put_file(self, path: str, source: Path) -> "Deferred[None]":
        """See `IBucket.put_file`."""
        return self._changing(self._bucket.put_file(path, source), path)

    def put_in_order(self, files: Sequence[File]) -> "Deferred[None]":
        """See `IPutsInOrder.put_in_order`."""
        return self._changing(ensureDeferred(put_in_order(self._bucket, files)), *(path for path, _ in files))

    def move(self, source: str, destination: str) -> "Deferred[None]":
        """See `IBucket.move`."""
        return self._changing(self._bucket.move(source, destination), source, destination)

    def remove(self, path: str) -> "Deferred[None]":
        """See `IBucket.remove`."""
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
