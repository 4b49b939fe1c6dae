"""The daemon's own directory on this disk: one daemon at a time, and where it listens for the command."""

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ipfsreg.bucket.errors import SetupError
from ipfsreg.config.backend_options import BackendOptions
from ipfsreg.flow.durable import remove_drafts_in
from ipfsreg.flow.probe import cannot_make_in

AHEAD_SECONDS = 120.0
"""For how long a running daemon notes at most that it will be there."""

_FITS = 100  # of the 108 bytes that the kernel has for a socket's name


class Locked(SetupError):
    """Another ipfsreg uses the directory."""


class NotThere(SetupError):
    """No daemon has used the directory yet."""


class StateDirectory:
    """A directory that one process at a time may use. ``option`` is what to change where it cannot be used."""

    def __init__(self, path: Path, option: str = "path") -> None:
        self.path = path
        self._option = option
        self._seen = path / "last-seen"
        self._lock_path = path / "lock"
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
        """Why a daemon cannot use the directory, or None. Nothing is there afterwards that was not there before.

        In the nearest directory that exists it has to be possible to make something.
        """
        try:
            nearest = next(each for each in (self.path, *self.path.parents) if os.path.lexists(each))
            if not nearest.exists():
                return f"{nearest} is a link to {nearest.readlink()}, which is not there"
            if not nearest.is_dir():
                return f"{nearest} is not a directory"
            if os.path.lexists(self._lock_path) and not stat.S_ISREG(self._lock_path.lstat().st_mode):
                return f"{self._lock_path} is not a file"
        except OSError as error:
            return f"{error.strerror}: {error.filename or self.path}"
        return cannot_make_in(nearest)

    def acquire(self, *, make: bool = True) -> None:
        """Keep other daemons out of the directory until `release`. ``make`` it if need be, for its user alone.

        :raises Locked: where another process has it.
        :raises NotThere: where it has yet to be made, or has never been a daemon's.
        :raises SetupError: where it cannot be created or written.
        """
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            if make:
                flags |= os.O_CREAT
                self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.fdopen(os.open(self._lock_path, flags, 0o644), "r+")
        except OSError as error:
            if not make and isinstance(error, (FileNotFoundError, NotADirectoryError)):
                raise NotThere(
                    f"there is no bucket in {self.path}, and a command makes none: is `{self._option}` right?"
                ) from None
            raise SetupError(
                f"cannot use the directory {self.path}: {error.strerror}; change `{self._option}`"
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise Locked(
                f"another ipfsreg is using {self.path}: stop it, or give this one a directory of its own "
                f"(`{self._option}`)"
            ) from None
        self._lock = lock  # what counts is the flock: the number is for people, and a full disk has no room for it
        with suppress(OSError):
            os.ftruncate(lock.fileno(), 0)
            os.pwrite(lock.fileno(), f"{os.getpid()}\n".encode(), 0)
        with suppress(OSError):
            remove_drafts_in(self.path)  # of one that was killed

    def note_daemon(self, ahead: float = 0.0) -> None:
        """Note that a daemon serves clients from here, and will for ``ahead`` seconds: see `last_seen`."""
        until = time.time() + ahead
        with suppress(OSError):  # of a full disk, which is no reason not to serve
            self._seen.touch()
            os.utime(self._seen, (until, until))

    def last_seen(self) -> float:
        """When a daemon last served clients from here, in seconds since 1970; 0 where none ever did.

        While one runs, and after one was killed, it may be in the future; but not by more than that: a time that was
        noted while the clock was wrong counts as now, and is noted so.
        """
        try:
            seen = self._seen.stat().st_mtime
        except OSError:
            return 0.0
        if seen > time.time() + AHEAD_SECONDS:
            self.note_daemon()
            return time.time()
        return seen

    def release(self) -> None:
        """Let others use the directory."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


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


def check_user(directory: Path) -> None:
    """Let no file be made that its daemon cannot use.

    :raises SetupError: where root would work in the directory of another user.
    """
    owner = directory.stat().st_uid
    if os.geteuid() == 0 != owner:
        raise SetupError(
            f"{directory} belongs to another user, who could not use what root makes there: start the daemon, which "
            f"then does the work, or do it as that user: setpriv --reuid={owner} --clear-groups ipfsreg …"
        )
