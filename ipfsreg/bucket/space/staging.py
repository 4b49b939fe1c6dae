"""Files where the Space Daemon finds them: ``<directory>/<unique>/<object name>``.

The daemon takes a path on this machine and names the object by its last component. Plain blocking functions, for
worker threads. What a daemon that was killed left here is thrown away at the next start, and nothing else that may be
in the directory.
"""

import os
import re
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

from ipfsreg.bucket.errors import SetupError, bucket_error

DIRECTORY_MODE = 0o700
FILE_MODE = 0o600
"""The daemon is the same user."""

_UNIQUE = re.compile(r"[0-9a-f]{32}")


class Staging:
    """The directory of files on their way to the daemon."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def prepare(self) -> None:
        """Make it, without what an earlier daemon left in it.

        :raises SetupError: where that cannot be.
        """
        try:
            self._directory.mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
            for entry in list(os.scandir(self._directory)):
                if _UNIQUE.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
        except OSError as error:
            raise SetupError(f"cannot use {self._directory}: {error.strerror}; change `path`") from None

    def place(self, name: str, source: Path | bytes) -> Path:
        """Give content a path there whose last component is ``name``; `remove` it when the daemon is done.

        A file gets a second name instead of a copy where the file system can do that.

        :raises BucketError: for a disk that is full, or fails.
        """
        unique = self._directory / secrets.token_hex(16)
        staged = unique / name
        try:
            unique.mkdir(DIRECTORY_MODE, parents=True)
            if isinstance(source, bytes):
                staged.write_bytes(source)
            else:
                _link_or_copy(source, staged)
        except OSError as error:
            self.remove(staged)
            raise bucket_error(error) from error
        return staged

    def remove(self, staged: Path) -> None:
        """Take it away again."""
        with suppress(OSError):
            staged.unlink(missing_ok=True)
        with suppress(OSError):
            staged.parent.rmdir()


def _link_or_copy(source: Path, staged: Path) -> None:
    try:
        os.link(source, staged)
    except FileNotFoundError:
        raise
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, staged)
        staged.chmod(FILE_MODE)
