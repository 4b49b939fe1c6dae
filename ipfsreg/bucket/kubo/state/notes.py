"""What a daemon has to know of its bucket when it starts again."""

import secrets
from pathlib import Path

from ipfsreg.flow.workers import Workers

from .noted import NotedFile


class Notes:
    """``folder`` is the bucket's path; what was noted of another one is of no use.

    ``owner`` is this daemon's name, ``root`` the last state that it saw counting, ``number`` that one's. ``turn`` is
    since when it may have been its turn, by `uptime`. ``unsettled`` are CIDs that it pinned, or was about to, and that
    are not to stay pinned unless they count.
    """

    def __init__(self, file: Path, folder: str, workers: Workers) -> None:
        self.file = file
        self.owner = secrets.token_hex(16)
        self.root: str | None = None
        self.number = 0
        self.turn: float | None = None
        self.unsettled: set[str] = set()
        self._folder = folder
        self._noted = NotedFile(file, workers)
        self._read = False

    async def read(self) -> None:
        """Go on from what is in the file, once."""
        if self._read:
            return
        noted = await self._noted.read()
        if noted.get("folder") == self._folder:
            self.owner = noted.get("owner") or self.owner
            self.root = noted.get("root")
            self.number = int(noted.get("number") or 0)
            self.turn = noted.get("turn")
            self.unsettled |= set(noted.get("unsettled") or ())
        self._read = True
        await self.write()

    async def write(self) -> None:
        """Keep it. `BucketError` where the disk does not let us."""
        noted = {
            "folder": self._folder,
            "owner": self.owner,
            "root": self.root,
            "number": self.number,
            "turn": self.turn,
            "unsettled": sorted(self.unsettled),
        }
        await self._noted.write(noted)
