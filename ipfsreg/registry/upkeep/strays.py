"""What is in the bucket and not as the layout says: nothing of ours writes it, and no reader takes it for anything."""

from collections.abc import Awaitable, Callable, Sequence

from ipfsreg.bucket.bulk import listings
from ipfsreg.bucket.interface import Entry, IBucket
from ipfsreg.flow.throttle import Throttle
from ipfsreg.registry import layout

ListTop = Callable[[], Awaitable[Sequence[Entry]]]
"""Lists the top of a bucket to which nobody else writes."""

_ORIGINAL = ("blobs/sha256:", "blobs/sha512:")  # the original program's content, in buckets that it may have written to


async def find_strays(bucket: IBucket, list_top: ListTop | None, throttle: Throttle) -> dict[str, str]:
    """The path of each thing that does not belong there, with what it is. What is below one is not told apart.

    What was quarantined is passed over. Without ``list_top`` the top of the bucket is.
    """
    found: dict[str, str] = {}
    for entry in () if list_top is None else await list_top():
        expected = layout.TOPS if entry.is_directory else (layout.VERSION_FILE,)
        if entry.strange or entry.name not in expected:
            found[entry.name] = _kind(entry)
    for top in layout.TOPS:
        if top in found or top == "quarantine":
            continue
        async for listing in listings(bucket, top, lambda path: layout.belongs(path, is_directory=True)):
            await throttle.step()
            for number, entry in enumerate(listing.entries):
                if number % 10 == 0:
                    await throttle.step()
                path = f"{listing.directory}/{entry.name}"
                if bucket.shared and path.startswith(_ORIGINAL):
                    continue
                if entry.strange or not layout.belongs(path, is_directory=entry.is_directory):
                    found[path] = _kind(entry)
    return found


def _kind(entry: Entry) -> str:
    if entry.strange:
        return "neither a file nor a directory"
    return "a directory" if entry.is_directory else "a file"
