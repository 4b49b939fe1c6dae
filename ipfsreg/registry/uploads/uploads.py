"""Upload sessions: what a client sends is hashed and spooled to this disk, and stored when it is whole.

A session is a directory in the spool with the bytes that came so far and a note of its repository, so it
survives the daemon. Its offset is the length of the file: bytes that were received are kept even when the
request that brought them broke, and after a restart the file is simply hashed again.
"""

import os
import shutil
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ipfsreg.bucket.capabilities import TakesAhead, TellsLeaves
from ipfsreg.bucket.errors import Full
from ipfsreg.bucket.system_errors import bucket_error
from ipfsreg.flow.streams import ConsumerGone
from ipfsreg.flow.workers import Workers
from ipfsreg.registry.content.content_hash import ContentHash
from ipfsreg.registry.digest import Digest, new_hash
from ipfsreg.registry.errors import (
    DigestInvalid,
    TooLarge,
    TooManyRequests,
    UploadBusy,
    UploadInvalid,
    UploadOutOfOrder,
    UploadUnknown,
)
from ipfsreg.registry.names import Repository
from ipfsreg.registry.repository.blobs import Blobs

from .spool import SpoolWriter, hash_file, new_session, read_note, settle_file
from .upload import DATA, Upload

EMPTY_SECONDS = 900.0
"""A session that has received nothing loses nothing: it ends after so many seconds, if its time is not shorter."""

TURN_SECONDS = 2.0
"""For how long a request waits for one before it on the same session, in seconds."""

SILENT_SECONDS = 15.0
"""After so many seconds without a byte a request is taken for one whose client is gone, if there is another one."""


