"""Files on their way into one bucket of the server.

The server holds a lock on a bucket from the first byte of a push to its last, and saves the bucket once for each
stream. So there is one stream at a time for a bucket, and all files that wait when it begins go in it: also those of
which one must not be there without another.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipfsreg.bucket.errors import Unavailable, Unreachable
from ipfsreg.bucket.sources import Source

from .server.errors import Gone, Unimplemented

GATHER_PART = 0.125
GATHER_MAX = 0.02
"""How long a stream waits for more files before it begins: a fraction of the last one's time, and seconds at most."""

BATCH_FILES = 200
BATCH_BYTES = 4 * 1024**3
"""The most that goes into one stream: if that fails, all of it is sent again."""

UNAVAILABLE_IN_A_ROW = 2
"""After so many pushes in a row that failed because the server is unavailable, the rest of the batch is not tried."""


class Sender(Protocol):
    """How files get to the server; `ShardSender` is the real one."""

    async def push_paths(self, pushes: "Sequence[Sequence[FileToPush]]") -> None:
        """All files of several pushes in one stream. `Unimplemented` where the server is too old for it."""

    async def push_path(self, file: "FileToPush") -> None:
        """One file in a stream of its own."""


@dataclass(frozen=True, slots=True)
class FileToPush:
    """A file that is to be at a path."""

    path: str
    source: Source


@dataclass(eq=False, slots=True)
class _Push:
    """Files each of which is to be there when the next one is; ``done`` fires when all are acknowledged."""

    files: Sequence[FileToPush]
    done: "Deferred[None]"


class PushQueue:
    """The queue of one bucket of the server. ``begins`` is called with its paths when a stream does."""

    _log = Logger()

    def __init__(self, sender: Sender, clock: IReactorTime, begins: Callable[[Iterable[str]], None]) -> None:
        self._sender = sender
        self._clock = clock
        self._begins = begins
        self._queue: list[_Push] = []
        self._running: Deferred[None] | None = None
        self._has_push_paths = True
        self._stopped = False
        self._took = 0.0

    def push(self, files: Sequence[FileToPush]) -> "Deferred[None]":
        """Push files, each of another path; fires when the server has acknowledged all.

        None is there without those before it.
        """
        push = _Push(files, Deferred())
        if self._stopped:
            push.done.errback(Failure(Unavailable("the daemon is stopping")))
            return push.done
        self._queue.append(push)
        if self._running is None:
            self._running = ensureDeferred(self._run())
            self._running.addBoth(self._ended)
        return push.done

    def stop(self) -> None:
        """Give up what is under way and what waits."""
        self._stopped = True
        if self._running is not None:
            self._running.cancel()

    async def _run(self) -> None:
        while self._queue and not self._stopped:
            # A stream costs some round trips: files that come a moment later had better go in the same one.
            await deferLater(self._clock, min(GATHER_MAX, GATHER_PART * self._took), lambda: None)
            batch = self._next_batch()
            self._begins(file.path for push in batch for file in push.files)
            began = self._clock.seconds()
            try:
                await self._push(batch)
            except CancelledError:
                _fail(batch, Failure(Unavailable("the daemon is stopping")))
                raise
            self._took = self._clock.seconds() - began

    def _next_batch(self) -> list[_Push]:
        batch: list[_Push] = []
        length = 0
        later: list[_Push] = []
        paths: set[str] = set()
        queue, self._queue = self._queue, []
        for position, push in enumerate(queue):
            if len(paths) >= BATCH_FILES or length >= BATCH_BYTES:
                later += queue[position:]
                break
            if not paths.isdisjoint(file.path for file in push.files):  # a path can be written once in a stream
                later.append(push)
                continue
            paths.update(file.path for file in push.files)
            batch.append(push)
            length += sum(file.source.size for file in push.files)
        self._queue[:0] = later
        return batch

    async def _push(self, batch: Sequence[_Push]) -> None:
        count = sum(len(push.files) for push in batch)
        if count > 1 and self._has_push_paths:
            try:
                await _twice(lambda: self._sender.push_paths([push.files for push in batch]), Unreachable)
            except Unimplemented:
                self._has_push_paths = False
            except Unreachable:
                _fail(batch, Failure())
                return
            except CancelledError:
                raise
            except Exception as error:
                # One file that cannot be had, or that may not be written, must not fail the others.
                self._log.info("{count} files go one by one: {error}", count=count, error=error)
            else:
                for push in batch:
                    push.done.callback(None)
                return
        await self._push_one_by_one(batch)

    async def _push_one_by_one(self, batch: Sequence[_Push]) -> None:
        failed = 0
        for push in batch:
            try:
                for file in push.files:
                    await _twice(lambda file=file: self._sender.push_path(file), Unavailable)  # type: ignore[misc]
            except CancelledError:
                raise
            except Exception as error:
                _fail([push], Failure())
                failed = failed + 1 if isinstance(error, Unavailable) else 0
                if failed == UNAVAILABLE_IN_A_ROW:
                    _fail(batch, Failure())
                    return
            else:
                push.done.callback(None)
                failed = 0

    def _ended(self, result: object) -> None:
        self._running = None
        if isinstance(result, Failure) and not result.check(CancelledError):
            self._log.failure("The queue of a bucket stopped", result)
        waiting, self._queue = self._queue, []
        _fail(waiting, Failure(Unavailable("the daemon is stopping")))


def _fail(pushes: Sequence[_Push], failure: Failure) -> None:
    for push in pushes:
        if not push.done.called:
            push.done.errback(failure)


async def _twice(push: Callable[[], Awaitable[None]], again: type[Unavailable]) -> None:
    """Push, and once more after a failure of the kind ``again``: the same path gets the same content."""
    try:
        await push()
    except Gone:
        raise
    except again:
        await push()
