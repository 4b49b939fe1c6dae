"""A small file of this disk for what a daemon has to know when it starts again: one JSON object."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.defer import DeferredLock

from ipfsreg.bucket.errors import bucket_error
from ipfsreg.flow.durable import remove_drafts, write_durably
from ipfsreg.flow.workers import Workers


class JsonFile:
    """Read and written in threads, one write after the other. Of several that wait only the last is made."""

    def __init__(self, path: Path, workers: Workers) -> None:
        self.path = path
        self._workers = workers
        self._next: bytes | None = None
        self._lock = DeferredLock()

    async def read(self) -> dict[str, Any]:
        """What is in it; nothing where it is not there, or holds no object. What a killed daemon left is removed."""
        async with self._lock:
            return await self._workers.run(_read, self.path)

    async def write(self, document: dict[str, Any]) -> None:
        """Replace what is in it; returns when that is durable. `BucketError` where the disk does not let us."""
        self._next = json.dumps(document).encode() + b"\n"
        async with self._lock:
            content, self._next = self._next, None
            if content is None:  # a later one was written while this one waited
                return
            try:
                await self._workers.run(write_durably, self.path, content)
            except BaseException as error:
                self._next = self._next or content
                if isinstance(error, OSError):
                    raise bucket_error(error) from None
                raise

    async def written(self) -> None:
        """Wait until what was asked for before has been written, or has failed."""
        async with self._lock:
            pass


def _read(path: Path) -> dict[str, Any]:
    with suppress(OSError):
        remove_drafts(path)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
