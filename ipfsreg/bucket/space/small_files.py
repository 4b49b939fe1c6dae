"""What was written here into small files, so that the daemon need not open them for it to be read.

To read a file the daemon makes a plaintext copy, which it looks at ten times a second for ever. Of what was written
here the content is known: only the CID has to be asked for, to see that nobody has written something else since.
"""

import base64
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from cachetools import LRUCache
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ipfsreg.bucket.errors import BucketError
from ipfsreg.flow.durable import remove_drafts, write_durably
from ipfsreg.flow.shield import shield
from ipfsreg.flow.workers import Workers

from . import listings
from .listings import QUICK_SECONDS, Listings

MEMORY = 16 * 1024**2
DISK = 64 * 1024**2
"""Bytes, each."""

LENGTH_MAX = 256 * 1024

_OVERHEAD = 500

Kept = tuple[str, str, bytes]
"""Path, CID and content."""


class WrittenFiles:
    """The content of small files by path, each with the CID that the daemon listed after it was written.

    It is in memory and in ``file`` on this disk. A directory that the daemon lists slowly is not listed for this: then
    it rather opens the file. A path has one writer at a time, which calls `forget` before and `learn` after.
    """

    _log = Logger()

    def __init__(self, listings: Listings, file: Path, workers: Workers, clock: IReactorTime) -> None:
        self._listings = listings
        self._kept = SmallFileLog(file)
        self._workers = workers
        self._saving = DeferredLock()
        self._clock = clock
        self._files: LRUCache[str, tuple[str, bytes]] = LRUCache(
            MEMORY, getsizeof=lambda file: len(file[1]) + _OVERHEAD
        )
        self._learning: dict[str, object] = {}

    def load(self) -> None:
        """Read what earlier runs left on the disk. In a worker thread, before anything else. Raises `OSError`."""
        for path, cid, content in self._kept.load():
            self._files[path] = (cid, content)

    def forget(self, path: str) -> None:
        """The path is about to be written or removed."""
        self._files.pop(path, None)
        self._learning.pop(path, None)

    async def learn(self, path: str, content: bytes) -> None:
        """The content was just written to the path. Waits a moment until it is learned, and no longer."""
        if len(content) > LENGTH_MAX or self._is_slow(path):
            return
        with suppress(DeferredTimeout):
            await shield(self._learn(path, content)).addTimeout(QUICK_SECONDS, self._clock)

    async def _learn(self, path: str, content: bytes) -> None:
        token = self._learning[path] = object()
        try:
            cid = (await self._listings.entry(path)).ipfsHash
        except BucketError:
            cid = ""
        # Unless it is written again meanwhile, when the CID may be of either content.
        if self._learning.get(path) is token:
            del self._learning[path]
            if cid:
                self._files[path] = (cid, content)
                await self._save(path, cid, content)

    async def _save(self, path: str, cid: str, content: bytes) -> None:
        async with self._saving:
            if not self._workers.running:
                return
            try:
                await self._workers.run(self._kept.save, path, cid, content)
                if self._kept.length > DISK:
                    files = [(path, *file) for path, file in self._files.items()]
                    await self._workers.run(self._kept.write_anew, files)
            except OSError as error:
                self._log.warn("The small files cannot be kept on this disk: {error}", error=error)

    async def get(self, path: str) -> bytes | None:
        """The content, if the file is still the one that was written here.

        :raises NotFound: where there is no file any more.
        :raises BucketError: where the daemon does not say.
        """
        before = self._files.get(path)
        if (before is None and path not in self._learning) or self._is_slow(path):
            return None
        listed = Deferred.fromCoroutine(self._listings.entry(path))
        try:
            entry = await listed.addTimeout(listings.PATIENT_SECONDS, self._clock)
        except DeferredTimeout:  # it goes on, and then tells how long it takes
            return None
        now = self._files.get(path)  # it may have been learned from the same listing
        if now is not None and entry.ipfsHash == now[0]:
            return now[1]
        if now is not None and now is before:
            del self._files[path]
        return None

    def _is_slow(self, path: str) -> bool:
        return self._listings.is_slow(path.rpartition("/")[0])


class SmallFileLog:
    """Small files with their CIDs in a file of this disk: one line for each, a later one counts.

    It is a help and no record: it may be lost, lack its last lines, or tell of what was replaced since. ``length`` is
    its own in bytes, once it was read. Blocking, for worker threads.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.length = 0

    def load(self) -> Iterator[Kept]:
        """What is there, in its order. Raises `OSError`."""
        remove_drafts(self._file)
        try:
            file = self._file.open("rb")
        except FileNotFoundError:
            return
        with file:
            for line in file:
                self.length += len(line)
                kept = _read(line)  # the last one may be torn
                if kept is not None:
                    yield kept

    def save(self, path: str, cid: str, content: bytes) -> None:
        """Append a file. Raises `OSError`."""
        line = _written(path, cid, content)
        with self._file.open("ab") as file:
            file.write(line)
        self.length += len(line)

    def write_anew(self, files: Iterable[Kept]) -> None:
        """Put these in the place of all. Raises `OSError`."""
        content = b"".join(_written(*each) for each in files)
        write_durably(self._file, content)
        self.length = len(content)


def _written(path: str, cid: str, content: bytes) -> bytes:
    return json.dumps([path, cid, base64.b64encode(content).decode("ascii")]).encode("ascii") + b"\n"


def _read(line: bytes) -> Kept | None:
    try:
        path, cid, content = json.loads(line)
        if isinstance(path, str) and isinstance(cid, str) and line.endswith(b"\n"):
            return path, cid, base64.b64decode(content, validate=True)
    except (ValueError, TypeError, RecursionError):
        pass
    return None
