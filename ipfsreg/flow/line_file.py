"""A file to which a daemon adds lines while it serves its clients."""

import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from .workers import Workers

WAITING_MAX = 10_000
"""Lines that wait for the disk; those above are dropped, and how many is said in the next one that is written."""

TOGETHER_SECONDS = 0.2
"""How long lines wait for others."""

_BATCH = 500


class LineFile:
    """Lines are added in a thread, in the order in which they came.

    The file is opened for each batch, so one that was moved away (logrotate) is not written to any more, and nobody has
    to say so. Lines are not synced one by one: a loss of power may take the last seconds, a kill of the daemon what
    waits. ``what`` names the file in the log; ``dropped`` makes the line that tells of a number of lost ones. With a
    ``clock``, lines wait for `TOGETHER_SECONDS`, so that a busy daemon does not ask a thread for each.
    """

    _log = Logger()

    def __init__(
        self,
        what: str,
        path: Path,
        workers: Workers,
        dropped: Callable[[int], str],
        clock: IReactorTime | None = None,
    ) -> None:
        self.path = path
        self._what = what
        self._workers = workers
        self._dropped_line = dropped
        self._clock = clock
        self._later: IDelayedCall | None = None
        self._waiting: deque[str] = deque()
        self._dropped = 0
        self._running: Deferred[None] | None = None
        self._torn = False
        self._told: str | None = None

    def check(self) -> None:
        """See that the file can be written; blocks.

        :raises OSError: where it cannot.
        """
        self._append(b"")

    def add(self, line: str) -> None:
        """Add a line of ASCII, given without its end. Called in the reactor; it never waits, and never fails."""
        if len(self._waiting) >= WAITING_MAX:
            self._dropped += 1
            return
        self._waiting.append(f"{line}\n")
        if self._running is None and self._later is None:
            self._begin_soon()

    async def stop(self) -> None:
        """Wait until everything is written."""
        while self._later is not None or self._running is not None:
            if self._later is not None:
                self._later.cancel()
                self._begin()
            if self._running is not None:
                await self._running

    def _begin_soon(self) -> None:
        if self._clock is None:
            self._begin()
        else:
            self._later = self._clock.callLater(TOGETHER_SECONDS, self._begin)

    def _begin(self) -> None:
        self._later = None
        self._running = writing = Deferred.fromCoroutine(self._write())
        writing.addBoth(self._written)

    async def _write(self) -> None:
        # What comes meanwhile waits for more of its kind.
        left = len(self._waiting)
        while left:
            batch = [self._waiting.popleft() for _ in range(min(_BATCH, left))]
            left -= len(batch)
            lost = self._dropped + len(batch)
            if self._dropped:
                batch.insert(0, f"{self._dropped_line(self._dropped)}\n")
            self._dropped = 0
            try:
                await self._workers.run(self._append, "".join(batch).encode("ascii"))
                self._told = None
            except OSError as error:
                self._dropped += lost
                if self._told != error.strerror:
                    self._told = error.strerror
                    self._log.error(
                        "{what} {path} takes no lines: {problem}",
                        what=self._what,
                        path=self.path,
                        problem=error.strerror,
                    )

    def _written(self, result: None | Failure) -> None:
        self._running = None
        if isinstance(result, Failure):
            self._log.failure("{what} {path}", result, what=self._what, path=self.path)
        if self._waiting:
            self._begin_soon()

    def _append(self, content: bytes) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        descriptor = os.open(self.path, flags, 0o600)
        try:
            rest = b"\n" + content if self._torn and content else content
            while rest:
                written = os.write(descriptor, rest)
                self._torn = written < len(rest)
                rest = rest[written:]
        finally:
            with suppress(OSError):
                os.close(descriptor)
