"""A wrapper that keeps content of a remote bucket on this disk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipfsreg.bucket.cache.hits import Hits
from ipfsreg.bucket.content_path import ContentPath, content_at
from ipfsreg.bucket.errors import SetupError, Unavailable
from ipfsreg.bucket.file_reader import FileReader
from ipfsreg.bucket.interface import IBucket, IReader, Stat
from ipfsreg.bucket.wrapper import BucketWrapper
from ipfsreg.flow.workers import Workers

from .cache_directory import CacheDirectory
from .fetch import Fetch, FetchState
from .growing_reader import open_growing


class DiskCache(BucketWrapper):
    """A bucket that keeps the content at content-addressed paths (`content_at`) in a directory on this disk.

    `open` answers from it without asking the wrapped bucket; content that it does not have is fetched once for
    all who want it, and goes to them while it arrives. `put_file` keeps what it stored. Everything else goes to
    the wrapped bucket. This daemon must remove and move files through here only.

    ``maximum`` bounds the directory, in bytes; what was not used for longest goes first. What is larger is fetched
    and served, and not kept. The directory must be this cache's own; for `put_file` to keep anything it has to
    be on the file system of the sources, whose content is taken to be verified. A fetch that nobody waits for any
    more is given up after ``grace`` seconds.

    The wrapped bucket's readers that know no size are asked for `TO_THE_END` bytes, and end their `read` at the
    content's end.
    """

    _log = Logger()

    def __init__(
        self, bucket: IBucket, directory: Path, maximum: int, workers: Workers, reactor: Any, grace: float = 10.0
    ) -> None:
        super().__init__(bucket)
        self._where = directory
        self._directory = CacheDirectory(directory, maximum)
        self._workers = workers
        self._reactor = reactor
        self._grace = grace
        self._stopped = False
        self.hits = Hits()
        """How often content that was asked for was here, or on its way."""
        self._fetches: dict[str, Fetch] = {}
        self._running: dict[Fetch, Deferred[None]] = {}
        self._storing: dict[str, set[_Storing]] = {}

    def start(self) -> "Deferred[None]":
        """See `IBucket.start`. `SetupError` also where the directory cannot be used."""
        return ensureDeferred(self._start())

    async def _start(self) -> None:
        self._stopped = False
        try:
            await self._workers.run(self._directory.prepare)
        except OSError as error:
            raise SetupError(f"cannot use the cache directory {self._where}: {error.strerror}") from None
        await self._bucket.start()

    def stop(self) -> "Deferred[None]":
        """See `IBucket.stop`. What waits for a transfer fails with `Unavailable`."""
        return ensureDeferred(self._stop())

    async def _stop(self) -> None:
        self._stopped = True
        for fetch in list(self._running):
            fetch.fail(Unavailable("the daemon is stopping"))
        # At the same time: a fetch may wait for an answer that only the end of the bucket brings.
        ends = await DeferredList([self._bucket.stop(), *self._running.values()], consumeErrors=True)
        for _, result in ends:
            if isinstance(result, Failure):
                result.raiseException()

    def open(self, path: str) -> "Deferred[IReader]":
        """See `IBucket.open`.

        Fails also with `Corrupt`, or at the reader's `read` where the content is longer than `WITHHELD`, and with
        `Full` where this disk has no room for it.
        """
        content = content_at(path)
        if content is None:
            return self._bucket.open(path)
        return ensureDeferred(self._open(content))

    async def _open(self, content: ContentPath) -> IReader:
        counted = self.hits
        here = content.path in self._fetches or self._directory.size(content.path) is not None
        counted.hits, counted.misses = counted.hits + here, counted.misses + (not here)
        while not self._stopped:
            fetch = self._fetches.get(content.path)
            if fetch is not None and fetch.state is FetchState.FAILED:
                fetch = None
            if fetch is None and self._directory.size(content.path) is None:
                fetch = self._begin(content)
            if fetch is not None:
                return await open_growing(fetch, self._workers)
            file = await self._workers.run(self._directory.open, content.path)
            if file is not None:
                reader: IReader = FileReader(file, self._workers)
                return reader
        raise Unavailable("the daemon is stopping")

    def _begin(self, content: ContentPath) -> Fetch:
        fetch = Fetch(content, self._bucket, self._directory, self._workers, self._reactor, self._grace)
        self._fetches[content.path] = fetch
        # The caller holds it from the first moment, also where all of this happens at once.
        running = ensureDeferred(fetch.run())
        self._running[fetch] = running

        def ended(result: None | Failure) -> None:
            del self._running[fetch]
            if self._fetches.get(content.path) is fetch:
                del self._fetches[content.path]
            if isinstance(result, Failure):
                self._log.failure("A transfer ended in an unforeseen way", result)

        running.addBoth(ended)
        return fetch

    def stat(self, path: str) -> "Deferred[Stat]":
        """See `IBucket.stat`. The wrapped bucket is asked; a size that it does not know may come from here."""
        return self._bucket.stat(path).addCallback(self._with_size, path)

    def _with_size(self, found: Stat, path: str) -> Stat:
        if found.size is not None:
            return found
        return Stat(self._directory.size(path), found.cid)

    def put_file(self, path: str, source: Path) -> "Deferred[None]":
        if content_at(path) is None:
            return self._bucket.put_file(path, source)
        return ensureDeferred(self._put_file(path, source))

    async def _put_file(self, path: str, source: Path) -> None:
        storing = _Storing()
        self._storing.setdefault(path, set()).add(storing)
        draft = None
        try:
            # A second name for the file: the wrapped bucket does away with the first one when it has stored it.
            draft = await self._workers.run(self._directory.link, source)
            await self._bucket.put_file(path, source)
        except Exception:
            storing.do_not_keep()
            raise
        finally:
            if draft is not None:
                await self._directory.put_away(self._workers, path, draft, lambda: storing.wanted)
            self._storing[path].discard(storing)
            if not self._storing[path]:
                del self._storing[path]

    def move(self, source: str, destination: str) -> "Deferred[None]":
        return ensureDeferred(self._change(lambda: self._bucket.move(source, destination), source, destination))

    def remove(self, path: str) -> "Deferred[None]":
        return ensureDeferred(self._change(lambda: self._bucket.remove(path), path))

    async def _change(self, change: "Callable[[], Deferred[None]]", *paths: str) -> None:
        try:
            await change()
        finally:
            await self._forget(*paths)

    async def _forget(self, *paths: str) -> None:
        for path in paths:
            fetch = self._fetches.pop(path, None)
            if fetch is not None:
                fetch.do_not_keep()
            for storing in self._storing.get(path, ()):
                storing.do_not_keep()
            if content_at(path) is not None:
                await self._workers.run(self._directory.drop, path)


class _Storing:
    """A `put_file` under way; ``wanted`` until the path is removed or moved meanwhile."""

    wanted = True

    def do_not_keep(self) -> None:
        self.wanted = False
