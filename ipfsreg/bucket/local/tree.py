"""Durable operations on the files below a directory, as plain blocking functions: they run in a worker thread.

Durable means that what returned survives a loss of power: the data is fsynced before it gets its name, and the
directory that holds the name is fsynced after.

Nothing outside the directory is ever read, listed, written or removed. A symbolic link, a FIFO, a device or a socket
below it is damage: it is neither followed nor waited for. So is a directory in the place of a file, or a file in the
place of a directory; but an empty directory is nobody's, and gives way.
"""

import errno
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from heapq import merge
from itertools import count, islice
from operator import attrgetter
from pathlib import Path
from threading import Lock
from typing import IO

from ipfsreg.bucket.errors import Corrupt, InTheWay, NotFound, TooLarge
from ipfsreg.bucket.interface import Entry, Listing
from ipfsreg.flow.durable import DIRECTORY, closing, draft, sync_directory, write_all

from .beneath import kind_of, open_beneath, stranger_on

_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY  # O_NONBLOCK: a FIFO would wait for somebody to write to it
_STRANGE = {errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.ENODEV}
_PART = 2000
_TOGETHER = 16  # new directories, at most, that are synced at the end: each keeps one open
_DIRECTORY_THERE = {errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST}


class FileTree:
    """The files below ``top``. ``drafts`` is a directory on the same file system for files that are not whole yet.

    Paths are relative to ``top`` and without ``.`` and ``..`` (`check_path`). Each method fails with an `OSError`, and
    with `Corrupt` where something on the path is not what it has to be.
    """

    def __init__(self, top: Path, drafts: Path) -> None:
        self._top = os.path.realpath(top)
        self._drafts = os.path.realpath(drafts.parent), drafts.name
        self._lock = Lock()
        self._being_made: Counter[str] = Counter()
        self._numbers = count()  # of the drafts

    def size(self, path: str) -> int:
        """A file's length in bytes."""
        with closing(self._open(path, os.O_PATH)) as descriptor:
            return self._file(descriptor, path).st_size

    def read(self, path: str, limit: int) -> bytes:
        """The content of a file.

        :raises TooLarge: where it is longer than ``limit`` bytes.
        """
        with closing(self._open(path, _FILE)) as descriptor:
            size = self._file(descriptor, path).st_size
            if size > limit:
                raise TooLarge(f"{path} is larger than {limit} bytes")
            content = b""
            while len(content) < size and (piece := os.read(descriptor, size - len(content))):
                content += piece
            return content

    def open(self, path: str) -> IO[bytes]:
        """Open a file for reading."""
        descriptor = self._open(path, _FILE)
        try:
            self._file(descriptor, path)
            return os.fdopen(descriptor, "rb", buffering=0)
        except BaseException:
            os.close(descriptor)
            raise

    def write(self, path: str, content: bytes) -> None:
        """Create or replace a file atomically and durably, by way of one among the drafts."""
        name = str(next(self._numbers))
        with closing(open_beneath(*self._drafts, DIRECTORY)) as drafts, draft(drafts, name, 0o666) as descriptor:
            write_all(descriptor, content)
            self._place(
                path,
                lambda to, last: os.replace(name, last, src_dir_fd=drafts, dst_dir_fd=to),
                lambda: os.fsync(descriptor),
            )

    def take(self, source: Path, path: str) -> None:
        """Make a file from outside the tree one of it, atomically and durably.

        :raises NotFound: where there is no such file.
        """
        if not source.is_file():
            raise NotFound(f"no such file: {source}")
        self._place(path, lambda to, last: os.replace(source, last, dst_dir_fd=to))
        sync_directory(source.parent)

    def move(self, source: str, path: str) -> None:
        """Give a file another path, atomically and durably. Damage of any kind, a directory too, is moved as it is.

        :raises NotFound: where there is no such file.
        """
        parent, name = _split(source)
        with _absent(source):
            opened = self._directory(parent)
        with closing(opened) as directory:
            _look_for(directory, name, source)
            try:
                self._place(path, lambda to, last: os.replace(name, last, src_dir_fd=directory, dst_dir_fd=to))
            except FileNotFoundError:
                _look_for(directory, name, source)  # somebody else was faster
                raise
        self._left(parent)

    def remove(self, path: str) -> None:
        """Remove a file durably; damage of any kind as well.

        :raises NotFound: where there is no such file.
        """
        parent, name = _split(path)
        with _absent(path), closing(self._directory(parent)) as directory:
            try:
                os.unlink(name, dir_fd=directory)
            except IsADirectoryError:
                self._clear(directory, name, path)
        self._left(parent)

    def entries(self, directory: str) -> list[Entry]:
        """The entries of a directory by name."""
        with closing(self._directory(directory)) as descriptor, os.scandir(descriptor) as found:
            return sorted(map(_entry, found), key=attrgetter("name"))

    def names(self, directory: str) -> Iterator[str]:
        """The names in a directory, in the order in which the disk has them."""
        with closing(self._directory(directory)) as descriptor, os.scandir(descriptor) as found:
            for each in found:
                yield each.name

    def walk(self, directory: str, into: Callable[[str], bool] | None) -> Iterator[Listing]:
        """A directory and all below it, in the order of their names.

        Empty directories are what a kill between two system calls leaves: they are tidied away on the way.
        """
        pending = [directory]
        while pending:
            path = pending.pop()
            below: list[str] = []
            is_empty = True
            try:
                for entries in self._parts(path):
                    is_empty = False
                    below += [f"{path}/{entry.name}" for entry in entries if entry.is_directory]
                    yield Listing(path, entries)
            except FileNotFoundError:
                if path == directory:
                    raise
                continue  # removed since its parent was listed
            if is_empty:
                self._remove_empty(path)
            pending.extend(each for each in reversed(below) if into is None or into(each))

    def _parts(self, directory: str) -> Iterator[list[Entry]]:
        """The entries of a directory by name; of one that has files alone, `_PART` at a time.

        A hundred thousand of them at once would take long to sort, and long for Python's garbage collector to look at.
        """
        runs: list[list[str]] = []
        others: dict[str, Entry] = {}
        with closing(self._directory(directory)) as descriptor, os.scandir(descriptor) as found:
            while some := [_entry(each) for each in islice(found, _PART)]:
                runs.append(sorted(each.name for each in some))
                others.update((each.name, each) for each in some if each.is_directory or each.strange)
        names = merge(*runs)
        most = None if any(each.is_directory for each in others.values()) else _PART
        while part := [others.get(name) or Entry(name, is_directory=False) for name in islice(names, most)]:
            yield part

    def _open(self, path: str, flags: int) -> int:
        try:
            return open_beneath(self._top, path, flags)
        except OSError as error:
            if error.errno in _STRANGE and (found := stranger_on(self._top, path)) is not None:
                on_the_way = flags & DIRECTORY == DIRECTORY or found[0] != f"{self._top}/{path}"
                raise _damage(*found, on_the_way=on_the_way) from None
            raise

    def _directory(self, path: str) -> int:
        try:
            return self._open(path, DIRECTORY)
        except NotADirectoryError:
            raise _damage(f"{self._top}/{path}", "a file", on_the_way=True) from None

    def _file(self, descriptor: int, path: str) -> os.stat_result:
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode):
            return found
        raise _damage(f"{self._top}/{path}", kind_of(found.st_mode) or "a directory")

    def _place(self, path: str, place: Callable[[int, str], None], sync: Callable[[], None] | None = None) -> None:
        """Have a file put into its directory, which is made if need be, and make its name there durable.

        ``sync`` makes the content durable. It is called after directories were made: a journal takes them along.
        """
        parent, name = _split(path)
        # A removal may take an emptied directory away between its creation and the rename: then once more.
        for _ in range(10):
            try:
                with self._made(parent, sync) as directory:
                    try:
                        place(directory, name)
                    except OSError as error:
                        if error.errno not in _DIRECTORY_THERE:
                            raise
                        self._clear(directory, name, path)
                        place(directory, name)
                    os.fsync(directory)
                    return
            except FileNotFoundError as error:
                missing = error
        raise missing

    def _clear(self, directory: int, name: str, path: str) -> None:
        """Remove a directory that is in the place of a file, if it is empty."""
        try:
            os.rmdir(name, dir_fd=directory)
        except OSError as error:
            if error.errno not in _DIRECTORY_THERE:
                raise
            raise _damage(f"{self._top}/{path}", "a directory with something in it") from None

    @contextmanager
    def _made(self, path: str, sync: Callable[[], None] | None = None) -> Iterator[int]:
        """Open a directory for a block, made durably if it is missing; ``sync`` is called in between."""
        parts = path.split("/")
        if len(parts) > _TOGETHER:
            with self._made("/".join(parts[:-_TOGETHER])):
                pass
        new: list[tuple[str, int]] = []
        with ExitStack() as opened:
            try:
                directory = self._make(path, new, opened)
                if sync is not None:
                    sync()
            finally:
                for _, parent in new:
                    os.fsync(parent)
                self._are_durable([each for each, _ in new])
            yield directory

    def _make(self, path: str, new: list[tuple[str, int]], opened: ExitStack) -> int:
        """Open a directory, made if it is missing.

        ``new`` is given those on its way whose names may not be durable, each with its open parent.
        """
        names: list[str] = []
        while True:
            try:
                directory = self._directory(path)
                # One that another thread is making may not be durable yet: then it is made so here as well.
                if path not in self._being_made:
                    break
                os.close(directory)
            except FileNotFoundError:
                if path == _TOP:
                    raise
            path, name = _split(path)
            names.append(name)
        opened.callback(os.close, directory)
        for name in reversed(names):
            path = name if path == _TOP else f"{path}/{name}"
            new.append((path, directory))
            with self._lock:
                self._being_made[path] += 1
            with suppress(FileExistsError):
                os.mkdir(name, dir_fd=directory)
            directory = self._directory(path)
            opened.callback(os.close, directory)
        return directory

    def _are_durable(self, paths: Sequence[str]) -> None:
        # Those whose sync failed are never told of here: whoever comes next tries again.
        with self._lock:
            for each in paths:
                self._being_made[each] -= 1
                if not self._being_made[each]:
                    del self._being_made[each]

    def _left(self, directory: str) -> None:
        """Make durable that a file has gone from a directory, and remove the directories that this empties."""
        path = directory
        while True:
            try:
                with closing(self._open(path, DIRECTORY)) as descriptor:
                    os.fsync(descriptor)
                break
            except FileNotFoundError:  # another removal emptied it
                if path == _TOP:
                    raise
                path, _ = _split(path)
        self._remove_empty(directory)

    def _remove_empty(self, path: str) -> None:
        while path != _TOP:
            path, name = _split(path)
            try:
                with closing(self._open(path, DIRECTORY)) as directory:
                    os.rmdir(name, dir_fd=directory)
            except FileNotFoundError:  # somebody else was faster
                continue
            except OSError:  # not empty
                break


_TOP = "."


def _split(path: str) -> tuple[str, str]:
    parent, _, name = path.rpartition("/")
    return parent or _TOP, name


def _look_for(directory: int, name: str, path: str) -> None:
    with _absent(path):
        os.stat(name, dir_fd=directory, follow_symlinks=False)


@contextmanager
def _absent(path: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise NotFound(f"no such file: {path}") from None


def _entry(found: "os.DirEntry[str]") -> Entry:
    is_directory = found.is_dir(follow_symlinks=False)
    return Entry(found.name, is_directory, not is_directory and not found.is_file(follow_symlinks=False))


def _damage(path: str, kind: str, *, on_the_way: bool = False) -> Corrupt:
    return (InTheWay if on_the_way else Corrupt)(
        f"{path} is {kind}, which does not belong there; it is not looked into: remove it"
    )
