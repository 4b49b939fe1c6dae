"""The base of buckets that look at what another one is asked, and change nothing of it."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

from twisted.internet.defer import Deferred
from zope.interface import alsoProvides

from .bulk import IBulkReads, IFindsByContent, WithContent
from .errors import BucketError
from .interface import Entry, IBucket, IReader, Stat
from .wrapper import BucketWrapper

P = ParamSpec("P")
T = TypeVar("T")

OPERATIONS = ("stat", "get", "open", "put", "put_file", "move", "remove", "list", "get_each", "stat_each")
"""What is looked at: these methods of `IBucket` and `IBulkReads`. Walks are handed on as they are."""


class ObservedBucket(BucketWrapper, ABC):
    """Provides what the bucket provides that it wraps. A subclass says what is done around each call."""

    def __init__(self, bucket: IBucket) -> None:
        super().__init__(bucket)
        alsoProvides(self, *(each for each in (IBulkReads, IFindsByContent) if each.providedBy(bucket)))

    @abstractmethod
    def _around(
        self, operation: str, call: "Callable[P, Deferred[T]]", *args: P.args, **kwargs: P.kwargs
    ) -> "Deferred[T]":
        """Make a call, which is one of `OPERATIONS`."""

    def stat(self, path: str) -> "Deferred[Stat]":
        return self._around("stat", self._bucket.stat, path)

    def get(self, path: str, limit: int) -> "Deferred[bytes]":
        return self._around("get", self._bucket.get, path, limit)

    def open(self, path: str) -> "Deferred[IReader]":
        return self._around("open", self._bucket.open, path)

    def put(self, path: str, content: bytes) -> "Deferred[None]":
        return self._around("put", self._bucket.put, path, content)

    def put_file(self, path: str, source: Path) -> "Deferred[None]":
        return self._around("put_file", self._bucket.put_file, path, source)

    def move(self, source: str, destination: str) -> "Deferred[None]":
        return self._around("move", self._bucket.move, source, destination)

    def remove(self, path: str) -> "Deferred[None]":
        return self._around("remove", self._bucket.remove, path)

    def get_each(self, wanted: Sequence[tuple[str, int]]) -> "Deferred[list[bytes | BucketError]]":
        """See `IBulkReads.get_each`."""
        return self._around("get_each", IBulkReads(self._bucket).get_each, wanted)

    def stat_each(self, paths: Sequence[str]) -> "Deferred[list[Stat | BucketError]]":
        """See `IBulkReads.stat_each`."""
        return self._around("stat_each", IBulkReads(self._bucket).stat_each, paths)

    def names(self, directory: str) -> AsyncIterator[Sequence[str]]:
        """See `IBulkReads.names`."""
        return IBulkReads(self._bucket).names(directory)

    def names_with(self, directory: str, content: bytes) -> "Deferred[WithContent | None]":
        """See `IFindsByContent.names_with`."""
        return IFindsByContent(self._bucket).names_with(directory, content)

    def list(self, directory: str) -> "Deferred[Sequence[Entry]]":
        return self._around("list", self._bucket.list, directory)
