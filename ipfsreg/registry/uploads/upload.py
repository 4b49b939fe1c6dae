"""One upload session: what is known of it, and who is using it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as WaitedLongEnough
from twisted.internet.interfaces import IReactorTime

from ipfsreg.registry.content.content_hash import ContentHash
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.errors import UploadBusy
from ipfsreg.registry.names import Repository

from .spool import SpoolWriter

DATA = "data"


class Upload:
    """One session. ``received`` is the number of bytes that are in the spool, ``writer`` who is adding to them."""

    def __init__(
        self,
        identifier: str,
        repository: Repository,
        directory: Path,
        received: int,
        last_used: float,
        hash_: ContentHash | None = None,
    ) -> None:
        self.identifier = identifier
        self.repository = repository
        self.directory = directory
        self.received = received
        self.last_used = last_used
        self.busy = False
        self.writer: SpoolWriter | None = None
        self.stored: Digest | None = None  # set where the content is in the bucket already, but not linked
        # The hash of the first `received` bytes, or None where they must be read again to know it.
        self.hash = hash_
        self._waiting: list[Deferred[None]] = []

    @property
    def data(self) -> Path:
        """The file with the bytes received."""
        return self.directory / DATA

    @property
    def offset(self) -> int:
        """How many bytes are in the spool now, also while more are coming."""
        return self.received if self.writer is None else self.writer.offset

    @contextmanager
    def occupied(self) -> Iterator[None]:
        """Within the block nobody else uses the session.

        :raises UploadBusy: where somebody does.
        """
        if self.busy:
            raise UploadBusy("another request is using this upload session")
        self.busy = True
        try:
            yield
        finally:
            self.busy = False
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                each.callback(None)

    async def idle(self, clock: IReactorTime, seconds: float) -> None:
        """Wait until nobody uses the session, at most so many seconds."""
        until = clock.seconds() + seconds
        with suppress(WaitedLongEnough):
            while self.busy and (left := until - clock.seconds()) > 0:
                done: Deferred[None] = Deferred()
                self._waiting.append(done)
                done.addTimeout(left, clock)
                await done
