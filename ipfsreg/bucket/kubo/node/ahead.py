"""Content that goes to the node while the client still sends it: see `TakesAhead`.

It is added without a pin and linked nowhere, so what is given up is garbage for the node's next collection.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipfsreg.bucket.errors import BucketError
from ipfsreg.bucket.kubo.rpc.growing import GrowingFile
from ipfsreg.flow.workers import Workers

from .node import Target

BEGIN = 8 * 1024**2
"""From so many bytes on a file is worth the trouble."""

FILES_AHEAD = 8
"""How many files go ahead at the same time; others are sent when they are whole."""


class Ahead:
    """Adds files while they grow. ``add`` stores a source."""

    _log = Logger()

    def __init__(self, add: Callable[[GrowingFile], Awaitable[Target]], workers: Workers) -> None:
        self._add = add
        self._workers = workers
        self._going: dict[Path, tuple[GrowingFile, Deferred[Target]]] = {}

    def grown(self, source: Path, size: int) -> None:
        """See `TakesAhead`."""
        if source in self._going:
            self._going[source][0].grow(size)
        elif size >= BEGIN and len(self._going) < FILES_AHEAD:
            file = GrowingFile(source, self._workers)
            file.grow(size)

            async def add() -> Target:
                return await self._add(file)

            self._going[source] = (file, ensureDeferred(add()))

    def forget(self, source: Path) -> None:
        """See `TakesAhead`."""
        found = self._going.pop(source, None)
        if found is not None:
            found[1].addErrback(self._given_up)
            found[1].cancel()

    async def finish(self, source: Path, size: int) -> Target | None:
        """What a file is that is whole now, or None where it has to be added as any other."""
        found = self._going.pop(source, None)
        if found is None:
            return None
        file, done = found
        file.grow(size, whole=True)
        try:
            return await done
        except BucketError as error:
            self._log.info("A file that went ahead has to be sent again: {error}", error=error)
            return None

    def stop(self) -> None:
        """Give up all of them."""
        for source in list(self._going):
            self.forget(source)

    def _given_up(self, failure: Failure) -> None:
        failure.trap(CancelledError, BucketError)
