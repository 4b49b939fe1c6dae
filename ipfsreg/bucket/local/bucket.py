"""A bucket that is a directory on this disk."""

import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import ParamSpec, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ipfsreg.bucket.bulk import OF_ONE_FILE, IBulkReads
from ipfsreg.bucket.errors import MISSING, BucketError, NotFound, SetupError, Unavailable, bucket_error
from ipfsreg.bucket.file_reader import FileReader
from ipfsreg.bucket.interface import Entry, IBucket, IReader, Listing, Stat, check_path
from ipfsreg.flow.durable import DIRECTORY, closing, make_directory, sync_directory
from ipfsreg.flow.probe import cannot_make_in
from ipfsreg.flow.workers import Workers

from .beneath import kind_of
from .tree import FileTree

P = ParamSpec("P")
T = TypeVar("T")

_Contents = list[bytes | BucketError]
_Stats = list[Stat | BucketError]

_MARK = ".bucket"
_LOCK = "lock"  # of the daemon that starts
_WALK_PIECE = 200
_NAMES_PIECE = 1000


@implementer(IBucket, IBulkReads)
class LocalBucket:
    """Files below ``directory / "bucket"``; drafts go through ``directory / "drafts"`` on the same file system.

    An empty file marks the directory: where that is gone, or is another than at the start, the volume is not mounted,
    or somebody removed everything: then nothing can be said to be missing.
    """

    _log = Logger()

    shared = False

    def __init__(self, directory: Path, workers: Workers) -> None:
        self.name = f"local directory {directory}"
        self._top = directory / "bucket"
        self._drafts = directory / "drafts"
        self._mark = self._top / _MARK
        self._tree = FileTree(self._top, self._drafts)
        self._workers = workers
        self._marked: int | None = None  # the open mark, so that no other file can get its inode
        self._identity: tuple[int, int] | None = None

    def start(self) -> "Deferred[None]":
        """See `IBucket.start`. Drafts of a daemon that was killed are thrown away."""
        return self._workers.run(self._prepare)

    def existing(self) -> "Deferred[None]":
        """Fire if there is a bucket, and make none. `SetupError` where there is none."""
        return self._workers.run(self._look)

    def _look(self) -> None:
        if not self._mark.exists():
            raise SetupError(
                f"there is no bucket in {self._top.parent}; if `path` is right, the daemon makes one at its start"
            )

    def _prepare(self) -> None:
        try:
            self._make_if_new()
            make_directory(self._drafts)
            with closing(os.open(self._drafts, DIRECTORY | os.O_NOFOLLOW)) as drafts:
                if self._top.stat().st_dev != os.fstat(drafts).st_dev:
                    raise SetupError(f"{self._top} and {self._drafts} must be on one file system")
                for draft in os.listdir(drafts):
                    try:
                        os.unlink(draft, dir_fd=drafts)
                    except IsADirectoryError:
                        raise SetupError(f"{self._drafts / draft} is a directory, and only files are there") from None
            self._close_mark()
            self._marked = os.open(self._mark, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
            found = os.fstat(self._marked)
            self._identity = found.st_dev, found.st_ino
            if (kind := kind_of(found.st_mode)) is not None:
                raise SetupError(f"{self._mark} is {kind} and not the file that marks a bucket")
        except OSError as error:
            raise SetupError(f"cannot use {error.filename or self._top}: {error.strerror}; change `path`") from error

    def problem(self) -> str | None:
        """Why `start` would fail, or None. It blocks, and makes nothing."""
        try:
            if self._is_new():
                return None
        except SetupError as error:
            return str(error)
        except OSError as error:
            return f"{error.strerror}: {error.filename or self._top}"
        there = (each for each in (self._top, self._drafts) if each.is_dir())
        return next(filter(None, map(cannot_make_in, there)), None)

    def _is_new(self) -> bool:
        if self._mark.exists():
            return False
        # Drafts are made after the bucket: with them, this is no new directory.
        if self._drafts.exists() or (self._top.exists() and any(self._top.iterdir())):
            raise SetupError(
                f"{self._top} is not the bucket that was there: its file {_MARK} is missing. Is the volume mounted, "
                f"or the copy whole? If the bucket is to begin anew, remove {self._drafts} and {self._top}"
            )
        return True

    def _make_if_new(self) -> None:
        if not self._is_new():
            return
        directory = self._top.parent
        is_used = directory.exists() and any(name != _LOCK for name in os.listdir(directory))
        make_directory(self._top)
        self._mark.touch()
        sync_directory(self._top)
        doubt = " Should images be there? Is the volume mounted?" if is_used else ""
        self._log.info("{top}: there was no bucket, so a new, empty one was made." + doubt, top=self._top)

    def stop(self) -> "Deferred[None]":
        self._close_mark()
        return succeed(None)

    def _close_mark(self) -> None:
        if self._marked is not None:
            os.close(self._marked)
            self._marked = self._identity = None

    def stat(self, path: str) -> "Deferred[Stat]":
        return self._reading(self._tree.size, check_path(path)).addCallback(Stat)

    def get(self, path: str, limit: int) -> "Deferred[bytes]":
        return self._reading(self._tree.read, check_path(path), limit)

    def open(self, path: str) -> "Deferred[IReader]":
        return self._reading(self._tree.open, check_path(path)).addCallback(FileReader, self._workers)

    def put(self, path: str, content: bytes) -> "Deferred[None]":
        return self._writing(self._tree.write, check_path(path), content)

    def put_file(self, path: str, source: Path) -> "Deferred[None]":
        """See `IBucket.put_file`. The source must be on the same file system: it becomes the file."""
        return self._writing(self._tree.take, source, check_path(path))

    def move(self, source: str, destination: str) -> "Deferred[None]":
        return self._writing(self._tree.move, check_path(source), check_path(destination))

    def remove(self, path: str) -> "Deferred[None]":
        return self._writing(self._tree.remove, check_path(path))

    async def walk(self, directory: str, into: Callable[[str], bool] | None = None) -> AsyncIterator[Sequence[Listing]]:
        """See `IBucket.walk`: many directories in each call of a thread."""
        check_path(directory)
        walk = self._tree.walk(directory, into)
        try:
            more = True
            while more:
                listings, more = await self._reading(self._some, walk)
                if listings:
                    yield listings
        except NotFound:
            return

    def _some(self, walk: Iterator[Listing]) -> "tuple[Sequence[Listing], bool]":
        """Some more of a walk, and whether there may be more."""
        found: list[Listing] = []
        entries, more = 0, True
        while more and entries < _NAMES_PIECE and len(found) < _WALK_PIECE:
            listing = next(walk, None)
            if listing is None:
                more = False
            else:
                found.append(listing)
                entries += len(listing.entries)
        self._check_mark()  # the walk passes over directories that went away meanwhile
        return found, more

    def list(self, directory: str) -> "Deferred[Sequence[Entry]]":
        listed: Deferred[Sequence[Entry]] = self._reading(self._tree.entries, check_path(directory))
        return listed.addErrback(_none_if_missing)

    def list_top(self) -> "Deferred[Sequence[Entry]]":
        """What is at the top, but for the mark."""
        listed: Deferred[Sequence[Entry]] = self._reading(self._tree.entries, ".")
        return listed.addCallback(lambda entries: [each for each in entries if each.name != _MARK])

    def get_each(self, wanted: Sequence[tuple[str, int]]) -> "Deferred[_Contents]":
        """See `IBulkReads.get_each`: in one call of a thread."""
        return self._workers.run(self._read_each, [(check_path(path), limit) for path, limit in wanted])

    def _read_each(self, wanted: Sequence[tuple[str, int]]) -> "_Contents":
        return [self._one(self._tree.read, path, limit) for path, limit in wanted]

    def stat_each(self, paths: Sequence[str]) -> "Deferred[_Stats]":
        """See `IBulkReads.stat_each`: in one call of a thread."""
        return self._workers.run(self._stat_each, [check_path(path) for path in paths])

    def _stat_each(self, paths: Sequence[str]) -> _Stats:
        sizes = (self._one(self._tree.size, path) for path in paths)
        return [Stat(size) if isinstance(size, int) else size for size in sizes]

    def _one(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | BucketError:
        try:
            return self._read(function, *args, **kwargs)
        except OF_ONE_FILE as error:
            return error

    async def names(self, directory: str) -> AsyncIterator[Sequence[str]]:
        found = self._tree.names(check_path(directory))
        try:
            more = True
            while more:
                some = await self._reading(_some_names, found)
                more = len(some) == _NAMES_PIECE
                yield some
        except NotFound:
            return

    def _reading(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Deferred[T]":
        return self._workers.run(lambda: self._read(function, *args, **kwargs))

    def _read(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except OSError as error:
            if error.errno not in MISSING:
                raise bucket_error(error, self._place_of(args)) from error
            self._check_mark()
            raise NotFound(str(error)) from error

    def _writing(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Deferred[T]":
        def write() -> T:
            self._check_mark()
            try:
                return function(*args, **kwargs)
            except OSError as error:
                raise bucket_error(error, self._place_of(args)) from error

        return self._workers.run(write)

    def _place_of(self, arguments: tuple[object, ...]) -> str:
        # The tree opens by descriptors, so the error has the last name alone, or that of a draft.
        return "/".join([str(self._top), *[each for each in arguments if isinstance(each, str)][-1:]])

    def _check_mark(self) -> None:
        try:
            found = os.lstat(self._mark)
        except OSError as error:
            raise Unavailable(f"{self._top} is not there any more; is its volume mounted? ({error})") from error
        if self._identity not in (None, (found.st_dev, found.st_ino)):
            raise Unavailable(
                f"{self._top} is another one than at the start: was it removed, or is another volume mounted?"
            )


def _none_if_missing(failure: Failure) -> Sequence[Entry]:
    failure.trap(NotFound)
    return []


def _some_names(found: Iterator[str]) -> list[str]:
    return list(islice(found, _NAMES_PIECE))
