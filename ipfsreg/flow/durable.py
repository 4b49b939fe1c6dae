"""Small files of this disk that are there whole or not at all, also after a loss of power. Blocking: for threads."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


def write_durably(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Create or replace a file. When it returns, content and name are on the disk.

    The draft is made beside it, under a name of its own, so several writers do not meet.

    :raises OSError: where the disk does not let us; what was there before is then still there.
    """
    with replacing(path, mode) as file:
        file.write(content)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replacing(path: Path, mode: int = 0o600) -> Iterator[IO[bytes]]:
    """A file to write to in several pieces; at the end of the block it is there as by `write_durably`."""
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(draft)
        raise
    sync_directory(path.parent)