class Uploads:
    """All the upload sessions of a registry.

    ``expiry`` is the number of seconds after which an untouched session is thrown away, ``maximum`` the number
    of sessions at once, ``max_blob_size`` the longest blob in bytes (None: any). ``clock`` tells seconds since 1970.
    ``ahead`` is told of what sessions bring while they bring it. What ``teller`` tells later is not computed here.
    """

    _log = Logger()

    def __init__(
        self,
        directory: Path,
        blobs: Blobs,
        workers: Workers,
        clock: IReactorTime,
        *,
        expiry: float,
        maximum: int,
        max_blob_size: int | None,
        ahead: TakesAhead | None = None,
        teller: TellsLeaves | None = None,
    ) -> None:
        self._ahead = ahead
        self._teller = teller
        self._directory = directory
        self._blobs = blobs
        self._workers = workers
        self._clock = clock
        self._expiry = expiry
        self._maximum = maximum
        self._max_blob_size = max_blob_size
        self._sessions: dict[str, Upload] = {}

    async def start(self) -> None:
        """Find the sessions that an earlier daemon left, and go on with them."""
        found, unreadable = await self._workers.run(_scan, self._directory)
        for error in unreadable:
            self._log.error(
                "An unfinished upload cannot be read, and is left alone until the next start: {error}", error=error
            )
        for identifier, note, received in found:
            self._sessions[identifier] = Upload(
                identifier, Repository(note["repository"]), self._directory / identifier, received, note["modified"]
            )

    async def begin(self, repository: Repository) -> Upload:
        """Start a session.

        :raises TooManyRequests: where there are as many as there may be.
        """
        if len(self._sessions) >= self._maximum and not await self.expire():
            raise TooManyRequests(f"there are {self._maximum} unfinished uploads; try again later")
        identifier = str(uuid.uuid4())
        directory, now = self._directory / identifier, self._clock.seconds()
        upload = Upload(identifier, repository, directory, 0, now, self._new_hash())
        self._sessions[identifier] = upload
        try:
            await self._workers.run(new_session, upload.directory, upload.data, repository)
        except OSError as error:
            await self._end(upload)
            raise bucket_error(error) from error
        return upload

    def find(self, repository: Repository, identifier: str) -> Upload:
        """The session of that name in that repository.

        :raises UploadUnknown: where there is none (any more).
        """
        upload = self._sessions.get(identifier)
        if upload is None or upload.repository != repository:
            raise UploadUnknown("no such upload session; begin a new one with POST", {"session": identifier[:64]})
        upload.last_used = self._clock.seconds()
        return upload

    async def find_idle(self, repository: Repository, identifier: str) -> Upload:
        """As `find`, but waits a moment for a request that is using the session.

        A client whose connection broke asks at once how far it came, when its last bytes are still on their way to the
        disk. If it vanished without a word, its old request is ended here for the sake of the new one.

        :raises UploadUnknown: where there is none (any more).
        """
        upload = self.find(repository, identifier)
        if upload.busy:
            if upload.writer is not None and upload.writer.silent_for(SILENT_SECONDS):
                upload.writer.give_up()
            await upload.idle(self._clock, TURN_SECONDS)
        return self.find(repository, identifier)

    def check_append(self, upload: Upload, begin: int | None, length: int | None) -> None:
        """Whether bytes may be appended: asked before any of them is read.

        ``begin`` is where the client says they begin (None: at the end), ``length`` how many there are (None:
        not known).

        :raises UploadBusy: where another request is writing.
        :raises UploadOutOfOrder: where they do not begin at the end.
        :raises TooLarge: where the blob would be longer than is allowed.
        """
        if upload.busy:
            raise UploadBusy("another request is writing to this upload session")
        if begin is not None and begin != upload.received:
            raise UploadOutOfOrder(f"the next byte is number {upload.received}, not {begin}", upload.received)
        if self._max_blob_size is not None and upload.received + (length or 0) > self._max_blob_size:
            raise self._too_large()

    @asynccontextmanager
    async def appending(self, upload: Upload, length: int | None) -> AsyncIterator[SpoolWriter]:
        """Append to a session: write into what this yields, the only writer of the session meanwhile.

        Leaving the block normally makes sure that all bytes are in the file. Leaving it by an exception keeps
        the bytes that came, unless the disk was full: then what this request brought is given back.
        """
        room = None if self._max_blob_size is None else self._max_blob_size - upload.received
        begin = upload.received
        with upload.occupied():
            try:
                await self._know_hash(upload)
                grown = None if self._ahead is None else partial(self._ahead.grown, upload.data)
                upload.writer = await SpoolWriter.open(
                    self._workers, upload.data, begin, upload.hash, room, length, self._clock, grown
                )
                with suppress(ConsumerGone):  # the writer stopped it: why, is said below
                    try:
                        yield upload.writer
                    finally:
                        upload.hash, upload.received = await upload.writer.close()
                if upload.writer.overflowed:
                    raise self._too_large()
                if upload.writer.given_up:
                    raise UploadBusy("a later request goes on with this upload session")
            except Full:
                await self._give_back(upload)
                raise
            except TooLarge:
                await self._end(upload)
                raise
            except OSError as error:
                raise bucket_error(error) from error
            finally:
                upload.writer = None
                upload.last_used = self._clock.seconds()

    async def take_back(self, upload: Upload, length: int) -> None:
        """Forget what a session received after its first ``length`` bytes: they were not what was announced."""
        with upload.occupied():
            upload.received = length
            upload.hash = self._new_hash() if length == 0 else None
            await self._give_back(upload)

    async def commit(self, upload: Upload, digest: Digest) -> None:
        """Make a blob of what a session received, and end it. Durable when this returns.

        A failure of the bucket leaves the session as it was, so the client may ask again.

        :raises DigestInvalid: where the content has another digest; the session is ended.
        :raises UploadBusy: where another request is using the session.
        """
        with upload.occupied():
            try:
                if upload.stored is None:
                    await self._store(upload, digest)
                elif upload.stored != digest or not await self._blobs.link(
                    upload.repository, digest, upload.received, await self._leaves(upload)
                ):
                    await self._end(upload)
                    raise UploadInvalid("the content of this upload is lost; begin a new one")
                await self._end(upload)
            except OSError as error:
                raise bucket_error(error) from error

    async def _store(self, upload: Upload, digest: Digest) -> None:
        found = await self._digest(upload, digest.algorithm)
        if found != digest:
            await self._end(upload)
            raise DigestInvalid(f"the content received is {found}", {"digest": str(digest)})
        await self._workers.run(settle_file, upload.data, upload.received, sync=self._ahead is None)
        try:
            leaves = await self._leaves(upload)
            await self._blobs.add_file(upload.repository, digest, upload.data, upload.received, leaves)
        except BaseException:
            # It may have failed between the content and the link: then the client's next try is for the link.
            if not await self._workers.run(upload.data.exists):
                upload.stored = digest
            raise

    async def cancel(self, upload: Upload) -> None:
        """End a session and throw away what it received.

        :raises UploadBusy: where another request is using the session.
        """
        if upload.busy:
            raise UploadBusy("another request is using this upload session")
        await self._end(upload)

    async def expire(self) -> int:
        """End the sessions that nobody used for long; answers how many."""
        now = self._clock.seconds()
        ended = 0
        for upload in list(self._sessions.values()):
            patience = self._expiry if upload.received else min(self._expiry, EMPTY_SECONDS)
            if upload.last_used >= now - patience or upload.busy:  # maybe only since the one before was ended
                continue
            ended += 1
            self._log.info(
                "Upload session {session} of {repository} expired after {received} bytes.",
                session=upload.identifier,
                repository=upload.repository,
                received=upload.received,
            )
            await self._end(upload)
        return ended

    def active(self, repository: Repository, within: float) -> bool:
        """Whether somebody is in the middle of pushing to a repository: a session used in the last seconds."""
        since = self._clock.seconds() - within
        return any(
            each.repository == repository and (each.busy or each.last_used >= since) for each in self._sessions.values()
        )

    async def _know_hash(self, upload: Upload) -> ContentHash:
        if upload.hash is None:
            upload.hash = await hash_file(self._workers, upload.data, self._new_hash())
        return upload.hash

    def _new_hash(self) -> ContentHash:
        return ContentHash(chunks=self._teller is None or not self._teller.tells())

    async def _digest(self, upload: Upload, algorithm: str) -> Digest:
        if algorithm == "sha256":
            return Digest(algorithm, (await self._know_hash(upload)).hexdigest())
        hash_ = await hash_file(self._workers, upload.data, new_hash(algorithm))
        return Digest(algorithm, hash_.hexdigest())

    async def _leaves(self, upload: Upload) -> bytes | None:
        return (await self._know_hash(upload)).leaves

    def _forget(self, upload: Upload) -> None:
        if self._ahead is not None:
            self._ahead.forget(upload.data)

    async def _give_back(self, upload: Upload) -> None:
        self._forget(upload)
        await self._workers.run(os.truncate, upload.data, upload.received)

    async def _end(self, upload: Upload) -> None:
        self._sessions.pop(upload.identifier, None)
        self._forget(upload)
        await self._workers.run(shutil.rmtree, upload.directory, True)

    def _too_large(self) -> TooLarge:
        return TooLarge(f"blobs longer than {self._max_blob_size} bytes are not accepted here")


def _scan(directory: Path) -> tuple[list[tuple[str, dict, int]], list[OSError]]:
    directory.mkdir(parents=True, exist_ok=True)
    found, unreadable = [], []
    for each in directory.iterdir():
        try:
            note = read_note(each)
            status = (each / DATA).stat()
        except (FileNotFoundError, NotADirectoryError, ValueError):
            # A session that was ended, or not quite begun, when the daemon was killed.
            shutil.rmtree(each, ignore_errors=True)
        except OSError as error:
            error.filename = error.filename or str(each)
            unreadable.append(error)
        else:
            found.append((each.name, {**note, "modified": status.st_mtime}, status.st_size))
    return found, unreadable
