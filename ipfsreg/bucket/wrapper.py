"""The base of buckets that stand before another one."""

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from twisted.internet.defer import Deferred
from zope.interface import implementer

from .interface import Entry, IBucket, IReader, Listing, Stat


@implementer(IBucket)
class BucketWrapper:
    """Hands everything on to the bucket it wraps; a subclass changes what it is about."""

    def __init__(self, bucket: IBucket) -> None:
        self.name: str = bucket.name
        self.shared: bool = bucket.shared
        self._bucket = bucket

    def start(self) -> "Deferred[None]":
        return self._bucket.start()

    def stop(self) -> "Deferred[None]":
        return self._bucket.stop()

    def stat(self, path: str) -> "Deferred[Stat]":
        return self._bucket.stat(path)

    def get(self, path: str, limit: int) -> "Deferred[bytes]":
        return self._bucket.get(path, limit)

    def open(self, path: str) -> "Deferred[IReader]":
        return self._bucket.open(path)

    def put(self, path: str, content: bytes) -> "Deferred[None]":
        return self._bucket.put(path, content)

    def put_file(self, path: str, source: Path) -> "Deferred[None]":
        return self._bucket.put_file(path, source)

    def move(self, source: str, destination: str) -> "Deferred[None]":
        return self._bucket.move(source, destination)

    def remove(self, path: str) -> "Deferred[None]":
        return self._bucket.remove(path)

    def list(self, directory: str) -> "Deferred[Sequence[Entry]]":
        return self._bucket.list(directory)

    def walk(self, directory: str, into: Callable[[str], bool] | None = None) -> AsyncIterator[Sequence[Listing]]:
        return self._bucket.walk(directory, into)
