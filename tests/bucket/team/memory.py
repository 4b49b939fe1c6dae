"""A storage in memory, shared by the daemons of a team, whose owner may do what he likes with it."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from ipfsreg.bucket.errors import NotFound, TooLarge
from ipfsreg.bucket.interface import Entry, IBucket, IReader, Listing, Stat, walk_by_listing


class Killed(Exception):
    """The daemon was killed before it made a change."""


@implementer(IBucket)
class MemoryBucket:
    """``files`` are what is stored. ``before_put`` is called before each change, and may fail or change things."""

    shared = False
    name = "the storage"

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.before_put: Callable[[str], None] = lambda path: None

    def start(self) -> "Deferred[None]":
        return succeed(None)

    stop = start

    def stat(self, path: str) -> "Deferred[Stat]":
        return succeed(Stat(len(self.files[path]))) if path in self.files else fail(NotFound(path))

    def get(self, path: str, limit: int) -> "Deferred[bytes]":
        if path not in self.files:
            return fail(NotFound(path))
        content = self.files[path]
        return succeed(content) if len(content) <= limit else fail(TooLarge(path))

    def open(self, path: str) -> "Deferred[IReader]":
        raise NotImplementedError

    def put(self, path: str, content: bytes) -> "Deferred[None]":
        try:
            self.before_put(path)
        except Exception as error:
            return fail(error)
        self.files[path] = content
        return succeed(None)

    def put_file(self, path: str, source: Path) -> "Deferred[None]":
        raise NotImplementedError

    def move(self, source: str, destination: str) -> "Deferred[None]":
        raise NotImplementedError

    def remove(self, path: str) -> "Deferred[None]":
        del self.files[path]
        return succeed(None)

    def list(self, directory: str) -> "Deferred[Sequence[Entry]]":
        names = {
            path.removeprefix(f"{directory}/").partition("/")[::2]
            for path in self.files
            if path.startswith(f"{directory}/")
        }
        return succeed(sorted({Entry(name, bool(rest)) for name, rest in names}))

    def walk(self, directory: str, into: Callable[[str], bool] | None = None) -> AsyncIterator[Sequence[Listing]]:
        return walk_by_listing(self.list, directory, into)

    @contextmanager
    def killed_before_change(self, number: int) -> Iterator[None]:
        """Let the change of a number fail, and all after it, as if the daemon were gone."""
        left = number

        def count(path: str) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed

        self.before_put = count
        try:
            yield
        finally:
            self.before_put = lambda path: None
