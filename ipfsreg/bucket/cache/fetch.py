"""One transfer of one content from a remote bucket into a file on this disk, for everybody who wants it."""

import hashlib
from contextlib import aclosing
from enum import Enum, auto
from typing import IO, Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipfsreg.bucket.content_path import ContentPath
from ipfsreg.bucket.errors import BucketError, Corrupt, Unavailable
from ipfsreg.bucket.interface import IBucket, IReader
from ipfsreg.flow.shield import shield
from ipfsreg.flow.workers import Workers

from .cache_directory import CacheDirectory, CacheDraft

WITHHELD = 64 * 1024
"""How many last bytes are held back until the digest was found right: without them no client can use the rest."""

TO_THE_END = 1 << 62
"""The length that is asked of a reader which does not know its size: it ends its read at the content's end."""

_BEHIND = 4 * 1024 * 1024  # how many bytes may wait for the disk


class FetchState(Enum):
    """What has become of a transfer."""

    FETCHING = auto()
    WHOLE = auto()
    FAILED = auto()


class Fetch:
    """Fetches a content once. ``readable`` bytes of ``file`` may be given out; all of it where the state is `WHOLE`.

    It goes on while somebody holds it, and for ``grace`` seconds after, so that a client that comes back finds it. The
    directory keeps what is whole, unless `do_not_keep` was called.
    """

    _log = Logger()

    def __init__(
        self,
        content: ContentPath,
        bucket: IBucket,
        directory: CacheDirectory,
        workers: Workers,
        reactor: Any,
        grace: float,
    ) -> None:
        self.content = content
        self.state = FetchState.FETCHING
        self.size: int | None = None
        self.readable = 0
        self._wanted = True
        self._bucket = bucket
        self._directory = directory
        self._workers = workers
        self._reactor = reactor
        self._grace = grace
        self._failure: Failure | None = None
        self._hash = hashlib.new(content.algorithm)
        self._draft: CacheDraft | None = None
        self._receiving: Deferred[None] | None = None
        self._behind: list[bytes] = []  # what waits for the disk
        self._length_behind = 0  # with what is being written
        self._writing: Deferred[None] = succeed(None)
        self._written = 0
        self._users = 1  # its readers, and `run`
        self._leaving: IDelayedCall | None = None
        self._changed: set[Deferred[None]] = set()

    @property
    def file(self) -> IO[bytes]:
        """The file as far as it has come; for `os.pread`. There is one once ``readable`` is not 0, or it is whole."""
        assert self._draft is not None
        assert self._draft.file is not None
        return self._draft.file

    def do_not_keep(self) -> None:
        """The path is removed or moved: only those who hold it get the content."""
        self._wanted = False

    def hold(self) -> None:
        """One more reader wants the content, and the file open, until `let_go`."""
        self._users += 1
        self._stay()

    def let_go(self) -> None:
        """A reader that held it is done."""
        self._users -= 1
        if self.state is FetchState.FETCHING and self._users == 1:
            self._leaving = self._reactor.callLater(self._grace, self._left)
        self._close_unused()

    def _left(self) -> None:
        self._leaving = None
        self.fail(Unavailable("the transfer was given up, since nobody wanted it any more"))

    def _stay(self) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None

    async def readable_behind(self, offset: int) -> int:
        """Wait until ``readable`` is more than an offset, or it is whole; answers ``readable``.

        :raises BucketError: where the transfer failed.
        """
        while self.state is FetchState.FETCHING and self.readable <= offset:
            changed: Deferred[None] = Deferred(self._changed.discard)
            self._changed.add(changed)
            await changed
        self.check()
        return self.readable

    def check(self) -> None:
        """Do nothing unless the transfer failed.

        :raises BucketError: what it failed with.
        """
        if self._failure is not None:
            self._failure.raiseException()

    def fail(self, error: BucketError) -> None:
        """End it: all who hold it fail with the error. Does nothing where it is over."""
        if self.state is FetchState.FETCHING:
            self._failure = Failure(error)
            self._behind.clear()
            self._becomes(FetchState.FAILED)
            if self._receiving is not None:
                self._receiving.cancel()

    def _becomes(self, state: FetchState) -> None:
        self.state = state
        self._stay()
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, set()
        for each in list(changed):  # one that is called may cancel another
            if not each.called:
                each.callback(None)

    async def run(self) -> None:
        """Fetch, once. Never fails: the state is for that. When it is done nothing is left running."""
        try:
            await self._fetch()
        except BucketError as error:
            self.fail(error)
        except Exception:
            self._log.failure("A transfer of {path} failed", path=self.content.path)
            self.fail(Unavailable("the transfer failed in an unforeseen way; the log says how"))
        if self._draft is not None:
            await self._directory.put_away(
                self._workers, self.content.path, self._draft, lambda: self._wanted and self.state is FetchState.WHOLE
            )
        self._users -= 1
        self._close_unused()

    async def _fetch(self) -> None:
        reader = await self._bucket.open(self.content.path)
        try:
            if self.state is FetchState.FETCHING:
                self.size = reader.size
                self._draft = await self._workers.run(self._directory.create)
            if self.state is FetchState.FETCHING:
                await self._fill(reader)
        finally:
            reader.close()

    async def _fill(self, reader: IReader) -> None:
        broken: Exception | None = None
        self._receiving = Deferred.fromCoroutine(self._receive(reader))
        try:
            await self._receiving
        except Exception as error:
            broken = error
        await self._writing
        if self.state is FetchState.FAILED:
            return
        # The digest has the last word: a transfer that broke after the last byte is as good as any.
        if self._hash.hexdigest() == self.content.hex:
            self.size = self.readable = self._written
            self._becomes(FetchState.WHOLE)
        elif broken is not None:
            raise broken
        else:
            self._log.error(
                "The storage holds damaged content at {path}: {size} bytes with another digest.",
                path=self.content.path,
                size=self._written,
            )
            raise Corrupt(f"what the storage sent for {self.content.path} has another digest")

    async def _receive(self, reader: IReader) -> None:
        """Take all pieces in; no more are asked for while too many bytes wait for the disk."""
        async with aclosing(reader.pieces(0, TO_THE_END if reader.size is None else reader.size)) as pieces:
            async for piece in pieces:
                self._behind.append(piece)
                self._length_behind += len(piece)
                if self._writing.called:
                    self._writing = Deferred.fromCoroutine(self._write())
                if self._length_behind >= _BEHIND:
                    await shield(self._writing)

    async def _write(self) -> None:
        """Write until nothing waits any more."""
        assert self._draft is not None
        try:
            while self._behind and self.state is FetchState.FETCHING:
                pieces, self._behind = self._behind, []
                size = await self._workers.run(self._take, self._draft, pieces)
                self._written += size
                self._length_behind -= size
                if self._written - WITHHELD > self.readable and self.state is FetchState.FETCHING:
                    self.readable = self._written - WITHHELD
                    self._tell()
        except BucketError as error:
            self.fail(error)
        except Exception:
            self._log.failure("A content cannot be written to the cache", path=self.content.path)
            self.fail(Unavailable("the cache cannot be written; the log says why"))

    def _take(self, draft: CacheDraft, pieces: list[bytes]) -> int:
        # In a worker thread; one call at a time.
        for piece in pieces:
            self._hash.update(piece)
        self._directory.append(draft, pieces)
        return sum(map(len, pieces))

    def _close_unused(self) -> None:
        if self._users or self._draft is None or (file := self._draft.take_file()) is None:
            return
        # In a thread, for the last close of a large file without a name frees its blocks.
        if self._workers.running:
            self._workers.run(file.close).addErrback(
                lambda failure: self._log.failure("A file of the cache cannot be closed", failure)
            )
        else:
            file.close()
