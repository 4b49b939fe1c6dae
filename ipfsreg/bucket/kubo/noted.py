"""What a daemon notes on its own disk of the folder on the node."""

import json
from pathlib import Path
from typing import Any

from ...workers import Workers


class Noted:
    """``kubo.json``. What was noted of another folder is of no use for this one."""

    def __init__(self, file: Path, folder: str, workers: Workers) -> None:
        self.file = file
        self.owner = ""
        """By what the lock on the folder is known."""
        self.root: str | None = None
        """The state that counts, as this daemon saw it last."""
        self.pinning: str | None = None
        """The state that was about to take its place."""
        self.unsettled: list[str] = []
        """States that may be pinned and do not count: an answer of the node was lost."""
        self.shared = False
        """Whether another daemon was seen to change the folder."""
        self._folder = folder
        self._workers = workers

    async def load(self) -> None:
        """Go on from what an earlier daemon noted."""
        found = await self._workers.run(_read, self.file)
        if found.get("folder") == self._folder:
            self.owner = found.get("owner") or ""
            self.root = found.get("root")
            self.pinning = found.get("pinning")
            self.unsettled = list(found.get("unsettled") or [])
            self.shared = bool(found.get("shared"))

    async def write(self, root: str | None, pinning: str | None = None) -> None:
        """Note which state counts, and which is about to. One that was about to, and does not count, is unsettled."""
        if self.pinning not in {None, root, pinning, *self.unsettled}:
            assert self.pinning is not None
            self.unsettled.append(self.pinning)
        self.root, self.pinning = root, pinning
        self.unsettled = [cid for cid in self.unsettled if cid not in {root, pinning}]
        document = {
            "folder": self._folder,
            "owner": self.owner,
            "root": root,
            "pinning": pinning,
            "unsettled": self.unsettled,
            "shared": self.shared,
        }
        await self._workers.run(_replace, self.file, json.dumps(document) + "\n")


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
