"""The audit log: who did what, from where, and whether it was allowed. JSON, one object a line."""

import json
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipfsreg.flow.workers import Workers

from .errors import AccessFileError
from .identity import User

WAITING_MAX = 10_000
"""Lines that wait for the disk; those above are dropped, and how many is said in the next one that is written."""

_TEXT_MAX = 1024
_BATCH = 500


class AuditLog:
    """A file to which lines are added, in a thread, in the order in which they came.

    It is opened for each batch, so a file that was moved away (logrotate) is not written to any more, and nobody has to
    say so. Lines are not synced one by one: a loss of power may take the last seconds, a kill of the daemon what waits.
    """

    _log = Logger()

    def __init__(self, path: Path, workers: Workers, now: Callable[[], float]) -> None:
        self._path = path
        self._workers = workers
        self._now = now
        self._waiting: deque[str] = deque()
        self._dropped = 0
        self._running: Deferred[None] | None = None
        self._torn = False
        self._told: str | None = None

    def load(self) -> None:
        """See that the file can be written; blocks.

        :raises AccessFileError: where it cannot.
        """
        try:
            self._append(b"")
        except OSError as error:
            raise AccessFileError(f"{self._path}: {error.strerror}") from None

    def record(self, event: str, user: User | str, address: str, allowed: bool, **what: str | int | None) -> None:
        """Add a line. Called in the reactor; it never waits, and never fails.

        ``event`` is ``login``, ``push``, ``delete`` or so; ``what`` says more: the repository, the rule. It has no
        secret in it.
        """
        label = user if isinstance(user, str) else user.label
        line = {
            "time": datetime.fromtimestamp(self._now(), UTC).isoformat(timespec="milliseconds"),
            "event": event,
            "user": label[:_TEXT_MAX],
            "address": address[:_TEXT_MAX],
            "verdict": "allowed" if allowed else "denied",
            **{key: value[:_TEXT_MAX] if isinstance(value, str) else value for key, value in what.items()},
        }
        if len(self._waiting) >= WAITING_MAX:
            self._dropped += 1
            return
        # ASCII only: no control character, of whatever alphabet, gets into the file.
        self._waiting.append(json.dumps(line, ensure_ascii=True) + "\n")
        if self._running is None:
            self._running = writing = Deferred.fromCoroutine(self._write())
            writing.addBoth(self._written)

    async def stop(self) -> None:
        """Wait until everything is written."""
        if self._running is not None:
            await self._running

    async def _write(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
            lost = self._dropped + len(batch)
            if self._dropped:
                batch.insert(0, json.dumps({"event": "dropped", "lines": self._dropped}) + "\n")
            self._dropped = 0
            try:
                await self._workers.run(self._append, "".join(batch).encode("ascii"))
                self._told = None
            except OSError as error:
                self._dropped += lost
                if self._told != error.strerror:
                    self._told = error.strerror
                    self._log.error("The audit log {path}: {problem}", path=self._path, problem=error.strerror)

    def _written(self, result: None | Failure) -> None:
        self._running = None
        if isinstance(result, Failure):
            self._log.failure("The audit log {path}", result, path=self._path)

    def _append(self, content: bytes) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        try:
            rest = b"\n" + content if self._torn and content else content
            while rest:
                written = os.write(descriptor, rest)
                self._torn = written < len(rest)
                rest = rest[written:]
        finally:
            with suppress(OSError):
                os.close(descriptor)
