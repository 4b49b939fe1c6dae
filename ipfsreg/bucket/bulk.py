"""Looking at many files of a bucket: many at a time where the bucket can, else one after the other."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from twisted.internet.defer import Deferred
from zope.interface import Interface

from ipfsreg.flow.gather import batches, gather

from .errors import BucketError, Corrupt, Forbidden, NotFound, TooLarge
from .interface import IBucket, Listing, Stat

A = TypeVar("A")
T = TypeVar("T")

OF_ONE_FILE = (NotFound, TooLarge, Corrupt, Forbidden)
"""What says something of one file alone. Any other failure is of the storage."""

_AT_ONCE = 8
_NAMES_AT_ONCE = 1000


class IBulkReads(Interface):
    """What a bucket may provide beside `IBucket`, where a call for each small file costs more than the file."""

    def get_each(wanted: Sequence[tuple[str, int]]) -> "Deferred[list[bytes | BucketError]]":
        """The content of each path with its limit, as `IBucket.get`, or that failure of it which is `OF_ONE_FILE`."""

    def stat_each(paths: Sequence[str]) -> "Deferred[list[Stat | BucketError]]":
        """What is known of each file, as `IBucket.stat`, or that failure of it which is `OF_ONE_FILE`."""

    def names(directory: str) -> AsyncIterator[Sequence[str]]:
        """The names in a directory in any order, some at a time. What is there for the whole time is told of once."""


@dataclass(frozen=True, slots=True)
class WithContent:
    """The names of files in a directory that have a certain content, and of those of which only reading tells."""

    certain: Sequence[str]
    possible: Sequence[str]


class IFindsByContent(Interface):
    """What a bucket may provide whose listings tell of the content of small files."""

    def names_with(directory: str, content: bytes) -> "Deferred[WithContent | None]":
        """Which files of a directory have that content; None where it cannot be told of this directory."""


async def names_with(bucket: IBucket, directory: str, content: bytes) -> WithContent | None:
    """See `IFindsByContent`; for any bucket."""
    return await IFindsByContent(bucket).names_with(directory, content) if IFindsByContent.providedBy(bucket) else None


async def get_each(bucket: IBucket, wanted: Sequence[tuple[str, int]]) -> list[bytes | BucketError]:
    """See `IBulkReads`; for any bucket. Fails with other failures than those of one file."""
    if IBulkReads.providedBy(bucket):
        return await IBulkReads(bucket).get_each(wanted)
    return await _each(lambda each: bucket.get(*each), wanted)


async def stat_each(bucket: IBucket, paths: Sequence[str]) -> list[Stat | BucketError]:
    """See `IBulkReads`; for any bucket. Fails with other failures than those of one file."""
    if IBulkReads.providedBy(bucket):
        return await IBulkReads(bucket).stat_each(paths)
    return await _each(bucket.stat, paths)


async def _each(look: Callable[[A], Awaitable[T]], wanted: Sequence[A]) -> list[T | BucketError]:
    async def one(each: A) -> T | BucketError:
        try:
            return await look(each)
        except OF_ONE_FILE as error:
            return error

    return await gather(one, wanted, _AT_ONCE)


async def names(bucket: IBucket, directory: str) -> AsyncIterator[Sequence[str]]:
    """See `IBulkReads`; for any bucket."""
    if IBulkReads.providedBy(bucket):
        async for some in IBulkReads(bucket).names(directory):
            yield some
        return
    for entries in batches(await bucket.list(directory), _NAMES_AT_ONCE):
        yield [entry.name for entry in entries]


async def listings(
    bucket: IBucket, directory: str, into: Callable[[str], bool] | None = None
) -> AsyncIterator[Listing]:
    """`IBucket.walk`, one listing after the other."""
    async for some in bucket.walk(directory, into):
        for listing in some:
            yield listing
