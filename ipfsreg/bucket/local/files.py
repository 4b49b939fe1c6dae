"""Durable operations on a directory tree, as plain blocking functions: they run in a worker thread.

Durable means that what returned survives a loss of power: the data is fsynced before it gets its name, and the
directory that holds the name is fsynced after.
"""

import errno
import os
import secrets
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import IO, TypeVar

from ipfsreg.bucket.errors import NotFound, TooLarge
from ipfsreg.bucket.interface import Entry, Listing
from ipfsreg.bucket.system_errors import MISSING

T = TypeVar("T")

_lock = Lock()
_being_made: Counter[Path] = Counter()


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(directory: Path, top: Path) -> None:
    """Create a directory durably, and its missing parents below ``top``, which is there."""
    if directory == top:
        return
    with _lock:
        # One that another thread has made may not be durable yet: then it is made so here as well.
        if not _being_made[directory] and directory.is_dir():
            return
        _being_made[directory] += 1
    try:
        make_directory(directory.parent, top)
        with suppress(FileExistsError):
            directory.mkdir()
        sync_directory(directory.parent)
    finally:
        with _lock:
            _being_made[directory] -= 1
            if not _being_made[directory]:
                del _being_made[directory]


def write_file(destination: Path, content: bytes, temporary: Path, top: Path) -> None:
    """Create or replace a file atomically and durably, by way of a file in ``temporary``."""
    draft = temporary / secrets.token_hex(16)
    try:
        with draft.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _into_directory(destination, top, lambda: os.replace(draft, destination))
    except BaseException:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise


def take_file(source: Path, destination: Path, top: Path) -> None:
    """Make a file from outside the tree one of it, atomically and durably.

    :raises NotFound: where there is no such file.
    """
    if not source.is_file():
        raise NotFound(f"no such file: {source}")
    _into_directory(destination, top, lambda: os.replace(source, destination))
    sync_directory(source.parent)


def move_file(source: Path, destination: Path, top: Path) -> None:
    """Give a file of the tree another name, atomically and durably.

    :raises NotFound: where there is no such file.
    """
    if not source.is_file():
        raise NotFound(f"no such file: {source}")
    try:
        _into_directory(destination, top, lambda: os.replace(source, destination))
    except FileNotFoundError:
        if source.is_file():
            raise
        raise NotFound(f"no such file: {source}") from None  # somebody else was faster
    _left(source, top)


def remove_file(path: Path, top: Path) -> None:
    """Remove a file durably.

    :raises NotFound: where there is no such file.
    """
    try:
        path.unlink()
    except OSError as error:
        if error.errno in MISSING:
            raise NotFound(str(error)) from None
        raise
    _left(path, top)


def read_small(path: Path, limit: int) -> bytes:
    """The content of a file.

    :raises TooLarge: where it is longer than ``limit`` bytes.
    """
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise TooLarge(f"{path} is larger than {limit} bytes")
    return content


def open_file(path: Path) -> IO[bytes]:
    """Open a file for reading."""
    return path.open("rb", buffering=0)


def size_of(path: Path) -> int:
    """A file's length in bytes; a directory is refused like a missing file."""
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "is a directory", str(path))
    return found.st_size


def entries_of(directory: Path) -> list[Entry]:
    """The entries of a directory by name."""
    with os.scandir(directory) as found:
        return sorted(Entry(each.name, each.is_dir()) for each in found)


def walk(top: Path, directory: str, into: Callable[[str], bool] | None) -> Iterator[Listing]:
    """A directory of the tree and all below it, in the order of their names.

    Empty directories are what a kill between two system calls leaves: they are tidied away on the way.
    """
    pending = [directory]
    while pending:
        path = pending.pop()
        try:
            entries = entries_of(top / path)
        except (FileNotFoundError, NotADirectoryError):
            if path == directory:
                raise
            continue  # removed since its parent was listed
        if not entries:
            _remove_empty(top / path, top)
            continue
        yield Listing(path, entries)
        below = [f"{path}/{entry.name}" for entry in entries if entry.is_directory]
        pending.extend(each for each in reversed(below) if into is None or into(each))


def _into_directory(destination: Path, top: Path, place: Callable[[], None]) -> None:
    # A removal may take an emptied directory away between its creation and the rename: then once more.
    for _ in range(10):
        try:
            make_directory(destination.parent, top)
            place()
            break
        except FileNotFoundError as error:
            missing = error
    else:
        raise missing
    with suppress(FileNotFoundError):  # somebody removed it again already
        sync_directory(destination.parent)


def _left(path: Path, top: Path) -> None:
    """Make durable that a file has gone from its directory, and remove the directories that this empties."""
    for directory in path.parents:
        try:
            sync_directory(directory)
            break
        except FileNotFoundError:  # another removal emptied it
            if directory == top:
                raise
    _remove_empty(path.parent, top)


def _remove_empty(directory: Path, top: Path) -> None:
    for each in (directory, *directory.parents):
        if each == top:
            break
        try:
            each.rmdir()
        except FileNotFoundError:  # somebody else was faster
            continue
        except OSError:  # not empty
            break
