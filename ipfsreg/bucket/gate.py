"""A wrapper that lets nothing through to a bucket before a check of it has passed.

A remote bucket may be out of reach when the daemon starts, so what has to be checked before its first use may
have to wait until its first use.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

from twisted.internet.defer import Deferred, ensureDeferred
from zope.interface import implementer

from ipfsreg.flow.single_flight import SingleFlight

from .bulk import File, IFindsByContent, IPutsInOrder, WithContent, names_with, put_in_order
from .interface import Entry, IBucket, IReader, Listing, Stat
from .wrapper import BucketWrapper

T = TypeVar("T")


@implementer(IFindsByContent, IPutsInOrder)
class GatedBucket(BucketWrapper):
    """``check`` gets the wrapped bucket before the first operation, and again until it has passed once.

    An operation before that fails with what the check raises.
    """

    def __init__(self, bucket: IBucket, check: Callable[[IBucket], Awaitable[None]]) -> None:
        super().__init__(bucket)
        self._passed = False
        self._checking = SingleFlight(lambda: check(bucket))

    async def passed(self) -> None:
        """Make the check unless it was made; raises what it raises."""
        if not self._passed:
            await self._checking.outcome()
            self._passed = True

    def stat(self, path: str) -> "Deferred[Stat]":
        return self._after_check(lambda: self._bucket.stat(path))

    def get(self, path: str, limit: int) -> "Deferred[bytes]":
        return self._after_check(lambda: self._bucket.get(path, limit))

    def open(self, path: str) -> "Deferred[IReader]":
        return self._after_check(lambda: self._bucket.open(path))

    def put(self, path: str, content: bytes) -> "Deferred[None]":
        return self._after_check(lambda: self._bucket.put(path, content))

    def put_file(self, path: str, source: Path) -> "Deferred[None]":
        return self._after_check(lambda: self._bucket.put_file(path, source))

    def put_in_order(self, files: Sequence[File]) -> "Deferred[None]":
        return self._after_check(lambda: ensureDeferred(put_in_order(self._bucket, files)))

    def move(self, source: str, destination: str) -> "Deferred[None]":
        return self._after_check(lambda: self._bucket.move(source, destination))

    def remove(self, path: str) -> "Deferred[None]":
        return self._after_check(lambda: self._bucket.remove(path))

    def list(self, directory: str) -> "Deferred[Sequence[Entry]]":
        return self._after_check(lambda: self._bucket.list(directory))

    def names_with(self, directory: str, content: bytes) -> "Deferred[WithContent | None]":
        return self._after_check(lambda: ensureDeferred(names_with(self._bucket, directory, content)))

    async def walk(self, directory: str, into: Callable[[str], bool] | None = None) -> AsyncIterator[Sequence[Listing]]:
        await self.passed()
        async for listings in self._bucket.walk(directory, into):
            yield listings

    def _after_check(self, operation: "Callable[[], Deferred[T]]") -> "Deferred[T]":
        if self._passed:
            return operation()

        async def both() -> T:
            await self.passed()
            return await operation()

        return ensureDeferred(both())
