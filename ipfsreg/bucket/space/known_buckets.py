"""Which buckets were used here, so that another one of the same name is not taken for one of them.

The name alone does not tell: with another daemon, or a daemon that was begun anew, a bucket of the name is made or
found that lacks all that was pushed.
"""

import os
from pathlib import Path


class KnownBuckets:
    """The keys of the buckets by name, in a file of this disk: a line ``<key> <name>`` for each.

    Blocking, for worker threads. The user removes the file, or a line of it, to have another bucket used.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def key(self, name: str) -> str | None:
        """The key of the bucket that was used under a name, or None for none. Raises `OSError`."""
        return self._read().get(name)

    def keep(self, name: str, key: str) -> None:
        """Remember the bucket of a name, durably. Raises `OSError`."""
        known = self._read() | {name: key}
        draft = self.file.with_name(f"{self.file.name}.new")
        with draft.open("w", encoding="utf-8") as file:
            file.write("".join(f"{key} {name}\n" for name, key in known.items()))
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, self.file)

    def _read(self) -> dict[str, str]:
        try:
            text = self.file.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return {}
        found = (line.partition(" ") for line in text.splitlines())
        return {name: key for key, space, name in found if space}
