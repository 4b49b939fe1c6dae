"""Bytes on their way in: hashed and written to a file in threads, with the sender held back meanwhile."""

import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IConsumer, IProducer, IPushProducer, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from ipfsreg.bucket.capabilities import TakesAhead, TellsLeaves
from ipfsreg.bucket.errors import Full
from ipfsreg.bucket.spool_format import PLAIN_SPOOL, SpoolFormat
from ipfsreg.flow.workers import Workers
from ipfsreg.registry.content.content_hash import ContentHash
from ipfsreg.registry.errors import ContentTooLarge, UnfinishedTooLarge
from ipfsreg.registry.repository.blobs import Blobs

from .session_files import OpenFile, state_of
from .unfinished import Unfinished

WRITTEN_AT_ONCE = 256 * 1024
"""Bytes are handed to a thread in pieces of at least this length, so that the hand-over costs little."""

JOINED_BELOW = 16 * 1024
"""What comes in smaller pieces is put together first."""

UNWRITTEN_MAX = 1024 * 1024
"""The sender is paused while more than this many bytes wait for the disk."""

SYNC_EVERY = 64 * 1024 * 1024
"""After so many bytes the disk is made to catch up, so that the sync at the end finds little to do."""


@dataclass(frozen=True, slots=True)
class UploadEnvironment:
    """What all sessions use. ``max_blob_size`` is in bytes (None: any).

    ``ahead`` is told of what sessions bring while they bring it. What ``teller`` tells later is not computed here, and
    without ``dags`` nobody wants it. ``form`` is that of the sessions' files.
    """

    blobs: Blobs
    workers: Workers
    clock: IReactorTime
    max_blob_size: int | None = None
    ahead: TakesAhead | None = None
    teller: TellsLeaves | None = None
    dags: bool = True
    form: SpoolFormat = PLAIN_SPOOL

    def new_hash(self) -> ContentHash:
        """That of a session that has received nothing."""
        return ContentHash(chunks=self.dags and (self.teller is None or not self.teller.tells()))


