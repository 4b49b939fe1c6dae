"""The files of a disk cache: which there are, how much they take, and which goes first.

Blocking functions, safe from several threads at once: they run in worker threads. Below the directory, ``kept`` has
the whole files, ``drafts`` those that are not whole yet. What remains of a killed daemon in ``drafts`` is thrown
away at the next start; a file gets into ``kept`` only after its fsync.
"""

import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from threading import Lock
from typing import IO
from urllib.parse import quote, unquote

from twisted.logger import Logger

from ipfsreg.bucket.errors import NO_ROOM, BucketError, Full, Unavailable
from ipfsreg.flow.durable import closing
from ipfsreg.flow.workers import Workers

TOUCH_EVERY = 60.0
"""A file's modification time says when it was last used, exact to this many seconds: a write for each use would
cost more than a restart in slightly the wrong order."""

_BLOCK = 4096


def cost(size: int) -> int:
    """What a file of ``size`` bytes counts for: whole blocks, and one at least, so that small files count too."""
    return max(1, -(-size // _BLOCK)) * _BLOCK


def cache_disk_error(error: OSError) -> BucketError:
    """The bucket's error for one of the cache's disk. Nothing that happens here means that content is missing."""
    if error.errno in NO_ROOM:
        return Full(f"no space left for the cache: {error}")
    return Unavailable(f"the cache's disk does not answer as it should: {error}")


@dataclass(slots=True)
class CacheDraft:
    """A file that is not kept yet. ``reserved`` is for how many bytes room was made, and is taken by it."""

    path: Path
    file: IO[bytes] | None
    reserved: int = 0

    def take_file(self) -> IO[bytes] | None:
        """The open file, which is the caller's to close; None where it was taken already, or never open."""
        file, self.file = self.file, None
        return file

    def reserve(self, length: int) -> None:
        """Room was made for so many bytes more."""
        self.reserved += length

    def release(self) -> int:
        """Give all the room back; answers how much it was."""
        reserved, self.reserved = self.reserved, 0
        return reserved


@dataclass(slots=True)
class _Entry:
    name: str
    size: int
    touched: float

    def touch(self, file: IO[bytes], now: float) -> None:
        if now - self.touched >= TOUCH_EVERY:
            os.utime(file.fileno(), (now, now))
            self.touched = now


class CacheDirectory:
    """At most ``maximum`` bytes of whole files and drafts in a directory that nobody else uses.

    Where room is needed the least recently used file is removed; readers that have it open go on. Only drafts alone
    can exceed the maximum, for what is being fetched has to go somewhere. ``clock`` is in seconds since 1970.
    """

    _log = Logger()

    def __init__(self, directory: Path, maximum: int, clock: Callable[[], float] = time.time) -> None:
        self._kept = directory / "kept"
        self._drafts = directory / "drafts"
        self._maximum = maximum
        self._clock = clock
        self._lock = Lock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._used = 0

    @property
    def used(self) -> int:
        """How many bytes the whole files and the drafts take now, as `cost` counts them."""
        return self._used

    def paths(self) -> Sequence[str]:
        """The paths of the files that are kept; the next one to go is the first."""
        with self._lock:
            return list(self._entries)

    def size(self, path: str) -> int | None:
        """The length of a kept file, or None. It does not wait for anything: the reactor may ask."""
        entry = self._entries.get(path)
        return None if entry is None else entry.size

    def prepare(self) -> None:
        """Create the directory, or find what an earlier daemon left in it. Raises `OSError`."""
        self._make_directories()
        for each in self._drafts.iterdir():
            each.unlink()
        with self._change() as gone:
            self._entries.clear()
            self._used = 0
            for path, entry in sorted(self._found(), key=lambda found: found[1].touched):
                self._pop(path, gone)
                self._add(path, entry)

    def _found(self) -> Iterable[tuple[str, _Entry]]:
        with os.scandir(self._kept) as files:
            for file in files:
                status = file.stat(follow_symlinks=False)
                quoted, *rest = file.name.rsplit(".", 2)
                # A length that is not the name's is the work of a broken file system: not to be served.
                if len(rest) == 2 and rest[0] == str(status.st_size) and S_ISREG(status.st_mode):
                    yield unquote(quoted), _Entry(file.name, status.st_size, status.st_mtime)
                else:
                    os.unlink(file.path)

    def open(self, path: str) -> IO[bytes] | None:
        """Open a kept file for reading and note its use, or None where it is not kept (any more)."""
        with self._change() as gone:
            entry = self._entries.get(path)
            if entry is None:
                return None
            with suppress(OSError):  # somebody else's doing, or a dying disk: the content is fetched anew
                file: IO[bytes] = (self._kept / entry.name).open("rb", buffering=0)
                if os.fstat(file.fileno()).st_size == entry.size:
                    self._entries.move_to_end(path)
                    entry.touch(file, self._clock())
                    return file
                file.close()
            self._pop(path, gone)
        return None

    def create(self) -> CacheDraft:
        """Begin a file. :raises BucketError: where that cannot be done."""
        try:
            self._make_directories()
            path = self._drafts / secrets.token_hex(16)
            return CacheDraft(path, path.open("xb+", buffering=0))
        except OSError as error:
            raise cache_disk_error(error) from error

    def link(self, source: Path) -> CacheDraft | None:
        """Give a file of somebody else's a second name here; None where it cannot have one (another file system)."""
        draft = self._drafts / secrets.token_hex(16)
        try:
            os.link(source, draft)
        except OSError:
            return None
        return CacheDraft(draft, None)

    def append(self, draft: CacheDraft, pieces: Iterable[bytes]) -> None:
        """Write to the end of a draft; room is made for it.

        :raises Full: where the disk is full and nothing is left to evict.
        :raises Unavailable: where the disk fails otherwise.
        """
        assert draft.file is not None
        descriptor = draft.file.fileno()
        for piece in pieces:
            offset = draft.reserved
            with self._change():
                draft.reserve(len(piece))
                self._used += len(piece)
            data = memoryview(piece)
            while data:
                try:
                    written = os.pwrite(descriptor, data, offset)
                except OSError as error:
                    if error.errno in NO_ROOM and self.evict_one():
                        continue
                    raise cache_disk_error(error) from error
                data = data[written:]
                offset += written

    def keep(self, path: str, draft: CacheDraft, wanted: Callable[[], bool]) -> None:
        """Make a draft the kept file of a path, unless it is no longer ``wanted`` or is larger than all there may be.

        The draft is gone afterwards, and what was kept for the path is replaced. Raises `OSError`.
        """
        try:
            if not wanted():
                return
            size = self._sync(draft)
            now = self._clock()
            os.utime(draft.path, (now, now))
            entry = _Entry(f"{quote(path, safe='')}.{size}.{secrets.token_hex(8)}", size, now)
            with self._change() as gone:
                # Asked under the lock: a `drop` either comes later and finds the file, or is seen here.
                if not wanted():
                    return
                fits = cost(size) <= self._maximum  # else all others would go for nothing
                if fits:
                    os.rename(draft.path, self._kept / entry.name)
                self._pop(path, gone)
                self._used -= draft.release()
                if fits:
                    self._add(path, entry)
        finally:
            self.discard(draft)

    async def put_away(self, workers: Workers, path: str, draft: CacheDraft, wanted: Callable[[], bool]) -> None:
        """`keep` in a thread. A disk that fails is only logged: readers have the file open, the next one fetches."""
        try:
            await workers.run(self.keep, path, draft, wanted)
        except OSError:
            self._log.failure("{path} cannot be kept in the cache", path=path)

    def _sync(self, draft: CacheDraft) -> int:
        with closing(os.open(draft.path, os.O_RDONLY)) as descriptor:
            os.fsync(descriptor)
            return os.fstat(descriptor).st_size

    def discard(self, draft: CacheDraft) -> None:
        """Remove a draft's name and give its room back; its file stays open. A second call does nothing."""
        with self._lock:
            self._used -= draft.release()
        draft.path.unlink(missing_ok=True)

    def drop(self, path: str) -> None:
        """Forget what is kept for a path."""
        with self._change() as gone:
            self._pop(path, gone)

    def evict_one(self) -> bool:
        """Remove the file whose last use is longest ago; False where none is left."""
        with self._change() as gone:
            self._pop(next(iter(self._entries), ""), gone)
            return bool(gone)

    def _make_directories(self) -> None:
        self._kept.mkdir(parents=True, exist_ok=True)
        self._drafts.mkdir(exist_ok=True)

    @contextmanager
    def _change(self) -> Iterator[list[str]]:
        """A step of which nobody sees a half; then what is too much goes. The files that are named are removed."""
        gone: list[str] = []
        with self._lock:
            yield gone
            while self._used > self._maximum and self._entries:
                self._pop(next(iter(self._entries)), gone)
        # Outside the lock, since a large file takes its time to go. No name is ever used twice.
        for name in gone:
            (self._kept / name).unlink(missing_ok=True)

    def _add(self, path: str, entry: _Entry) -> None:
        self._entries[path] = entry
        self._used += cost(entry.size)

    def _pop(self, path: str, gone: list[str]) -> None:
        entry = self._entries.pop(path, None)
        if entry is not None:
            self._used -= cost(entry.size)
            gone.append(entry.name)
