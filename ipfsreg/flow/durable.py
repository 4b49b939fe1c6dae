"""Files of this disk that are there whole or not at all, also after a loss of power. Blocking: for threads."""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
"""The flags of `os.open` for a directory."""


def write_durably(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Create or replace a file. When it returns, content and name are on the disk.

    The draft is made beside it, under a name of its own, so several writers do not meet.

    :raises OSError: where the disk does not let us; what was there before is then still there.
    """
    with replacing(path, mode) as file:
        file.write(content)


@contextmanager
def replacing(path: Path, mode: int = 0o600) -> Iterator[IO[bytes]]:
    """A file to write to in several pieces; at the end of the block it is there as by `write_durably`."""
    name = f".{path.name}-{secrets.token_hex(8)}"
    with closing(os.open(path.parent, DIRECTORY)) as directory:
        with draft(directory, name, mode) as descriptor, os.fdopen(descriptor, "wb", closefd=False) as file:
            os.fchmod(descriptor, mode)  # whatever the umask says
            yield file
            sync_file(file)
            os.replace(name, path.name, src_dir_fd=directory, dst_dir_fd=directory)
        os.fsync(directory)


def remove_drafts(path: Path) -> None:
    """Remove what a process that was killed left of files to be put at a path; nobody may be writing one.

    :raises OSError: where the disk does not let us.
    """
    _remove_drafts(path.parent, re.escape(path.name))


def remove_drafts_in(directory: Path) -> None:
    """As `remove_drafts`, for all files in a directory."""
    _remove_drafts(directory, ".+")


def _remove_drafts(directory: Path, name: str) -> None:
    pattern = re.compile(rf"\.{name}-[0-9a-f]{{16}}")
    with suppress(FileNotFoundError), os.scandir(directory) as entries:
        for entry in entries:
            if pattern.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                os.unlink(entry.path)


@contextmanager
def draft(directory: int, name: str, mode: int) -> Iterator[int]:
    """A new file in an open directory, open to be written to.

    The block fills it and gives it another name; where it fails, the file goes.
    """
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode, dir_fd=directory)
    try:
        with closing(descriptor):
            yield descriptor
    except BaseException:
        with suppress(OSError):
            os.unlink(name, dir_fd=directory)
        raise


def write_all(descriptor: int, content: bytes | bytearray, at: int | None = None) -> None:
    """Write content to an open file: where it stands, or from an offset on."""
    view = memoryview(content)
    while view:
        written = os.writev(descriptor, [view]) if at is None else os.pwritev(descriptor, [view], at)
        view = view[written:]
        at = None if at is None else at + written


@contextmanager
def closing(descriptor: int) -> Iterator[int]:
    """An open descriptor, closed after the block."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Make a directory and what is missing above it, durably."""
    if path.is_dir():
        return
    make_directory(path.parent)
    with suppress(FileExistsError):
        path.mkdir()
    sync_directory(path.parent)


def sync_file(file: IO[bytes]) -> None:
    """Make the content of a file durable."""
    file.flush()
    os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    with closing(os.open(path, DIRECTORY)) as directory:
        os.fsync(directory)
