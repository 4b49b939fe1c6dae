"""How many more files one bucket of the server takes, as its answers show.

All limits are the server's (docs/protocols/textile.md, "Limits"): the document of a bucket is a message of at most 4
MiB, and a directory is one block of at most 1 MiB. What a name takes in a directory is less than what its path takes in
the document, so a small document has no large directory in it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from ipfsreg.bucket.errors import Full

from .placement import Place
from .proto import bucketsd_pb2
from .server.errors import DirectoryFull, TooManyPaths

T = TypeVar("T")

FULL = 5_000
"""How many paths a bucket takes before writes go to the next level: half a MiB in every answer."""

LAST_FULL = 25_000
"""The same for the highest level, after which there is none: below the some 33,000 that a document can hold."""

FULL_BYTES = 832 * 1024
"""How long the document may get before that, and how large a directory: the rest of 1 MiB is for what is under way."""

LAST_FULL_BYTES = 3 * 1024**2
"""How long the document may get at the highest level."""

EMPTY = 2
"""How many paths a bucket has at first: its top directory, and the server's own file in it."""

COUNTED_BYTES = 64 * 1024
"""By how much a document may change before its directories are counted anew."""

ENTRY = 40
"""Bytes that an entry of the document has more than in an answer, which is a message where the document is JSON."""

SLICE = 1_000
"""How many paths are looked at in one go: to look at all that a bucket has takes many milliseconds."""

LINK = 56
"""Bytes that a name takes in its directory's block beside itself: a CID, a size, and their frames."""


class Capacity:
    """What is known of a bucket's size: ``paths`` is how many it has."""

    def __init__(self, place: Place) -> None:
        self.paths = 0
        self._place = place
        self._document = 0
        self._counted = 0
        self._crowded: set[str] = set()
        self._too_many = False
        self._too_large: int | None = None
        self._pending = 0
        self._pending_bytes = 0

    def learn(self, root: bucketsd_pb2.Root) -> Iterator[None]:
        """Take what an answer says of the bucket: its size at once, that of its directories with what is answered.

        That is to be iterated to its end, each step of which takes a millisecond or two.
        """
        self.paths = len(root.path_metadata)
        self._document = root.ByteSize() + ENTRY * self.paths
        # Only in a document that is larger than a directory may be can there be one that is too large.
        if self._document < FULL_BYTES:
            self._counted = 0
            self._crowded.clear()
        elif abs(self._document - self._counted) >= COUNTED_BYTES:
            self._counted = self._document
            return self._count(root)
        return iter(())

    def _count(self, root: bucketsd_pb2.Root) -> Iterator[None]:
        sizes: Counter[str] = Counter()
        yield from _add_directories(sizes, root.path_metadata)
        self._crowded = {directory for directory, size in sizes.items() if size >= FULL_BYTES - COUNTED_BYTES}

    def takes(self, path: str, size: int) -> bool:
        """Whether a file of ``size`` bytes can be written to a path here; else it belongs to the next level."""
        paths = self.paths + self._pending
        document = self._document + self._pending_bytes
        most_paths, most_bytes = (LAST_FULL, LAST_FULL_BYTES) if self._place.is_last else (FULL, FULL_BYTES)
        if self._too_many or paths >= most_paths or document >= most_bytes:
            return False
        if self._too_large is not None and size >= self._too_large:
            return False
        return not self._crowded or self._crowded.isdisjoint(_parents(path))

    def refused(self, path: str, size: int, error: Full) -> None:
        """The server did not take a file: `takes` knows from now on."""
        if isinstance(error, TooManyPaths):
            self._too_many = True
        elif isinstance(error, DirectoryFull):
            self._crowded.add(path.rpartition("/")[0])
        else:
            self._too_large = size if self._too_large is None else min(size, self._too_large)

    @contextmanager
    def reserved(self, path: str) -> Iterator[None]:
        """A path is on its way in."""
        length = 2 * ENTRY + len(path)
        self._pending += 1
        self._pending_bytes += length
        try:
            yield
        finally:
            self._pending -= 1
            self._pending_bytes -= length


def _parents(path: str) -> Iterator[str]:
    """The directories that a path is in, down from the one that it is in itself."""
    while path:
        path = path.rpartition("/")[0]
        yield path


def in_slices(items: Iterable[T], do: Callable[[T], object], size: int = SLICE) -> Iterator[None]:
    """Do something with each of many items, ``size`` of them for each step of the iteration."""
    for number, item in enumerate(items, 1):
        do(item)
        if number % size == 0:
            yield


def _add_directories(sizes: "Counter[str]", paths: Iterable[str]) -> Iterator[None]:
    """Add up how large the blocks of directories are, from all paths of a bucket."""

    def add(path: str) -> None:
        directory, _, name = path.rpartition("/")
        sizes[directory] += len(name) + LINK

    def add_above(directory: str) -> None:
        # The directory itself, and those above it that hold no files, are names in another one.
        while directory:
            above, _, name = directory.rpartition("/")
            sizes[above] += len(name) + LINK
            if above in seen:
                break
            seen.add(above)
            directory = above

    yield from in_slices(paths, add)
    of_files = list(sizes)
    seen = set(of_files)
    yield from in_slices(of_files, add_above)
