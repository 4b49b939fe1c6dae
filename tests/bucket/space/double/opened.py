"""The plaintext copies that OpenFile hands out, and the watch that is kept on them.

See docs/protocols/space.md, "Opening files".
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from twisted.internet.task import LoopingCall

POLL_SECONDS = 0.1


class Source(NamedTuple):
    """What a copy was made of."""

    slug: str
    path: str
    database: str
    cid: str


_Signature = tuple[int, int, int] | None


def _signature(location: Path) -> _Signature:
    try:
        status = os.lstat(location)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


class OpenedFiles:
    """The register of copies. It outlives the daemon; the watch does not."""

    def __init__(self, clock: Any, touched: Callable[[Path, Source, bool], None]) -> None:
        """`touched` is told of each copy that was deleted or moved (True), or written to (False), once a change."""
        self._touched = touched
        self._locations: dict[Source, Path] = {}
        self._watched: dict[Path, tuple[Source, _Signature]] = {}
        self._polling = LoopingCall(self.look)
        self._polling.clock = clock

    def find(self, source: Source) -> Path | None:
        """The copy made of something before, as long as it exists; whatever has been done to it."""
        location = self._locations.get(source)
        return location if location is not None and location.exists() else None

    def add(self, source: Source, location: Path) -> None:
        """Register a copy, and watch it from now on."""
        self._locations[source] = location
        self.watch(source, location)

    def watch(self, source: Source, location: Path) -> None:
        """Watch a copy, if that is not done yet."""
        self._watched.setdefault(location, (source, _signature(location)))
        if not self._polling.running:
            self._polling.start(POLL_SECONDS, now=False)

    def locations(self) -> list[Path]:
        """All copies that were ever made."""
        return list(self._locations.values())

    def look(self) -> None:
        """See whether something has happened to a copy: done again and again by itself."""
        for location, (source, before) in list(self._watched.items()):
            now = _signature(location)
            if now == before:
                continue
            if now is None:
                del self._watched[location]
            else:
                self._watched[location] = (source, now)
            self._touched(location, source, now is None)

    def stop(self) -> None:
        """Watch nothing any more."""
        self._watched.clear()
        if self._polling.running:
            self._polling.stop()
