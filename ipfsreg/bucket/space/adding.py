"""Files on their way into the daemon's bucket (docs/protocols/space.md, "Adding files").

Each call is for one directory of the bucket, so there is one queue for each, and all that waits there goes into the
next call. One call runs after the other: the daemon itself changes a bucket for one at a time, and a call that waited
there would use up its deadline for the length of another's files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipfsreg.bucket.errors import BucketError, Unavailable
from ipfsreg.flow.workers import Workers

from .client import SpaceClient
from .errors import meaning_of
from .proto import space_pb2
from .staging import Staging

BATCH_FILES = 100
"""What goes into one call at most. An error of the whole call fails all of it."""

ADD_SECONDS_PER_MEBIBYTE = 2.0
"""What a call's deadline allows beside ``timeout``: the daemon says nothing while it encrypts and stores a file."""


@dataclass(eq=False)
class _PendingFile:
    staged: Path
    size: int
    done: "Deferred[None]"


class Adder:
    """Puts files into one bucket of the daemon. A file is staged until the daemon has answered for all of its call.

    ``changing`` is the lock of all changes of the bucket.
    """

    _log = Logger()

    def __init__(
        self, client: SpaceClient, bucket: str, staging: Staging, workers: Workers, changing: DeferredLock
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._staging = staging
        self._workers = workers
        self._queues: dict[str, list[_PendingFile]] = {}
        self._changing = changing

    async def add(self, path: str, source: Path | bytes, size: int) -> None:
        """Create or replace a file; when it returns the daemon has it. The source stays as it is.

        There must be no two additions to one path at once.

        :param size: how long it is, in bytes, roughly.
        :raises BucketError: where the daemon did not say that the file is there.
        """
        directory, _, name = path.rpartition("/")
        staged = await self._workers.run(self._staging.place, name, source)
        try:
            await self._queued(directory, _PendingFile(staged, size, Deferred()))
        finally:
            if self._workers.running:
                await self._workers.run(self._staging.remove, staged)

    def _queued(self, directory: str, file: _PendingFile) -> "Deferred[None]":
        queue = self._queues.get(directory)
        if queue is not None:
            queue.append(file)
        else:
            self._queues[directory] = [file]
            Deferred.fromCoroutine(self._run(directory)).addErrback(self._stopped, directory)
        return file.done

    async def _run(self, directory: str) -> None:
        while True:
            async with self._changing:
                queue = self._queues[directory]
                batch, self._queues[directory] = queue[:BATCH_FILES], queue[BATCH_FILES:]
                await self._add(directory, batch)
            if not self._queues[directory]:
                del self._queues[directory]
                return

    def _stopped(self, failure: Failure, directory: str) -> None:
        self._log.failure("The queue of a directory stopped", failure)
        for file in self._queues.pop(directory, ()):
            file.done.errback(Unavailable("the queue stopped; the log says why"))

    async def _add(self, directory: str, batch: Sequence[_PendingFile]) -> None:
        try:
            outcomes = await self._call(directory, batch)
        except Exception:
            failure = Failure()
            if not failure.check(BucketError):
                self._log.failure("Adding to {directory} failed", failure, directory=directory)
                failure = Failure(Unavailable("a file could not be added; the log says why"))
            for file in batch:
                file.done.errback(failure)
            return
        for file, error in zip(batch, outcomes, strict=True):
            if error is None:
                file.done.callback(None)
            else:
                file.done.errback(error)

    async def _call(self, directory: str, batch: Sequence[_PendingFile]) -> Sequence[BucketError | None]:
        request = space_pb2.AddItemsRequest(
            sourcePaths=[str(file.staged) for file in batch], targetPath=directory, bucket=self._bucket
        )
        length = sum(file.size for file in batch)
        answers = await self._client.collect(
            "AddItems",
            request,
            space_pb2.AddItemsResponse,
            deadline=self._client.timeout + ADD_SECONDS_PER_MEBIBYTE * length / 1024**2,
        )
        # The call's status is 0 also where files were not added.
        results: dict[str, list[space_pb2.AddItemResult]] = {}
        for answer in answers:
            results.setdefault(answer.result.sourcePath, []).append(answer.result)
        return [_outcome(results.get(str(file.staged), [])) for file in batch]


def _outcome(results: Sequence[space_pb2.AddItemResult]) -> BucketError | None:
    if not results:
        return Unavailable("AddItems: the Space Daemon ended the call without a word about a file")
    error = next((each.error for each in results if each.error), None)
    if error is not None:
        return meaning_of(error, "AddItems")
    if len(results) > 1 or not results[0].bucketPath:
        return Unavailable("AddItems: the Space Daemon's answer about a file makes no sense")
    return None
