"""One transfer of one content from a remote bucket into a file on this disk, for everybody who wants it."""

import hashlib
from collections.abc import Callable
from typing import IO, Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IDelayedCall, IProducer, IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ipfsreg.bucket.content_path import Content
from ipfsreg.bucket.errors import BucketError, Corrupt, Unavailable
from ipfsreg.bucket.interface import IBucket
from ipfsreg.flow.streams import write_pieces
from ipfsreg.flow.workers import Workers

from .cache_directory import CacheDirectory, Draft

WITHHELD = 64 * 1024
"""How much of the end nobody gets before the digest was found right: without it no client can use the rest."""

TO_THE_END = 1 << 62
"""The length that is asked of a reader which does not know its size: it ends its read at the content's end."""

_BEHIND = 4 * 1024 * 1024
_CAUGHT_UP = 1024 * 1024


@implementer(IConsumer)
class Fetch:
    """Fetches a content once. ``readable`` bytes of ``file`` may be given out; ``whole`` says that this is all.

    It goes on while somebody holds it, and for ``grace`` seconds after, so that a client that comes back finds it.
    ``over`` is called with it as soon as nobody else may join. It ends whole or with a ``failure``, a `BucketError`.
    """

    _log = Logger()

    def __init__(
        self,
        content: Content,
        bucket: IBucket,
        directory: CacheDirectory,
        workers: Workers,
        reactor: Any,
        grace: float,
        over: Callable[["Fetch"], None],
    ) -> None:
        self.content = content
        self.size: int | None = None
        self.readable = 0
        self.whole = False
        self.failure: Failure | None = None
        self.wanted = True
        self._bucket = bucket
        self._directory = directory
        self._workers = workers
        self._reactor = reactor
        self._grace = grace
        self._over = over
        self._hash = hashlib.new(content.algorithm)
        self._draft: Draft | None = None
        self._producer: IPushProducer | None = None
        self._paused = False
        self._pieces: list[bytes] = []
        self._buffered = 0
        self._written = 0
        self._writing = False
        self._idle: Deferred[None] | None = None
        self._holders = 0
        self._running = True
        self._leaving: IDelayedCall | None = None
        self._waiting: set[Callable[[], None]] = set()

    @property
    def file(self) -> IO[bytes]:
        """The file as far as it has come; for `os.pread`. There is one once ``readable`` is not 0, or ``whole``."""
        assert self._draft is not None
        assert self._draft.file is not None
        return self._draft.file

    def hold(self) -> None:
        """Somebody more wants the content, and the file open, until `let_go`."""
        self._holders += 1
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None

    def let_go(self) -> None:
        """One who held it does not any more."""
        self._holders -= 1
        if self._holders == 0 and self._running and not self.whole and self.failure is None:
            self._leaving = self._reactor.callLater(self._grace, self._left)
        self._close_unused()

    def _left(self) -> None:
        self._leaving = None
        self.fail(Unavailable("the transfer was given up, since nobody wanted it any more"))

    def when_changed(self, call: Callable[[], None]) -> None:
        """Have ``call`` called once, at the next change of ``readable``, ``whole`` or ``failure``."""
        self._waiting.add(call)

    def not_waiting(self, call: Callable[[], None]) -> None:
        """Take back a `when_changed`."""
        self._waiting.discard(call)

    def fail(self, error: BucketError) -> None:
        """End it: all who hold it fail with the error. Does nothing where it is over."""
        if self.whole or self.failure is not None:
            return
        self.failure = Failure(error)
        self._finished()
        self._pieces.clear()
        if self._producer is not None:
            self._producer.stopProducing()
        self._changed()
        self._look_whether_idle()

    async def run(self) -> None:
        """Fetch. Never fails: ``failure`` is for that. When it is done nothing is left running."""
        try:
            await self._fetch()
        except BucketError as error:
            self.fail(error)
        except Exception:
            self._log.failure("A transfer of {path} failed", path=self.content.path)
            self.fail(Unavailable("the transfer failed in an unforeseen way; the log says how"))
        if self._draft is not None:
            await self._put_away(self._draft)
        self._running = False
        if self.failure is None:
            self._over(self)
        self._close_unused()

    async def _fetch(self) -> None:
        reader = await self._bucket.open(self.content.path)
        try:
            if self.failure is not None:
                return
            self.size = reader.size
            self._draft = await self._workers.run(self._directory.create)
            if self.failure is None:
                pieces = reader.pieces(0, TO_THE_END if reader.size is None else reader.size)
                await self._read(Deferred.fromCoroutine(write_pieces(self, pieces)))
        finally:
            reader.close()

    async def _read(self, reading: "Deferred[None]") -> None:
        ended: Exception | None = None
        try:
            await reading
        except Exception as error:
            ended = error
        await self._all_written()
        if self.failure is not None:
            return
        # The digest has the last word: a transfer that broke after the last byte is as good as any.
        if self._hash.hexdigest() == self.content.hex:
            self.size = self.readable = self._written
            self.whole = True
            self._finished()
            self._changed()
        elif ended is not None:
            raise ended
        else:
            self._log.error(
                "The storage holds damaged content at {path}: {size} bytes with another digest.",
                path=self.content.path,
                size=self._written,
            )
            raise Corrupt(f"what the storage sent for {self.content.path} has another digest")

    async def _put_away(self, draft: Draft) -> None:
        try:
            if self.whole:
                await self._workers.run(self._directory.keep, self.content.path, draft, lambda: self.wanted)
            else:
                await self._workers.run(self._directory.discard, draft)
        except OSError:  # whoever reads it has the open file; the next one fetches it again
            self._log.failure("A content cannot be kept in the cache", path=self.content.path)

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """See `IConsumer`. It must be a push producer."""
        assert streaming
        self._producer = cast(IPushProducer, producer)
        if self.failure is not None:
            producer.stopProducing()

    def unregisterProducer(self) -> None:
        """See `IConsumer`."""
        self._producer = None

    def write(self, data: bytes) -> None:
        """See `IConsumer`. The producer is paused while the disk is behind."""
        if self.failure is not None:
            return
        self._pieces.append(data)
        self._buffered += len(data)
        if self._buffered >= _BEHIND and not self._paused and self._producer is not None:
            self._paused = True
            self._producer.pauseProducing()
        self._write_next()

    def _write_next(self) -> None:
        if self._writing or not self._pieces:
            self._look_whether_idle()
            return
        assert self._draft is not None
        pieces, self._pieces = self._pieces, []
        self._writing = True
        self._workers.run(self._take, self._draft, pieces).addCallbacks(self._wrote, self._not_wrote)

    def _take(self, draft: Draft, pieces: list[bytes]) -> int:
        # In a worker thread; one call at a time.
        size = 0
        for piece in pieces:
            self._hash.update(piece)
            size += len(piece)
        self._directory.append(draft, pieces)
        return size

    def _wrote(self, size: int) -> None:
        self._writing = False
        self._written += size
        self._buffered -= size
        if self.failure is None:
            if self._written - WITHHELD > self.readable:
                self.readable = self._written - WITHHELD
                self._changed()
            if self._paused and self._buffered <= _CAUGHT_UP and self._producer is not None:
                self._paused = False
                self._producer.resumeProducing()
        self._write_next()

    def _not_wrote(self, failure: Failure) -> None:
        self._writing = False
        if isinstance(failure.value, BucketError):
            self.fail(failure.value)
        else:
            self._log.failure("A content cannot be written to the cache", failure, path=self.content.path)
            self.fail(Unavailable("the cache cannot be written; the log says why"))
        self._look_whether_idle()

    def _all_written(self) -> "Deferred[None]":
        self._idle = idle = Deferred[None]()
        self._look_whether_idle()
        return idle

    def _look_whether_idle(self) -> None:
        if self._idle is not None and not self._writing and not self._pieces:
            idle, self._idle = self._idle, None
            idle.callback(None)

    def _finished(self) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
        if self.failure is not None:
            self._over(self)

    def _changed(self) -> None:
        waiting, self._waiting = self._waiting, set()
        for call in waiting:
            call()

    def _close_unused(self) -> None:
        if self._running or self._holders or self._draft is None or self._draft.file is None:
            return
        file, self._draft.file = self._draft.file, None
        # In a thread, for the last close of a large file without a name frees its blocks.
        if self._workers.running:
            self._workers.run(file.close).addErrback(
                lambda failure: self._log.failure("A file of the cache cannot be closed", failure)
            )
        else:
            file.close()
