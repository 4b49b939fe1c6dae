"""Bytes on their way in: hashed and written to a file in threads, with the sender held back meanwhile."""

import errno
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar, cast

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IConsumer, IProducer, IPushProducer, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from ipfsreg.bucket.errors import Full
from ipfsreg.flow.workers import Workers
from ipfsreg.registry.content.content_hash import ContentHash
from ipfsreg.registry.digest import Hash

H = TypeVar("H", bound=Hash)

NOTE = "session.json"

PIECE = 256 * 1024
"""Bytes are handed to a thread in pieces of at least this length, so that the hand-over costs little."""

SMALL = 16 * 1024
"""What comes in smaller pieces is put together first."""

WAITING_MAX = 1024 * 1024
"""The sender is paused while more than this many bytes wait for the disk."""

SYNC_EVERY = 64 * 1024 * 1024
"""After so many bytes the disk is made to catch up, so that the sync at the end finds little to do."""


@implementer(IConsumer)
class SpoolWriter:
    """Appends to a file what is written to it, in order, and hashes it on the way.

    A consumer: it pauses its producer while the disk is behind. ``overflowed`` says that there were more bytes
    than ``room``; those past it were dropped. ``given_up`` says that its user was told to let go of it. ``grown`` is
    told the file's length whenever it has grown; where there is one, somebody else stores the bytes, and the disk is
    not made to.
    """

    def __init__(
        self,
        workers: Workers,
        descriptor: int,
        offset: int,
        hash_: ContentHash,
        room: int | None,
        clock: IReactorTime,
        grown: Callable[[int], None] | None,
    ) -> None:
        self.overflowed = False
        self.given_up = False
        self._clock = clock
        self._last_write = clock.seconds()
        self._workers = workers
        self._descriptor = descriptor
        self._offset = offset
        self._hash = hash_
        self._room = room
        self._grown = grown
        self._waiting: list[bytes | bytearray] = []
        self._waiting_length = 0
        self._writing = False
        self._error: BaseException | None = None
        self._producer: IPushProducer | None = None
        self._paused = False
        self._unsynced = 0
        self._syncing: Deferred[None] | None = None
        self._idle: list[Deferred[None]] = []

    @classmethod
    async def open(
        cls,
        workers: Workers,
        path: Path,
        offset: int,
        hash_: ContentHash | None,
        room: int | None,
        length: int | None,
        clock: IReactorTime,
        grown: Callable[[int], None] | None = None,
    ) -> "SpoolWriter":
        """Open a file to append at ``offset``, where it must end; ``length`` is how much will come, if known.

        :raises Full: where ``length`` bytes do not fit on the disk: said before any of them is sent.
        """
        assert hash_ is not None
        descriptor = await workers.run(_open, path, offset, length)
        return cls(workers, descriptor, offset, hash_.copy(), room, clock, grown)

    @property
    def offset(self) -> int:
        """How many bytes are in the file."""
        return self._offset

    def silent_for(self, seconds: float) -> bool:
        """Whether nothing came for so long, though it was wanted."""
        return not self._paused and self._clock.seconds() - self._last_write >= seconds

    def give_up(self) -> None:
        """Stop the producer: somebody else goes on with what came."""
        self.given_up = True
        if self._producer is not None:
            self._producer.stopProducing()

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """See `IConsumer`. Only push producers."""
        assert streaming
        self._producer = cast(IPushProducer, producer)

    def unregisterProducer(self) -> None:
        """See `IConsumer`."""
        self._producer = None

    def write(self, data: bytes) -> None:
        """Take bytes in; they are in the file when `flushed` has fired."""
        if self._error is not None or self.overflowed:
            return
        if self._room is not None:
            if len(data) > self._room:
                self.overflowed = True
                if self._producer is not None:
                    self._producer.stopProducing()
                return
            self._room -= len(data)
        self._last_write = self._clock.seconds()
        self._keep(data)
        self._waiting_length += len(data)
        if self._waiting_length >= PIECE:
            self._hand_over()
        if self._waiting_length > WAITING_MAX and not self._paused and self._producer is not None:
            self._paused = True
            self._producer.pauseProducing()

    async def flushed(self) -> None:
        """Wait until all that was written is in the file.

        :raises Full: where the disk has no room for it.
        """
        while self._writing or (self._waiting and self._error is None):
            self._hand_over()
            idle: Deferred[None] = Deferred()
            self._idle.append(idle)
            await idle
        if self._error is not None:
            raise self._error

    async def close(self) -> tuple[ContentHash, int]:
        """Bring to the file what still waits and close it; answers the hash and the length of the whole file.

        :raises Full: where the disk has no room for it.
        """
        try:
            await self.flushed()
        finally:
            if self._syncing is not None:
                await self._syncing
            os.close(self._descriptor)
        return self._hash, self._offset

    def _hand_over(self) -> None:
        if self._writing or not self._waiting:
            return
        pieces, length, self._waiting, self._waiting_length = self._waiting, self._waiting_length, [], 0
        self._writing = True
        work = [self._workers.run(self._write, pieces)]
        if length < PIECE:
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
        if len(data) >= SMALL:
            self._waiting.append(data)
        elif isinstance(last, bytearray) and len(last) < PIECE:
            last += data  # a client may send them a byte at a time, and each object costs far more than that
        else:
            self._waiting.append(bytearray(data))

    def _write(self, pieces: Sequence[bytes | bytearray]) -> None:
        # In a thread. Hashing and writing both let other threads run.
        for piece in pieces:
            self._hash.update_whole(piece)
            _write_all(self._descriptor, piece)

    def _hash_chunks(self, pieces: Sequence[bytes | bytearray]) -> None:
        # In another thread, beside the first: it is about as much work.
        for piece in pieces:
            self._hash.update_chunks(piece)

    def _written(self, length: int) -> None:
        self._writing = False
        self._offset += length
        if self._grown is not None:
            self._grown(self._offset)
        self._unsynced += length
        if self._grown is None and self._unsynced >= SYNC_EVERY and self._syncing is None:
            self._begin_sync()
        if self._waiting_length >= PIECE:
            self._hand_over()
        if self._paused and self._waiting_length <= WAITING_MAX // 2:
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
        error = failure.value
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            error = Full(f"no room in the spool: {error.strerror}")
        self._error = error
        if self._producer is not None:
            self._producer.stopProducing()
        self._tell_idle()

    def _tell_idle(self) -> None:
        if self._error is not None or not self._writing:
            waiting, self._idle = self._idle, []
            for each in waiting:
                each.callback(None)


