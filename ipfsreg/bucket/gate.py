"""A wrapper that lets nothing through to a bucket before a check of it has passed.

A remote bucket may be out of reach when the daemon starts, so what has to be checked before its first use may
have to wait until its first use.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import ParamSpec, TypeVar

from twisted.internet.defer import Deferred, ensureDeferred

from ipfsreg.flow.single_flight import SingleFlight

from .around import AroundBucket
from .bulk import WithContent
from .interface import IBucket, Listing

P = ParamSpec("P")
T = TypeVar("T")


class GatedBucket(AroundBucket):
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

    def names_with(self, directory: str, content: bytes) -> "Deferred[WithContent | None]":
        return self._around("names_with", super().names_with, directory, content)

    async def names(self, directory: str) -> AsyncIterator[Sequence[str]]:
        await self.passed()
        async for some in super().names(directory):
            yield some

    async def walk(self, directory: str, into: Callable[[str], bool] | None = None) -> AsyncIterator[Sequence[Listing]]:
        await self.passed()
        async for listings in self._bucket.walk(directory, into):
            yield listings

    def _around(
        self, operation: str, call: "Callable[P, Deferred[T]]", *args: P.args, **kwargs: P.kwargs
    ) -> "Deferred[T]":
        if self._passed:
            return call(*args, **kwargs)

        async def both() -> T:
            await self.passed()
            return await call(*args, **kwargs)

        return ensureDeferred(both())
