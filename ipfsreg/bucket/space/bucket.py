"""A bucket of a Space Daemon on this machine."""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

from cachetools import LRUCache
from twisted.internet.defer import Deferred, DeferredLock, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from ipfsreg.bucket.content_path import content_at
from ipfsreg.bucket.errors import BucketError, Corrupt, NotFound, SetupError, Unavailable, Unreachable
from ipfsreg.bucket.file_reader import FileReader
from ipfsreg.bucket.interface import Entry, IBucket, IReader, Listing, Stat, check_path, walk_by_listing
from ipfsreg.flow.background import Background
from ipfsreg.flow.retry import retry
from ipfsreg.flow.workers import Workers

from .adding import ADD_SECONDS_PER_MEBIBYTE, Adder
from .bucket_finder import BucketFinder, KnownBuckets
from .client import SpaceClient
from .copies import is_wrong, open_copy, read_copy, save_copy
from .errors import NotReady, SpaceBucketGone
from .hedge import hedged
from .listings import KEEP, Listings
from .options import SpaceOptions
from .path_locks import PathLocks
from .proto import space_pb2
from .sizes import SizeIndex, digest_of_link
from .small_files import WrittenFiles
from .staging import Staging

T = TypeVar("T")

OPEN_AGAIN_SECONDS = 5.0
"""After how long without an answer a file is opened once more beside that: sometimes the daemon never answers.

Opening takes it less where it has the file (docs/protocols/space.md, "Opening files").
"""

OPEN_AGAIN_SECONDS_PER_MEBIBYTE = 0.1
"""By how much later a large file is: the daemon answers when its copy is whole, and each try makes one."""

LOGGED_MAX = 1000
"""For how many wrong copies it is remembered that they are in the log already."""


