"""Names for Unix sockets."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FITS = 100  # of the 108 bytes that the kernel has for the name


@contextmanager
def short_name(path: Path) -> Iterator[str]:
    """A name for a socket that the kernel takes, however long the path of its directory is."""
    if len(os.fsencode(path)) <= _FITS:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
