"""Upload sessions: what a client sends is hashed and spooled to this disk, and stored when it is whole.

A session is a directory in the spool with the bytes that came so far and a note of its repository, so it
survives the daemon. Its offset is the length of the file: bytes that were received are kept even when the
request that brought them broke, and after a restart the file is simply hashed again.
"""

import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

from twisted.logger import Logger

from ipfsreg.bucket.errors import BucketError, bucket_error
from ipfsreg.registry.errors import TooManyRequests, UploadUnknown
from ipfsreg.registry.names import Repository

from .session_files import UploadIdentity, find_sessions, new_session
from .sessions import Bounds, Sessions
from .spool_writer import UploadEnvironment
from .upload import Upload, UploadState

EMPTY_SECONDS = 900.0
"""A session that has received nothing loses nothing: it ends after so many seconds, if its time is not shorter."""


class Uploads:
    """All the upload sessions of a registry, in ``directory`` on this disk.

    ``expiry`` is the number of seconds after which an untouched session is thrown away. ``now`` tells seconds since
    1970, as files have them.
    """

    _log = Logger()

    def __init__(
        self,
        directory: Path,
        environment: UploadEnvironment,
        now: Callable[[], float],
        *,
        expiry: float,
        bounds: Bounds,
    ) -> None:
        self._directory = directory
        self._environment = environment
        self._now = now
        self._expiry = expiry
        self._sessions = Sessions(bounds)

    async def start(self) -> None:
        """Find the sessions that an earlier daemon left, and go on with them."""
        found, unreadable = await self._environment.workers.run(find_sessions, self._directory, self._environment.form)
        for error in unreadable:
            self._log.error(
                "An unfinished upload cannot be read, and is left alone until the next start: {error}", error=error
            )
        for each in found:
            # From here on it ages by a clock that nobody sets. A time in the future says nothing.
            age = max(0.0, self._now() - each.modified)
            upload = Upload(
                each.identity,
                self._environment,
                self._sessions.remove,
                received=each.received,
                last_used=self._environment.clock.seconds() - age,
            )
            self._sessions.add(upload)

    async def begin(self, repository: Repository, client: str = "", user: str = "") -> Upload:
        """Start a session. ``client`` is the address of the client, or nothing for the registry itself.

        ``user`` is its name, or nothing where it has not said who it is: then its address counts as one.

        Where there are too many, the emptiest of those that were not used lately is ended; see `Sessions.in_the_way`.

        :raises TooManyRequests: where all are in use.
        """
        owner = f"the user {user}" if user else client and f"the address {client}"
        in_the_way = self._sessions.in_the_way(client, owner, self._is_idle)
        identifier = str(uuid.uuid4())
        identity = UploadIdentity(identifier, repository, self._directory / identifier, client, owner)
        upload = Upload(
            identity,
            self._environment,
            self._sessions.remove,
            last_used=self._environment.clock.seconds(),
            unfinished=self._sessions.unfinished_of(owner),
        )
        self._sessions.add(upload)
        if in_the_way is not None:
            await in_the_way.cancel()  # without a word: a line for each would let a client fill the log
        try:
            await self._environment.workers.run(new_session, identity, self._environment.form)
        except (OSError, BucketError) as error:
            await upload.cancel()
            raise (bucket_error(error) if isinstance(error, OSError) else error) from error
        if upload.state is UploadState.ENDED:  # it gave way before it had a directory
            await self._environment.workers.run(shutil.rmtree, identity.directory, True)
            raise TooManyRequests("there are too many unfinished uploads at once; try again later")
        return upload

    def find(self, repository: Repository, identifier: str) -> Upload:
        """The session of that name in that repository.

        :raises UploadUnknown: where there is none (any more).
        """
        upload = self._sessions.get(identifier)
        if upload is None or upload.repository != repository:
            raise UploadUnknown("no such upload session; begin a new one with POST", {"session": identifier[:64]})
        upload.touch()
        return upload

    async def find_idle(self, repository: Repository, identifier: str) -> Upload:
        """As `find`, but waits a moment for a request that is using the session; see `Upload.turn`.

        :raises UploadUnknown: where there is none (any more).
        """
        await self.find(repository, identifier).turn()
        return self.find(repository, identifier)

    async def expire(self) -> int:
        """End the sessions that nobody used for long; answers how many."""
        now = self._environment.clock.seconds()
        ended = 0
        for upload in list(self._sessions.all()):
            patience = self._expiry if upload.received else min(self._expiry, EMPTY_SECONDS)
            # Asked of each anew: a client may have used it while the one before was being ended.
            if upload.last_used >= now - patience or upload.busy or upload.state is UploadState.ENDED:
                continue
            ended += 1
            await self._give_up(upload)
        return ended

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._sessions)

    def active(self, repository: Repository, within: float) -> bool:
        """Whether somebody is in the middle of pushing to a repository: a session used in the last seconds."""
        since = self._environment.clock.seconds() - within
        return any(
            each.repository == repository and (each.busy or each.last_used >= since) for each in self._sessions.all()
        )

    def any_busy(self) -> bool:
        """Whether anything is being uploaded now."""
        return any(each.busy for each in self._sessions.all())

    @property
    def received(self) -> int:
        """How many bytes all of them have received."""
        return sum(each.received for each in self._sessions.all())

    def _is_idle(self, upload: Upload, seconds: float) -> bool:
        return upload.last_used <= self._environment.clock.seconds() - min(seconds, self._expiry)

    async def _give_up(self, upload: Upload) -> None:
        self._log.info(
            "Upload session {session} of {repository} expired after {received} bytes.",
            session=upload.identifier,
            repository=upload.repository,
            received=upload.received,
        )
        await upload.cancel()
