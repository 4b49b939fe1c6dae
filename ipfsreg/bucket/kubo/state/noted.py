"""A small file of this disk for what a daemon has to know when it starts again: one JSON object."""

import json
from pathlib import Path
from typing import Any

from twisted.internet.defer import DeferredLock

from ipfsreg.bucket.errors import bucket_error
from ipfsreg.flow.workers import Workers


class NotedFile:
    """Read and written in threads, one write after the other, each whole or not at all."""

    def __init__(self, path: Path, workers: Workers) -> None:
        self.path = path
        self._workers = workers
        self._turn: DeferredLock = DeferredLock()

    async def read(self) -> dict[str, Any]:
        """What is in it; nothing where it is not there, or is no such file."""
        return await self._workers.run(_read, self.path)

    async def write(self, noted: dict[str, Any]) -> None:
        """Replace what is in it. `BucketError` where the disk does not let us."""
        try:
            await self._turn.run(self._workers.run, _replace, self.path, json.dumps(noted) + "\n")
        except OSError as error:
            raise bucket_error(error) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _replace(path: Path, text: str) -> None:
    draft = path.with_suffix(".new")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
