"""The audit log: who did what, from where, and whether it was allowed. JSON, one object a line."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from ipfsreg.flow.line_file import LineFile
from ipfsreg.flow.workers import Workers

from .errors import AccessFileError
from .identity import User

_TEXT_MAX = 1024


class AuditLog:
    """A file to which lines are added; see `LineFile` for what that means."""

    def __init__(self, path: Path, workers: Workers, now: Callable[[], float]) -> None:
        self._file = LineFile("The audit log", path, workers, _dropped)
        self._now = now

    def load(self) -> None:
        """See that the file can be written; blocks.

        :raises AccessFileError: where it cannot.
        """
        try:
            self._file.check()
        except OSError as error:
            raise AccessFileError(f"{self._file.path}: {error.strerror}") from None

    def record(self, event: str, user: User | str, address: str, *, allowed: bool, **what: str | int | None) -> None:
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
        # ASCII only: no control character, of whatever alphabet, gets into the file.
        self._file.add(json.dumps(line, ensure_ascii=True))

    async def stop(self) -> None:
        """Wait until everything is written."""
        await self._file.stop()


def _dropped(lines: int) -> str:
    return json.dumps({"event": "dropped", "lines": lines})
