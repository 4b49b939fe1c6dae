"""A file for a secret: readable for its owner only, there whole or not at all, and never over another file."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from ipfsreg.flow.durable import sync_directory

from .errors import SetupError


class PrivateFile:
    """A file that is certain to be writable before there is something to write.

    A secret that is told only once must have a place when it comes. `keep` or `discard` ends it.

    :raises SetupError: where the file cannot be made, or is there already.
    """

    def __init__(self, path: Path, room: int = 4096) -> None:
        self.path = path
        if os.path.lexists(path):
            raise _is_there(path)
        try:
            self._descriptor, self._draft = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        except OSError as error:
            raise _cannot_write(path, error) from None
        try:
            os.fchmod(self._descriptor, 0o600)
            os.write(self._descriptor, b"\n" * room)
            os.fsync(self._descriptor)
        except OSError as error:
            self.discard()
            raise _cannot_write(path, error) from None

    def keep(self, text: str) -> None:
        """Make the text the file's content, durably.

        :raises SetupError: where that cannot be, after all.
        """
        content = text.encode()
        try:
            os.pwrite(self._descriptor, content, 0)
            os.ftruncate(self._descriptor, len(content))
            os.fsync(self._descriptor)
            os.link(self._draft, self.path)  # unlike a rename, this fails where the name is taken
            sync_directory(self.path.parent)
        except FileExistsError:
            raise _is_there(self.path) from None
        except OSError as error:
            raise _cannot_write(self.path, error) from None
        finally:
            self.discard()

    def discard(self) -> None:
        """Let go of it. A second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            with suppress(OSError):
                os.unlink(self._draft)


def _is_there(path: Path) -> SetupError:
    return SetupError(f"{path} is there already; it is never overwritten")


def _cannot_write(path: Path, error: OSError) -> SetupError:
    return SetupError(f"cannot write {path}: {error.strerror}")