@implementer(IBucket)
class SpaceBucket:
    """See `IBucket`. Others may see and change the bucket through the same daemon, and through those it is shared with.

    What is opened is the daemon's own plaintext copy, which nobody has verified: `DiskCache` does that.
    """

    shared = True

    _log = Logger()

    def __init__(self, options: SpaceOptions, client: SpaceClient, workers: Workers, clock: IReactorTime) -> None:
        self.name = f"bucket {options.bucket} of the Space Daemon at {options.url}"
        self.slug = options.bucket
        self.client = client
        self._options = options
        self._workers = workers
        self._clock = clock
        known = KnownBuckets(options.path / "space-buckets")
        self._finder = BucketFinder(client, self.slug, known, workers, clock)
        self._looking = Background(f"look for {self.name}", self._look)
        self._staging = Staging(options.staging)
        self._changing = DeferredLock()
        self._adder = Adder(client, self.slug, self._staging, workers, self._changing)
        self.listings = Listings(client, self.slug, clock)
        self._sizes = SizeIndex(options.path / "sizes")
        self._small_files = WrittenFiles(self.listings, options.path / "small-files", workers, clock)
        self._locks = PathLocks()
        self._logged: LRUCache[str, None] = LRUCache(LOGGED_MAX)

    def start(self) -> "Deferred[None]":
        """See `IBucket.start`. The bucket is looked for, or made, in the background and with each request."""
        return ensureDeferred(self._start())

    async def _start(self) -> None:
        problem = self._options.problem()
        if problem is not None:
            raise SetupError(problem)
        for warning in self._options.warnings():
            self._log.warn("{warning}", warning=warning)
        await self._workers.run(self._staging.prepare)
        try:
            await self._workers.run(self._sizes.load)
            await self._workers.run(self._small_files.load)
        except OSError as error:
            raise SetupError(f"cannot use {self._options.path}: {error.strerror}; change `path`") from None
        self._looking.start()

    def stop(self) -> "Deferred[None]":
        self._looking.stop()
        return ensureDeferred(self.client.stop())

    async def _look(self) -> None:
        def not_yet(error: BucketError) -> None:
            self._log.debug("Cannot find {name} yet: {error}", name=self.name, error=error)

        await retry(self._clock, self._finder.found, BucketError, not_yet)
        self._log.info("Using {name}.", name=self.name)

    def stat(self, path: str) -> "Deferred[Stat]":
        """See `IBucket.stat`. The daemon tells sizes that are right for short files only, so none is passed on."""
        return self._when_found(lambda: self._stat(path), path)

    def get(self, path: str, limit: int) -> "Deferred[bytes]":
        return self._when_found(lambda: self._get(path, limit), path)

    def open(self, path: str) -> "Deferred[IReader]":
        return self._when_found(lambda: self._open(path), path)

    def put(self, path: str, content: bytes) -> "Deferred[None]":
        return self._when_found(lambda: self._put(path, content), path)

    def put_file(self, path: str, source: Path) -> "Deferred[None]":
        return self._when_found(lambda: self._put_file(path, source), path)

    def move(self, source: str, destination: str) -> "Deferred[None]":
        """See `IBucket.move`. The daemon has no such thing: the file is added again and then removed."""
        return self._when_found(lambda: self._move(source, destination), source, destination)

    def remove(self, path: str) -> "Deferred[None]":
        return self._when_found(lambda: self._remove_in_turn(path), path)

    def list(self, directory: str) -> "Deferred[Sequence[Entry]]":
        return self._when_found(lambda: self._list(directory), directory)

    def walk(self, directory: str, into: Callable[[str], bool] | None = None) -> AsyncIterator[Sequence[Listing]]:
        return walk_by_listing(self.list, directory, into)

    async def ensure(self) -> None:
        """See to it that the daemon has the bucket, before it is named in a call. Fails with a `BucketError`."""
        await self._finder.ensure()

    def _when_found(self, operation: Callable[[], Awaitable[T]], *paths: str) -> "Deferred[T]":
        for path in paths:
            check_path(path)
        return ensureDeferred(self._on_found(operation))

    async def _on_found(self, operation: Callable[[], Awaitable[T]]) -> T:
        await self.ensure()
        try:
            return await operation()
        except (Unreachable, NotReady, SpaceBucketGone):
            # A daemon that was started anew makes all calls wait, and may be another one.
            self._finder.forget()
            self.listings.forget()
            raise

    async def _stat(self, path: str) -> Stat:
        if (await self.listings.entry(path)).isDir:
            raise NotFound(f"{path} is a directory")
        return Stat(None)

    async def _get(self, path: str, limit: int) -> bytes:
        digest = digest_of_link(path)
        if digest is not None:
            await self._stat(path)
            known = self._sizes.get(digest)
            if known is not None and len(known) <= limit:
                return known
        else:
            remembered = await self._small_files.get(path)
            if remembered is not None and len(remembered) <= limit:
                return remembered
        location = await self._location(path)
        content = await self._workers.run(read_copy, location, limit)
        if await self._workers.run(is_wrong, path, content):
            self._log_wrong(path, location)
        await self._learn(path, content)
        return content

    def _log_wrong(self, path: str, location: str) -> None:
        # The caller decides what comes of it; only here it is known which copy it was.
        if location not in self._logged:
            self._logged[location] = None
            self._log.error(
                "The copy {location} of {path} is not what was stored there. Somebody changed it, or the content is "
                "damaged in the bucket: stop the Space Daemon, delete that copy, start it; if that does not help, run "
                "`ipfsreg verify` and push again.",
                location=location,
                path=path,
            )

    async def _open(self, path: str) -> IReader:
        file = await self._workers.run(open_copy, await self._large_location(path))
        reader: IReader = FileReader(file, self._workers)
        return reader

    async def _large_location(self, path: str) -> str:
        # The daemon answers when the copy is whole, so how long that may take goes by the size, roughly known.
        content = content_at(path)
        size = None if content is None else self._sizes.length(f"{content.algorithm}:{content.hex}")
        if size is None:
            entry = await self.listings.entry(path)
            if entry.isDir:
                raise NotFound(f"{path} is a directory")
            size = int(entry.sizeInBytes) if entry.sizeInBytes.isdecimal() else 0
        return await self._location(path, size)

    async def _location(self, path: str, size: int = 0) -> str:
        """The daemon's plaintext copy of a file. It must not be touched: see `copies`."""
        request = space_pb2.OpenFileRequest(path=path, bucket=self.slug)
        mebibytes = size / 1024**2
        deadline = self.client.timeout + ADD_SECONDS_PER_MEBIBYTE * mebibytes
        patience = OPEN_AGAIN_SECONDS + OPEN_AGAIN_SECONDS_PER_MEBIBYTE * mebibytes

        def call() -> Coroutine[Any, Any, space_pb2.OpenFileResponse]:
            return self.client.call("OpenFile", request, space_pb2.OpenFileResponse, deadline=deadline)

        for again in (True, False):
            try:
                return (await hedged(self._clock, patience, call)).location
            except Corrupt:
                # The daemon says so as well where fetching it failed, by which of the two comes first.
                if not again:
                    raise
            except (NotFound, Unreachable, NotReady, SpaceBucketGone):
                raise
            except Unavailable:
                # It may be a directory: only a listing made now tells for sure.
                self.listings.changed(path.rpartition("/")[0])
                await self._stat(path)
                if not again:
                    raise
        raise AssertionError

    async def _put(self, path: str, content: bytes) -> None:
        async with self._locks.of(path):
            await self._add(path, content, len(content))
            if digest_of_link(path) is None:
                await self._small_files.learn(path, content)
            else:
                await self._learn(path, content)

    async def _put_file(self, path: str, source: Path) -> None:
        size = (await self._workers.run(source.stat)).st_size
        async with self._locks.of(path):
            await self._add(path, source, size)
        await self._workers.run(source.unlink, True)

    async def _add(self, path: str, source: Path | bytes, size: int) -> None:
        directory = path.rpartition("/")[0]
        async with self._locks.adding(directory):
            self._small_files.forget(path)
            try:
                await self._adder.add(path, source, size)
            finally:
                self.listings.changed(directory)

    async def _learn(self, path: str, content: bytes) -> None:
        digest = digest_of_link(path)
        line = None if digest is None else self._sizes.learn(digest, content)
        if line is not None:
            try:
                await self._workers.run(self._sizes.save, line)
            except OSError as error:
                self._log.warn("The index of sizes cannot be written: {error}", error=error)

    async def _move(self, source: str, destination: str) -> None:
        async with self._locks.of(source, destination):
            location = await self._large_location(source)
            if source == destination:
                return
            draft = await self._workers.run(self._staging.place, "moved", b"")
            try:
                await self._workers.run(draft.unlink)
                size = await self._workers.run(save_copy, location, draft)
                await self._add(destination, draft, size)
            finally:
                await self._workers.run(self._staging.remove, draft)
            await self._remove(source)

    async def _remove_in_turn(self, path: str) -> None:
        async with self._locks.of(path):
            await self._remove(path)

    async def _remove(self, path: str) -> None:
        """Remove a file, and with it in the same call the directories that have nothing else in them."""
        gone = path
        directory = path.rpartition("/")[0]
        async with AsyncExitStack() as stack:
            held = bool(directory) and await stack.enter_async_context(self._locks.removing(directory))
            if held:
                self.listings.changed(directory)
            if (await self.listings.entry(path)).isDir:  # the daemon would remove all of it
                raise NotFound(f"{path} is a directory")
            while held and await self._has_only(directory, gone):
                gone = directory
                directory = directory.rpartition("/")[0]
                held = bool(directory) and await stack.enter_async_context(self._locks.removing(directory))
                if held:
                    self.listings.changed(directory)
            self._small_files.forget(path)
            request = space_pb2.RemoveDirOrFileRequest(path=gone, bucket=self.slug)
            try:
                async with self._changing:
                    await self.client.call("RemoveDirOrFile", request, space_pb2.RemoveDirOrFileResponse)
            finally:
                self.listings.changed(path.rpartition("/")[0])

    async def _has_only(self, directory: str, path: str) -> bool:
        return [f"{directory}/{entry.name}" for entry in await self.listings.of(directory)] == [path]

    async def _list(self, directory: str) -> Sequence[Entry]:
        return sorted(
            Entry(entry.name, entry.isDir) for entry in await self.listings.of(directory) if entry.name != KEEP
        )
