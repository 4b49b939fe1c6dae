"""Trying out what the system allows, and leaving nothing behind."""

import errno
import os
import tempfile
from pathlib import Path


def cannot_make_in(directory: Path) -> str | None:
    """Why nothing can be made in a directory that is there, or None. Some file systems only say so when it is tried.

    A disk that is full is no reason.
    """
    if not os.access(directory, os.W_OK | os.X_OK):
        return f"{directory} is not writable for this user"
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".try-", dir=directory))
    except FileNotFoundError:
        return f"nothing can be made in {directory}"
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            return f"nothing can be made in {directory}: {error.strerror}"
    return None
