"""Short files that a configuration consists of, or names."""

import os
import stat
from pathlib import Path

CONFIG_MAX = 1024 * 1024
"""Bytes that a configuration may have."""

SECRET_MAX = 4096
"""Bytes that a file with a secret may have."""


def read_small_file(path: Path, limit: int) -> bytes:
    """All of a file. It never waits, as one does for a pipe that nobody writes to.

    :raises OSError: where it cannot be read, is no file, or has more than ``limit`` bytes; ``strerror`` says which.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISCHR(mode):
            raise OSError(0, "Is a pipe and not a file" if stat.S_ISFIFO(mode) else "Is not a file")
        content = file.read(limit + 1)
    if content is None or len(content) > limit:
        raise OSError(0, f"Is longer than {limit} bytes" if content else "Has nothing to be read")
    return content
