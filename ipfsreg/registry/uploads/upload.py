"""One upload session: it takes bytes in, becomes a blob, or ends.

A session is in one of these states. Only what the table has happens. The rest is refused: with `UploadBusy`, with
`UploadUnknown` where nothing is left of the session, or with `UploadOutOfOrder` where it takes no more bytes.

=========== ============================ ==================================== =========
state       `appending`                  `commit`                             `cancel`
=========== ============================ ==================================== =========
IDLE        APPENDING, then IDLE         COMMITTING, then ENDED               ENDED
STORED      out of order (1)             COMMITTING, then ENDED               ENDED
APPENDING   busy (2)                     busy                                 busy
COMMITTING  busy                         busy                                 busy
ENDED       unknown                      unknown                              (nothing)
=========== ============================ ==================================== =========

`completing` is APPENDING first and COMMITTING then, and no other request comes between. APPENDING leads to ENDED
where the blob becomes too large. COMMITTING leads to ENDED too where the digest is another or a quota leaves no room,
back to where it came from where the storage fails, and to STORED where the storage failed after it had taken the
content, so that only the link is missing.

(1) The content is in the bucket, under the digest that the client gave: bytes after its last one lie in no range that
can be satisfied, and a `commit` without any completes the upload. (2) A request that waits for its turn (`turn`) ends
the one before it if nothing came of that for long, and takes over.
"""

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from enum import Enum, auto
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as WaitedLongEnough
from twisted.internet.interfaces import IConsumer

from ipfsreg.bucket.errors import Full, bucket_error
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.errors import (
    ContentTooLarge,
    DigestInvalid,
    QuotaExceeded,
    SizeInvalid,
    UnfinishedTooLarge,
    UploadBusy,
    UploadLost,
    UploadOutOfOrder,
    UploadUnknown,
)

from .session_files import DATA, UploadIdentity
from .spool import Spool
from .spool_writer import UploadEnvironment
from .unfinished import Unfinished

TURN_SECONDS = 2.0
"""For how long a request waits for one before it on the same session, in seconds."""

SILENT_SECONDS = 15.0
"""After so many seconds without a byte a request is taken for one whose client is gone, if there is another one."""


class UploadState(Enum):
    """See the module."""

    IDLE = auto()
    STORED = auto()
    APPENDING = auto()
    COMMITTING = auto()
    ENDED = auto()


