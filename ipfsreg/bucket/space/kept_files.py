"""Small files with their CIDs on this disk, so that they are known after a new start as well.

The file is a help and no record: it may be lost, lack its last lines, or tell of what was replaced since. What counts
is the CID that the daemon lists. Blocking, for worker threads.
"""

import base64
import binascii
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

Kept = tuple[str, str, bytes]
"""Path, CID and content."""


class KeptFiles:
    """One line for each file, a later one counts. ``length`` is the file's, in bytes, once it was read."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.length = 0

    def load(self) -> Iterator[Kept]:
        """What is there, in its order. Raises `OSError`."""
        try:
            file = self._file.open("rb")
        except FileNotFoundError:
            return
        with file:
            for line in file:
                self.length += len(line)
                kept = _read(line)  # the last one may be torn
                if kept is not None:
                    yield kept

    def save(self, path: str, cid: str, content: bytes) -> None:
        """Append a file. Raises `OSError`."""
        line = _written(path, cid, content)
        with self._file.open("ab") as file:
            file.write(line)
        self.length += len(line)

    def write_anew(self, files: Iterable[Kept]) -> None:
        """Put these in the place of all. Raises `OSError`."""
        draft = self._file.with_name(f"{self._file.name}.new")
        with draft.open("wb") as file:
            for each in files:
                file.write(_written(*each))
            self.length = file.tell()
        os.replace(draft, self._file)


def _written(path: str, cid: str, content: bytes) -> bytes:
    return json.dumps([path, cid, base64.b64encode(content).decode("ascii")]).encode("ascii") + b"\n"


def _read(line: bytes) -> Kept | None:
    try:
        path, cid, content = json.loads(line)
        if isinstance(path, str) and isinstance(cid, str) and line.endswith(b"\n"):
            return path, cid, base64.b64decode(content, validate=True)
    except (ValueError, TypeError, binascii.Error):
        pass
    return None