@implementer(IConsumer)
class SpoolWriter:
    """Appends to a file what is written to it, in order, and hashes it on the way.

    A consumer: it pauses its producer while the disk is behind. The file has ``offset`` bytes of content; ``hash_`` is
    that of these, and changes. ``grown`` is told whenever it has grown how much of it will stay; where there is one,
    somebody else stores the bytes, and the disk is not made to.
    """

    def __init__(
        self,
        environment: UploadEnvironment,
        file: OpenFile,
        offset: int,
        hash_: ContentHash,
        grown: Callable[[int], None] | None,
        unfinished: Unfinished,
    ) -> None:
        self._unfinished = unfinished
        self._workers = environment.workers
        self._clock = environment.clock
        self._limit = environment.max_blob_size
        self._grown = grown
        self._descriptor = file.descriptor
        self._appender = file.appender
        self.accepted = self._offset = offset
        """Where the file ends when everything is in it that was taken."""
        self._hash = hash_
        self.state = file.after
        """That of the file after the last write."""
        self.altered = False
        """Whether somebody else wrote to the file meanwhile, so that the hash is not that of what is in it."""
        self._last_write = environment.clock.seconds()
        self._waiting: list[bytes | bytearray] = []
        self._waiting_length = 0
        self._writing = False
        self._refusal: Exception | None = None
        self._disk_error: BaseException | None = None
        self._producer: IPushProducer | None = None
        self._paused = False
        self._unsynced = 0
        self._syncing: Deferred[None] | None = None
        self._idle: Deferred[None] | None = None

    @property
    def offset(self) -> int:
        """How many bytes are in the file."""
        return self._offset

    @property
    def hash(self) -> ContentHash:
        """The hash of what is in the file."""
        return self._hash

    def silent_for(self, seconds: float) -> bool:
        """Whether nothing came for so long, though it was wanted."""
        return not self._paused and self._clock.seconds() - self._last_write >= seconds

    def refuse(self, why: Exception) -> None:
        """Take nothing more, and stop the producer. What came before is kept; `check` fails with ``why``."""
        self._refusal = self._refusal or why
        self._stop_producer()

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """See `IConsumer`. Only push producers."""
        assert streaming
        self._producer = cast(IPushProducer, producer)

    def unregisterProducer(self) -> None:
        self._producer = None

    def write(self, data: bytes) -> None:
        if self._disk_error is not None or self._refusal is not None:
            return
        try:
            if self._limit is not None and self.accepted + len(data) > self._limit:
                raise ContentTooLarge(f"blobs longer than {self._limit} bytes are not accepted here")
            self._unfinished.take(len(data))
        except (ContentTooLarge, UnfinishedTooLarge) as error:
            self.refuse(error)
            return
        self.accepted += len(data)
        self._last_write = self._clock.seconds()
        self._keep(data)
        self._waiting_length += len(data)
        if self._waiting_length >= WRITTEN_AT_ONCE:
            self._hand_over()
        if self._waiting_length > UNWRITTEN_MAX and not self._paused and self._producer is not None:
            self._paused = True
            self._producer.pauseProducing()

    async def close(self) -> None:
        """Bring to the file what still waits, and close it. Then `hash` and `offset` are those of the whole file.

        :raises Full: where the disk has no room for it; any other `OSError` likewise.
        """
        try:
            while self._writing or (self._waiting and self._disk_error is None):
                self._hand_over()
                if self._writing:
                    self._idle = Deferred()
                    await self._idle
            if self._disk_error is None:
                await self._workers.run(self._flush)
            if self._disk_error is not None:
                raise self._disk_error
        finally:
            if self._syncing is not None:
                await self._syncing
            os.close(self._descriptor)

    def check(self) -> None:
        """Fail as `refuse` said, if it did."""
        if self._refusal is not None:
            raise self._refusal

    def _hand_over(self) -> None:
        if self._writing or not self._waiting:
            return
        pieces, length, self._waiting, self._waiting_length = self._waiting, self._waiting_length, [], 0
        self._writing = True
        short = length < WRITTEN_AT_ONCE
        if short or not self._appender.is_slow:
            work = [self._workers.run(self._hash_and_write, pieces)]
        else:
            work = [self._workers.run(self._write, pieces), self._workers.run(self._hash_whole, pieces)]
        if short:
            self._hash_chunks(pieces)
        elif self._hash.chunks:
            work.append(self._workers.run(self._hash_chunks, pieces))
        all_done = DeferredList(work, consumeErrors=True)
        all_done.addCallback(self._done, length)  # type: ignore[call-overload]  # declared as if none could fail

    def _done(self, results: list[tuple[bool, None | Failure]], length: int) -> None:
        for succeeded, result in results:
            if not succeeded:
                assert isinstance(result, Failure)
                self._failed(result)
                return
        self._written(length)

    def _keep(self, data: bytes) -> None:
        last = self._waiting[-1] if self._waiting else None
        if len(data) >= JOINED_BELOW:
            self._waiting.append(data)
        elif isinstance(last, bytearray) and len(last) < WRITTEN_AT_ONCE:
            last += data  # a client may send them a byte at a time, and each object costs far more than that
        else:
            self._waiting.append(bytearray(data))

    def _hash_and_write(self, pieces: Sequence[bytes | bytearray]) -> None:
        self._hash_whole(pieces)
        self._write(pieces)

    def _hash_whole(self, pieces: Sequence[bytes | bytearray]) -> None:
        for piece in pieces:
            self._hash.update_whole(piece)

    def _write(self, pieces: Sequence[bytes | bytearray]) -> None:
        # In a thread. Hashing and writing both let other threads run.
        self.altered |= state_of(self._descriptor) != self.state
        try:
            for piece in pieces:
                self._appender.write(piece)
        finally:
            self.state = state_of(self._descriptor)

    def _flush(self) -> None:
        # In a thread.
        self.altered |= state_of(self._descriptor) != self.state
        try:
            self._appender.flush()
        except OSError as error:
            self._disk_error = _disk_error(error)
        finally:
            self.state = state_of(self._descriptor)

    def _hash_chunks(self, pieces: Sequence[bytes | bytearray]) -> None:
        # In another thread, beside the first: it is about as much work.
        for piece in pieces:
            self._hash.update_chunks(piece)

    def _written(self, length: int) -> None:
        self._writing = False
        self._offset += length
        if self._grown is not None:
            self._grown(self._appender.lasting)
        self._unsynced += length
        if self._grown is None and self._unsynced >= SYNC_EVERY and self._syncing is None:
            self._begin_sync()
        if self._waiting_length >= WRITTEN_AT_ONCE:
            self._hand_over()
        if self._paused and self._waiting_length <= UNWRITTEN_MAX // 2:
            self._paused = False
            if self._producer is not None:
                self._producer.resumeProducing()
        self._tell_idle()

    def _begin_sync(self) -> None:
        # Beside the writing: what counts is the sync at the end, which then finds little to do.
        self._unsynced = 0
        self._syncing = self._workers.run(os.fdatasync, self._descriptor).addBoth(self._synced)

    def _synced(self, _: object) -> None:
        self._syncing = None

    def _failed(self, failure: Failure) -> None:
        self._writing = False
        self._waiting = []
        assert failure.value is not None
        self._disk_error = _disk_error(failure.value)
        self._stop_producer()
        self._tell_idle()

    def _stop_producer(self) -> None:
        if self._producer is not None:
            self._producer.stopProducing()

    def _tell_idle(self) -> None:
        idle = self._idle
        if idle is not None and (self._disk_error is not None or not self._writing):
            self._idle = None
            idle.callback(None)


def _disk_error(error: BaseException) -> BaseException:
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return Full(f"no room in the spool: {error.strerror}")
    return error
