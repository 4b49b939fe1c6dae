"""A walk for storages that can only list one directory at a time."""

from collections.abc import AsyncIterator, Callable, Sequence

from .interface import IBucket, Listing


async def walk_by_listing(
    bucket: IBucket, directory: str, into: Callable[[str], bool] | None = None
) -> AsyncIterator[Sequence[Listing]]:
    """See `IBucket.walk`."""
    pending = [directory]
    while pending:
        path = pending.pop()
        entries = await bucket.list(path)
        if not entries:
            continue
        yield [Listing(path, entries)]
        below = [f"{path}/{entry.name}" for entry in entries if entry.is_directory]
        pending.extend(each for each in reversed(below) if into is None or into(each))