class Upload:
    """One session. ``ended`` is called once, when it ends.

    ``received`` is the number of bytes that are in its file. ``unfinished`` counts those of all sessions of its owner.
    """

    def __init__(
        self,
        identity: UploadIdentity,
        environment: UploadEnvironment,
        ended: Callable[["Upload"], object],
        *,
        received: int = 0,
        last_used: float,
        unfinished: Unfinished | None = None,
    ) -> None:
        self.identity = identity
        self.identifier = identity.identifier
        self.repository = identity.repository
        self.last_used = last_used
        """When a request used it last, by the environment's clock."""
        self.state = UploadState.IDLE
        self._environment = environment
        self._ended = ended
        self._unfinished = Unfinished("", None) if unfinished is None else unfinished
        data = identity.directory / f"{DATA}{environment.form.suffix}"
        self._spool = Spool(data, environment, received, self._unfinished)
        self._stored: Digest | None = None  # what the content is that is in the bucket already, but not linked
        self._waiting: list[Deferred[None]] = []

    @property
    def busy(self) -> bool:
        """Whether a request is using it."""
        return self.state in {UploadState.APPENDING, UploadState.COMMITTING}

    @property
    def data(self) -> Path:
        """The file with the bytes received."""
        return self._spool.path

    @property
    def received(self) -> int:
        """How many bytes were received: where the next request begins."""
        return self._spool.received

    @property
    def offset(self) -> int:
        """As `received`, but grows while more are coming."""
        return self._spool.offset

    def touch(self) -> None:
        """A request uses it now."""
        self.last_used = self._environment.clock.seconds()

    async def turn(self) -> None:
        """Wait until no request uses the session, but no longer than `TURN_SECONDS`.

        A client whose connection broke asks at once how far it came, when its last bytes are still on their way to the
        disk. If it vanished without a word, its old request is ended here for the sake of the new one.
        """
        self._spool.stop_if_silent(SILENT_SECONDS, UploadBusy("a later request goes on with this upload session"))
        clock = self._environment.clock
        until = clock.seconds() + TURN_SECONDS
        with suppress(WaitedLongEnough):
            while self.busy and (left := until - clock.seconds()) > 0:
                done: Deferred[None] = Deferred()
                self._waiting.append(done)
                done.addTimeout(left, clock)
                await done

    @asynccontextmanager
    async def appending(
        self, length: int | None = None, content_range: tuple[int, int] | None = None
    ) -> AsyncIterator[IConsumer]:
        """Take in the bytes that are written to the consumer within the block, by a push producer if there are many.

        ``length`` is how many will come (None: not known); ``content_range`` are the numbers of the first and the last
        one, where the client says them. What can be refused is refused before the block begins, and a producer that
        the consumer stops is to let the block fail with `ConsumerGone`. All that came is in the file after the block.
        Where the block fails, what came before is kept, unless the disk was full, or it is not what was announced.

        :raises UploadBusy: where another request is using the session, or took over.
        :raises UploadOutOfOrder: where they do not begin at the end, or the content is stored already.
        :raises SizeInvalid: where it says two lengths, or others came.
        :raises ContentTooLarge: where the blob would be longer than is allowed. :raises Full:
        :raises QuotaExceeded: where its repository has no room for it. :raises UnfinishedTooLarge: likewise its owner.
        """
        with self._using(UploadState.APPENDING):
            async with self._taking(length, content_range) as consumer:
                yield consumer

    @asynccontextmanager
    async def completing(
        self, digest: Digest, length: int | None = None, content_range: tuple[int, int] | None = None
    ) -> AsyncIterator[IConsumer]:
        """`appending` for the last bytes, and `commit` after them: no other request comes between."""
        with self._using(UploadState.APPENDING):
            async with self._taking(length, content_range, digest) as consumer:
                yield consumer
            self.state = UploadState.COMMITTING
            await self._commit(digest)

    async def commit(self, digest: Digest) -> None:
        """Make a blob of what was received, and end. Durable when this returns.

        A failure of the bucket leaves the session as it was, so the client may ask again.

        :raises DigestInvalid: where the content has another digest; the session is ended.
        :raises UploadBusy: where another request is using the session.
        """
        with self._using(UploadState.COMMITTING):
            await self._commit(digest)

    async def cancel(self) -> None:
        """End, and throw away what was received; nothing happens where it ended before.

        :raises UploadBusy: where another request is using the session.
        """
        if self.busy:
            raise UploadBusy("another request is using this upload session")
        if self.state is not UploadState.ENDED:
            await self._end()

    @contextmanager
    def _using(self, state: UploadState) -> Iterator[None]:
        if self.busy:
            raise UploadBusy("another request is using this upload session")
        if self.state is UploadState.ENDED:
            raise UploadUnknown("this upload session has ended", {"session": self.identifier})
        self.state = state
        try:
            yield
        finally:
            if self.state is not UploadState.ENDED:
                self.state = UploadState.IDLE if self._stored is None else UploadState.STORED
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                each.callback(None)

    @asynccontextmanager
    async def _taking(
        self, length: int | None, content_range: tuple[int, int] | None, digest: Digest | None = None
    ) -> AsyncIterator[IConsumer]:
        if content_range is not None:
            length = self._announced(content_range, length)
        begin = self.received
        if self._stored is not None:
            raise UploadOutOfOrder(f"all {begin} bytes are stored; complete this upload by a PUT without a body", begin)
        if content_range is not None and content_range[0] != begin:
            raise UploadOutOfOrder(f"the next byte is number {begin}, not {content_range[0]}", begin)
        limit = self._environment.max_blob_size
        if limit is not None and begin + (length or 0) > limit:
            raise ContentTooLarge(f"blobs longer than {limit} bytes are not accepted here")
        self._unfinished.check(length or 0)
        await self._environment.blobs.check_room(self.repository, digest, begin + (length or 0))
        try:
            async with self._spool.appending(length) as consumer:
                yield consumer
            came = self.received - begin
            if content_range is not None and came != length:
                await self._spool.cut(begin)
                raise SizeInvalid(f"Content-Range says {length} bytes, {came} came")
        except Full:
            await self._spool.cut(begin)
            raise
        except (ContentTooLarge, UnfinishedTooLarge, UploadLost):
            await self._end()
            raise
        except OSError as error:
            raise bucket_error(error) from error
        finally:
            self.touch()

    def _announced(self, content_range: tuple[int, int], length: int | None) -> int:
        first, last = content_range
        if last < first:
            raise UploadOutOfOrder("Content-Range is <first byte>-<last byte>", self.received)
        counted = last - first + 1
        if length is not None and length != counted:
            raise SizeInvalid(f"Content-Range says {counted} bytes, Content-Length {length}")
        return counted

    async def _commit(self, digest: Digest) -> None:
        try:
            if self._stored is None:
                await self._store(digest)
            elif self._stored != digest or not await self._environment.blobs.link(
                self.repository, digest, self.received, await self._spool.leaves()
            ):
                await self._end()
                raise UploadLost("the content of this upload is lost; begin a new one")
            await self._end()
        except OSError as error:
            raise bucket_error(error) from error

    async def _store(self, digest: Digest) -> None:
        for _ in range(3):
            found = await self._spool.digest(digest.algorithm)
            if found != digest:
                await self._end()
                raise DigestInvalid(f"the content received is {found}", {"digest": str(digest)})
            if await self._spool.settle():
                break
        else:
            raise UploadLost("what was received of this upload changes on the registry's disk; begin a new one")
        leaves = await self._spool.leaves()
        try:
            await self._environment.blobs.add_file(self.repository, digest, self.data, self.received, leaves)
        except QuotaExceeded:
            await self._end()  # what nobody takes is not kept
            raise
        except BaseException:
            # It may have failed between the content and the link: then the client's next try is for the link.
            if not await self._environment.workers.run(self.data.exists):
                self._stored = digest
            raise

    async def _end(self) -> None:
        if self.state is not UploadState.ENDED:
            self._unfinished.release(self.received)
        self.state = UploadState.ENDED
        self._ended(self)
        self._spool.forget_ahead()
        await self._environment.workers.run(shutil.rmtree, self.identity.directory, True)
