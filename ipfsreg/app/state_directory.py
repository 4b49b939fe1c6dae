"""The daemon's own directory on this disk: one daemon at a time, and where it listens for the command."""

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from ipfsreg.bucket.errors import SetupError
from ipfsreg.config.backend_options import BackendOptions


class Locked(SetupError):
    """Another ipfsreg uses the directory."""


class StateDirectory:
    """A directory that one process at a time may use. ``option`` is what to change where it cannot be used."""

    def __init__(self, path: Path, option: str = "path") -> None:
        self.path = path
        self._option = option
        self._seen = path / "last-seen"
        self._lock: IO[str] | None = None

    @classmethod
    def of(cls, options: BackendOptions) -> "StateDirectory":
        """The one that a backend's section names."""
        return cls(options.state_directory, options.directory_option)

    @property
    def control_socket(self) -> Path:
        """Where the daemon listens for the `ipfsreg` command."""
        return self.path / "control.sock"

    def problem(self) -> str | None:
        """Why the directory cannot be used, or None: the nearest one that exists has to be writable."""
        try:
            nearest = next(each for each in (self.path, *self.path.parents) if each.exists())
        except OSError as error:
            return f"{error.strerror}: {self.path}"
        if not nearest.is_dir():
            return f"{nearest} is not a directory"
        if not os.access(nearest, os.W_OK | os.X_OK):
            return f"{nearest} is not writable for this user"
        return None

    def acquire(self) -> None:
        """Create the directory, for its user alone, and keep other daemons out of it until `release`.

        :raises Locked: where another process has it.
        :raises SetupError: where it cannot be created or written.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (self.path / "lock").open("a+")
        except OSError as error:
            raise SetupError(
                f"cannot use the directory {self.path}: {error.strerror}; change `{self._option}`"
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise Locked(f"another ipfsreg is using {self.path}") from None
        self._lock = lock  # what counts is the flock: the number is for people, and a full disk has no room for it
        with suppress(OSError):
            os.ftruncate(lock.fileno(), 0)
            os.pwrite(lock.fileno(), f"{os.getpid()}\n".encode(), 0)

    def note_daemon(self, ahead: float = 0.0) -> None:
        """Note that a daemon serves clients from here, and will for ``ahead`` seconds: see `last_seen`."""
        until = time.time() + ahead
        with suppress(OSError):  # of a full disk, which is no reason not to serve
            self._seen.touch()
            os.utime(self._seen, (until, until))

    def last_seen(self) -> float:
        """When a daemon last served clients from here, in seconds since 1970; 0 where none ever did.

        While one runs, and after one was killed, it may be in the future.
        """
        try:
            return self._seen.stat().st_mtime
        except OSError:
            return 0.0

    def release(self) -> None:
        """Let others use the directory."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
