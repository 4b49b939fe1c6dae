"""Upload sessions: what a client sends is hashed and spooled to this disk, and stored when it is whole.

A session is a directory in the spool with the bytes that came so far and a note of its repository, so it
survives the daemon. Its offset is the length of the file: bytes that were received are kept even when the
request that brought them broke, and after a restart the file is simply hashed again.
"""

import json
import os
import shutil
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..bucket.ahead import TakesAhead
from ..bucket.errors import Full
from ..bucket.interface import ConsumerGone
from ..bucket.system_errors import bucket_error
from ..workers import Workers
from .blobs import Blobs
from .digest import Digest, Hash, new_hash
from .errors import (
    DigestInvalid,
    TooLarge,
    TooManyRequests,
    UploadBusy,
    UploadInvalid,
    UploadOutOfOrder,
    UploadUnknown,
)
from .names import Repository
from .spool import SpoolWriter, hash_file, new_session, read_note, settle_file

DATA = "data"


class Upload:
    """One session. ``received`` is the number of bytes that are in the spool."""

    def __init__(
        self, identifier: str, repository: Repository, directory: Path, received: int, last_used: float
    ) -> None:
        self.identifier = identifier
        self.repository = repository
        self.received = received
        self.last_used = last_used
        self.busy = False
        self.stored: Digest | None = None  # set where the content is in the bucket already, but not linked
        self._directory = directory
        # The hash of the first `received` bytes, or None where they must be read again to know it.
        self.hash: Hash | None = new_hash("sha256") if received == 0 else None

    @property
    def data(self) -> Path:
        """The file with the bytes received."""
        return self._directory / DATA

    @property
    def directory(self) -> Path:
        """The session's directory in the spool."""
        return self._directory


class Uploads:
    """All the upload sessions of a registry.

    ``expiry`` is the number of seconds after which an untouched session is thrown away, ``maximum`` the number
    of sessions at once, ``max_blob_size`` the longest blob in bytes (None: any). ``clock`` tells seconds since 1970.
    ``ahead`` is told of what sessions bring while they bring it.
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
    ) -> None:
        self._ahead = ahead
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
        for identifier, note, received in await self._workers.run(_scan, self._directory):
            self._sessions[identifier] = Upload(
                identifier, Repository(note["repository"]), self._directory / identifier, received, note["modified"]
            )

    async def begin(self, repository: Repository) -> Upload:
        """Start a session.

        :raises TooManyRequests: where there are as many as there may be.
        """
        if len(self._sessions) >= self._maximum:
            raise TooManyRequests(f"there are {self._maximum} unfinished uploads; try again later")
        identifier = str(uuid.uuid4())
        upload = Upload(identifier, repository, self._directory / identifier, 0, self._clock.seconds())
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
        if upload.busy:
            raise UploadBusy("another request is writing to this upload session")
        upload.busy = True
        room = None if self._max_blob_size is None else self._max_blob_size - upload.received
        begin = upload.received
        writer = None
        try:
            await self._know_hash(upload)
            grown = None if self._ahead is None else partial(self._ahead.grown, upload.data)
            writer = await SpoolWriter.open(self._workers, upload.data, begin, upload.hash, room, length, grown)
            try:
                yield writer
            except ConsumerGone:  # the writer stopped it: why, is said below
                upload.hash, upload.received = await writer.close()
            except BaseException:
                upload.hash, upload.received = await writer.close()
                raise
            else:
                upload.hash, upload.received = await writer.close()
            if writer.overflowed:
                raise self._too_large()
        except Full:
            await self._give_back(upload)
            raise
        except TooLarge:
            await self._end(upload)
            raise
        except OSError as error:
            raise bucket_error(error) from error
        finally:
            upload.busy = False
            upload.last_used = self._clock.seconds()

    async def take_back(self, upload: Upload, length: int) -> None:
        """Forget what a session received after its first ``length`` bytes: they were not what was announced."""
        if upload.busy:
            raise UploadBusy("another request is writing to this upload session")
        upload.busy = True
        try:
            upload.received = length
            upload.hash = new_hash("sha256") if length == 0 else None
            await self._give_back(upload)
        finally:
            upload.busy = False

    async def commit(self, upload: Upload, digest: Digest) -> None:
        """Make a blob of what a session received, and end it. Durable when this returns.

        A failure of the bucket leaves the session as it was, so the client may ask again.

        :raises DigestInvalid: where the content has another digest; the session is ended.
        :raises UploadBusy: where another request is using the session.
        """
        if upload.busy:
            raise UploadBusy("another request is writing to this upload session")
        upload.busy = True
        try:
            if upload.stored is None:
                await self._store(upload, digest)
            elif upload.stored != digest or not await self._blobs.link(upload.repository, digest, upload.received):
                await self._end(upload)
                raise UploadInvalid("the content of this upload is lost; begin a new one")
            await self._end(upload)
        except OSError as error:
            raise bucket_error(error) from error
        finally:
            upload.busy = False

    async def _store(self, upload: Upload, digest: Digest) -> None:
        found = await self._digest(upload, digest.algorithm)
        if found != digest:
            await self._end(upload)
            raise DigestInvalid(f"the content received is {found}", {"digest": str(digest)})
        await self._workers.run(settle_file, upload.data, upload.received, sync=self._ahead is None)
        try:
            await self._blobs.add_file(upload.repository, digest, upload.data, upload.received)
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
        limit = self._clock.seconds() - self._expiry
        ended = 0
        for upload in list(self._sessions.values()):
            if upload.last_used >= limit or upload.busy:  # maybe only since the one before was ended
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

    async def _know_hash(self, upload: Upload) -> None:
        if upload.hash is None:
            upload.hash = await hash_file(self._workers, upload.data, "sha256")

    async def _digest(self, upload: Upload, algorithm: str) -> Digest:
        if algorithm == "sha256":
            await self._know_hash(upload)
            assert upload.hash is not None
            return Digest(algorithm, upload.hash.hexdigest())
        return Digest(algorithm, (await hash_file(self._workers, upload.data, algorithm)).hexdigest())

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


def _scan(directory: Path) -> list[tuple[str, dict, int]]:
    directory.mkdir(parents=True, exist_ok=True)
    found = []
    for each in directory.iterdir():
        try:
            note = read_note(each)
            status = (each / DATA).stat()
        except (OSError, ValueError, json.JSONDecodeError):
            # A session that was ended, or not quite begun, when the daemon was killed.
            shutil.rmtree(each, ignore_errors=True)
            continue
        found.append((each.name, {**note, "modified": status.st_mtime}, status.st_size))
    return found
