"""A bucket that is a directory on this disk."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from ...workers import Workers
from ..errors import NotFound, SetupError, Unavailable
from ..file_reader import FileReader
from ..interface import Entry, IBucket, IReader, Listing, Stat, check_path
from ..system_errors import MISSING, bucket_error
from . import files

P = ParamSpec("P")
T = TypeVar("T")

_MARK = ".bucket"
_WALK_PIECE = 200


@implementer(IBucket)
class LocalBucket:
    """Files below ``directory / "bucket"``; drafts go through ``directory / "drafts"`` on the same file system.

    An empty file marks the directory: where that is gone, the volume is not mounted, and nothing is missing.
    """

    shared = False

    def __init__(self, directory: Path, workers: Workers) -> None:
        self.name = f"local directory {directory}"
        self._top = directory / "bucket"
        self._drafts = directory / "drafts"
        self._workers = workers

    def start(self) -> "Deferred[None]":
        """See `IBucket.start`. Drafts of a daemon that was killed are thrown away."""
        return self._workers.run(self._prepare)

    def _prepare(self) -> None:
        try:
            for directory in (self._top, self._drafts):
                files.make_directory(directory, Path(directory.anchor))
            if self._top.stat().st_dev != self._drafts.stat().st_dev:
                raise SetupError(f"{self._top} and {self._drafts} must be on one file system")
            for draft in self._drafts.iterdir():
                draft.unlink()
            (self._top / _MARK).touch()
            files.sync_directory(self._top)
        except OSError as error:
            raise SetupError(f"cannot use {error.filename or self._top}: {error.strerror}; change `path`") from error

    def stop(self) -> "Deferred[None]":
        """See `IBucket.stop`."""
        return succeed(None)

    def stat(self, path: str) -> "Deferred[Stat]":
        """See `IBucket.stat`."""
        return self._reading(files.size_of, self._at(path)).addCallback(Stat)

    def get(self, path: str, limit: int) -> "Deferred[bytes]":
        """See `IBucket.get`."""
        return self._reading(files.read_small, self._at(path), limit)

    def open(self, path: str) -> "Deferred[IReader]":
        """See `IBucket.open`."""
        return self._reading(files.open_file, self._at(path)).addCallback(FileReader, self._workers)

    def put(self, path: str, content: bytes) -> "Deferred[None]":
        """See `IBucket.put`."""
        return self._writing(files.write_file, self._at(path), content, self._drafts, self._top)

    def put_file(self, path: str, source: Path) -> "Deferred[None]":
        """See `IBucket.put_file`. The source must be on the same file system: it becomes the file."""
        return self._writing(files.take_file, source, self._at(path), self._top)

    def move(self, source: str, destination: str) -> "Deferred[None]":
        """See `IBucket.move`."""
        return self._writing(files.move_file, self._at(source), self._at(destination), self._top)

    def remove(self, path: str) -> "Deferred[None]":
        """See `IBucket.remove`."""
        return self._writing(files.remove_file, self._at(path), self._top)

    async def walk(self, directory: str, into: Callable[[str], bool] | None = None) -> AsyncIterator[Sequence[Listing]]:
        """See `IBucket.walk`: many directories in each call of a thread."""
        check_path(directory)
        walk = files.walk(self._top, directory, into)
        try:
            while listings := await self._reading(self._some, walk):
                yield listings
        except NotFound:
            return

    def _some(self, walk: Iterator[Listing]) -> "Sequence[Listing]":
        found: list[Listing] = []
        entries = 0
        while entries < 5 * _WALK_PIECE and len(found) < _WALK_PIECE and (listing := next(walk, None)) is not None:
            found.append(listing)
            entries += len(listing.entries)
        self._check_mark()  # the walk passes over directories that went away meanwhile
        return found

    def list(self, directory: str) -> "Deferred[Sequence[Entry]]":
        """See `IBucket.list`."""
        listed: Deferred[Sequence[Entry]] = self._reading(files.entries_of, self._at(directory))
        return listed.addErrback(_none_if_missing)

    def _at(self, path: str) -> Path:
        check_path(path)
        return self._top / path

    def _reading(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Deferred[T]":
        def read() -> T:
            try:
                return function(*args, **kwargs)
            except OSError as error:
                if error.errno not in MISSING:
                    raise bucket_error(error) from error
                self._check_mark()
                raise NotFound(str(error)) from error

        return self._workers.run(read)

    def _writing(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Deferred[T]":
        def write() -> T:
            self._check_mark()
            try:
                return function(*args, **kwargs)
            except OSError as error:
                raise bucket_error(error) from error

        return self._workers.run(write)

    def _check_mark(self) -> None:
        try:
            (self._top / _MARK).stat()
        except OSError as error:
            raise Unavailable(f"{self._top} is not there any more; is its volume mounted? ({error})") from error


def _none_if_missing(failure: Failure) -> Sequence[Entry]:
    failure.trap(NotFound)
    return []