def _open(path: Path, offset: int, length: int | None) -> int:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        # What a request brought whose end failed may lie behind the offset that clients were told.
        if os.fstat(descriptor).st_size > offset:
            os.truncate(descriptor, offset)
        if length is not None:
            disk = os.fstatvfs(descriptor)
            if length > disk.f_bavail * disk.f_frsize:
                raise Full(f"the spool has no room for {length} bytes")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _write_all(descriptor: int, data: bytes | bytearray) -> None:
    view = memoryview(data)
    while view:
        view = view[os.writev(descriptor, [view]) :]


def new_session(directory: Path, data: Path, repository: str) -> None:
    """Make a session's directory: the empty file last, for without it there is no session."""
    directory.mkdir()
    (directory / NOTE).write_text(json.dumps({"repository": repository}))
    data.touch()


def read_note(directory: Path) -> dict:
    """What a session's directory says about it.

    :raises ValueError: where it says nothing sensible. :raises OSError: where it cannot be read.
    """
    note = json.loads((directory / NOTE).read_text())
    if not isinstance(note, dict) or not isinstance(note.get("repository"), str):
        raise ValueError("not a session's note")
    return note


def settle_file(path: Path, length: int, *, sync: bool) -> None:
    """Make a file's first bytes all that it has: what a broken write left behind them is dropped.

    ``sync`` makes it durable.
    """
    descriptor = os.open(path, os.O_RDWR)
    try:
        if os.fstat(descriptor).st_size > length:
            os.ftruncate(descriptor, length)
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def hash_file(workers: Workers, path: Path, hash_: H) -> H:
    """Hash a whole file, in pieces of a few milliseconds each; answers ``hash_``, which was new."""
    offset = 0
    while length := await workers.run(_hash_piece, path, offset, hash_):
        offset += length
    return hash_


def _hash_piece(path: Path, offset: int, hash_: Hash) -> int:
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read(4 * 1024 * 1024)
    hash_.update(data)
    return len(data)
