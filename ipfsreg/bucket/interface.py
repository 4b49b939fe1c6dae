"""The interface of a bucket: what the registry asks of any storage.

A *path* is a string of one or more non-empty segments joined by ``/``, none of them ``.`` or ``..``.
Directories exist through the files in them. The contract is written down as tests in
``tests/bucket/contract.py``; each backend is run through them.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface


@dataclass(frozen=True, slots=True)
class Stat:
    """What is known of a file without reading it.

    ``size`` is the content's length in bytes, or None where the storage does not know it (Textile knows DAG
    sizes only); ``cid`` is the CID where the storage is an IPFS one.
    """

    size: int | None
    cid: str | None = None


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One name in a directory. What is ``strange`` is damage: a symbolic link or a device; to read it is `Corrupt`.

    It may have a directory's name: a caller that skips it must not conclude that what belongs below it is missing.
    """

    name: str
    is_directory: bool
    strange: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """A directory with its entries sorted by name: one step of a walk."""

    directory: str
    entries: Sequence[Entry]


class IReader(Interface):
    """An open file: what was opened stays readable though the path is replaced or removed meanwhile."""

    size: int | None = Attribute("The content's length in bytes, or None where it is not known yet.")
    file: IO[bytes] | None = Attribute(
        "The open file where the content is a whole file on this disk (it may then go out by sendfile), or None."
    )

    def pieces(offset: int, length: int) -> AsyncGenerator[bytes, None]:
        """``length`` bytes from ``offset`` in pieces of some hundred KiB at most, each read when it is asked for.

        A caller that stops before the end closes the iterator (`contextlib.aclosing`). It fails with a `BucketError`;
        content that ends before is `Corrupt`, or just ends where the reader does not know the size.
        """

    def close() -> None:
        """Let go of what was opened. A second call does nothing."""


class IBucket(Interface):
    """A place for files. Each method fails with a `BucketError`; none is answered from a guess."""

    name: str = Attribute("What to call this bucket in a log: the backend and where it is.")
    shared: bool = Attribute(
        "Whether other daemons write to the same bucket: what was read may then be stale within seconds."
    )

    def start() -> "Deferred[None]":
        """Open the bucket. `SetupError` where the user has to change something.

        A storage that is merely out of reach is no failure: the methods answer `Unavailable` until it is back.
        """

    def stop() -> "Deferred[None]":
        """Close it; what was acknowledged is already safe."""

    def stat(path: str) -> "Deferred[Stat]":
        """What is known of a file. `NotFound` for a missing one.

        A directory in its place, or a file where a directory should lead to it, is `NotFound` too; on a disk, to which
        nobody else writes, it is damage: `Corrupt`. So it is for all that follows.
        """

    def get(path: str, limit: int) -> "Deferred[bytes]":
        """The content of a small file, at most ``limit`` bytes: else `TooLarge`. `NotFound`."""

    def open(path: str) -> "Deferred[IReader]":
        """Open a file of any size for reading. `NotFound`."""

    def put(path: str, content: bytes) -> "Deferred[None]":
        """Create or replace a small file, whole or not at all; fires when it is durable."""

    def put_file(path: str, source: Path) -> "Deferred[None]":
        """Create or replace a file from one on this disk, whole or not at all; fires when it is durable.

        The source must have been fsynced. On success it is gone; on failure it is left as it was.
        """

    def move(source: str, destination: str) -> "Deferred[None]":
        """Give a file another path, replacing what is there. `NotFound` where the source is missing."""

    def remove(path: str) -> "Deferred[None]":
        """Remove a file; fires when that is durable. `NotFound`."""

    def list(directory: str) -> "Deferred[Sequence[Entry]]":
        """The entries of a directory sorted by name; none where there is no such directory.

        `InTheWay` where the storage can tell that something else is in its place.
        """

    def walk(directory: str, into: Callable[[str], bool] | None = None) -> AsyncIterator[Sequence[Listing]]:
        """A directory and all below it, each before those in it and sorted by name; some at a time.

        Of one that has no directories in it there may be several listings, one after the other in the order of names.

        ``into`` says by its path whether to go into a directory; it may be asked in a thread. What is there for
        the whole time is certainly told of; what comes or goes meanwhile may be.
        """


_NO_NAMES = {"", ".", ".."}


def check_path(path: str) -> str:
    """Answer a path, and refuse what is none.

    :raises ValueError: for an empty path or segment, ``.``, ``..``, or a NUL.
    """
    if "\0" in path or not _NO_NAMES.isdisjoint(path.split("/")):
        raise ValueError(f"not a path in a bucket: {path!r}")
    return path


async def walk_by_listing(
    list_entries: Callable[[str], Awaitable[Sequence[Entry]]],
    directory: str,
    into: Callable[[str], bool] | None = None,
) -> AsyncIterator[Sequence[Listing]]:
    """`IBucket.walk` by an `IBucket.list`, which lists one directory at a time."""
    pending = [directory]
    while pending:
        path = pending.pop()
        entries = await list_entries(path)
        if not entries:
            continue
        yield [Listing(path, entries)]
        below = [f"{path}/{entry.name}" for entry in entries if entry.is_directory]
        pending.extend(each for each in reversed(below) if into is None or into(each))
