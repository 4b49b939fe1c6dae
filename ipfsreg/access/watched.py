"""Files of the operator's: the daemon reads them again when they change, and commands change them one at a time."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.logger import Logger

from ipfsreg.config.small_file import read_small_file
from ipfsreg.flow.durable import DIRECTORY, closing, replacing
from ipfsreg.flow.single_flight import SingleFlight
from ipfsreg.flow.workers import Workers

from .errors import AccessFileError

LOOK_SECONDS = 1.0
"""How often a file that is used is looked at."""

_PATIENCE_SECONDS = 5.0
"""How long a request waits for a disk that does not answer, before it is decided by what is known."""

CHANGED_SECONDS = 10.0
"""How long a command waits for another one that is changing the file."""

FILE_MAX = 1024 * 1024
"""Bytes that a file may have."""

T = TypeVar("T")


def load_file(path: Path, parse: Callable[[bytes], T], missing: bytes | None = None) -> T:
    """Read a file once; blocks. For the arguments see `WatchedFile`.

    :raises AccessFileError: where it cannot be used.
    """
    return _parsed(path, _content(path, missing), parse)


@contextmanager
def changing(path: Path, mode: int) -> Iterator[Callable[[bytes], None]]:
    """Keep other commands from the file while the block runs; the block calls what it is given with the new content.

    It blocks. The content is on the disk when that returns. The file keeps its mode, and its owner where root changes
    it; a new one has ``mode``, and belongs to whom its directory belongs to. A link is followed, and stays.

    :raises AccessFileError: where the content is too long, the disk does not let us, or others keep us from the file.
    """
    target = Path(os.path.realpath(path))
    try:
        # The directory is locked, since the file becomes another one; a lock file would stay behind.
        with closing(os.open(target.parent, DIRECTORY)) as directory:
            _lock(directory, path)
            yield lambda content: _replace(target, content, mode)
    except OSError as error:
        raise AccessFileError(f"{path}: {error.strerror}") from None


class WatchedFile(Generic[T]):
    """What a file says. It is read at most once a second while somebody asks, in a thread, and parsed when it changed.

    All of it is read and compared: a time of change says nothing about two changes within its grain. A file that is
    broken or gone later does not count: what was last good goes on, and the log says so once.
    """

    _log = Logger()

    def __init__(
        self,
        path: Path,
        parse: Callable[[bytes], T],
        workers: Workers,
        reactor: Any,
        *,
        missing: bytes | None = None,
        changed: Callable[[Path], None] = lambda path: None,
    ) -> None:
        """``parse`` runs in a thread and raises ValueError with one line.

        ``missing`` is what a file that has never been there says; None where it has to be there. ``changed`` is called
        in the reactor when it was read anew.
        """
        self.path = path
        self._parse = parse
        self._workers = workers
        self.clock = reactor
        self._missing = missing
        self._changed = changed
        self._content: bytes | None = None
        self._found: tuple[T] | None = None
        self._looked = 0.0
        self._told: str | None = None
        self._look = SingleFlight(self._refresh)

    @property
    def value(self) -> T:
        """What it said when it was last looked at; `load` comes first."""
        if self._found is None:
            raise AssertionError(f"{self.path} has not been loaded")
        return self._found[0]

    @property
    def due(self) -> float:
        """When `latest` looks at it again, by `clock`."""
        return self._looked + LOOK_SECONDS

    def load(self) -> T:
        """Read it for the first time; blocks.

        :raises AccessFileError: where it cannot be used.
        """
        read = self._read()
        if read is not None:
            self._take(*read)
        self._looked = self.clock.seconds()
        return self.value

    async def latest(self) -> T:
        """What it says, or did within the last second. Fails with nothing."""
        if self.clock.seconds() >= self.due:
            try:
                await self._look.outcome().addTimeout(_PATIENCE_SECONDS, self.clock)
            except DeferredTimeout:
                self._looked = self.clock.seconds()
                self._tell(f"{self.path} could not be read within {_PATIENCE_SECONDS:g} s")
        return self.value

    async def reload(self) -> T:
        """As `latest`, but it is looked at now, whenever that was done last. All who ask at once share a look."""
        if self._look.is_under_way:
            await self.latest()  # that one may have read it before it changed
        self._looked = self.clock.seconds() - LOOK_SECONDS
        return await self.latest()

    async def _refresh(self) -> None:
        try:
            read = await self._workers.run(self._read)
        except AccessFileError as error:
            self._tell(str(error))
        else:
            if self._told is not None:
                self._log.info("{path} can be used again.", path=self.path)
            self._told = None
            if read is not None:
                self._take(*read)
                self._log.info("{path} was read anew.", path=self.path)
                self._changed(self.path)
        self._looked = self.clock.seconds()

    def _read(self) -> tuple[bytes, T] | None:
        content = _content(self.path, self._missing if self._content in (None, self._missing) else None)
        return None if content == self._content else (content, _parsed(self.path, content, self._parse))

    def _take(self, content: bytes, found: T) -> None:
        self._content = content
        self._found = (found,)

    def _tell(self, problem: str) -> None:
        if problem != self._told:
            self._log.error("{problem}. What it said before goes on.", problem=problem)
        self._told = problem


def _content(path: Path, missing: bytes | None) -> bytes:
    try:
        return read_small_file(path, FILE_MAX)
    except FileNotFoundError:
        if missing is None:
            raise AccessFileError(f"{path}: No such file or directory") from None
        return missing
    except OSError as error:
        raise AccessFileError(f"{path}: {error.strerror}") from None


def _parsed(path: Path, content: bytes, parse: Callable[[bytes], T]) -> T:
    try:
        return parse(content)
    except UnicodeDecodeError as error:
        raise AccessFileError(f"{path}: not UTF-8 at byte {error.start}") from None
    except ValueError as error:
        raise AccessFileError(f"{path}: {error}") from None


def _lock(directory: int, path: Path) -> None:
    # Whoever may read the directory can hold its lock for ever.
    until = time.monotonic() + CHANGED_SECONDS
    while True:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= until:
                raise AccessFileError(f"{path}: another program holds the lock of its directory") from None
            time.sleep(0.05)


def _replace(path: Path, content: bytes, mode: int) -> None:
    if len(content) > FILE_MAX:
        raise AccessFileError(f"{path} would be longer than {FILE_MAX} bytes; take a name out first")
    try:
        model = path.stat()
        mode = model.st_mode & 0o777
    except FileNotFoundError:
        model = path.parent.stat()
    with replacing(path, mode) as file:
        if os.geteuid() == 0:
            os.fchown(file.fileno(), model.st_uid, model.st_gid)
        file.write(content)
