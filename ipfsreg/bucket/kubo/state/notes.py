"""What a daemon has to know of its bucket when it starts again."""

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipfsreg.bucket.errors import Unavailable
from ipfsreg.bucket.kubo.json_file import JsonFile

from .states import NOBODY_HELPS, BucketState


class Notes:
    """``folder`` is the bucket's path; what was noted of another one is of no use.

    ``owner`` is this daemon's name. ``root`` is the last state that it saw counting, and ``number`` that state's.
    ``lease`` is since when, by `Clocks.uptime`, it may have held the lease, or None. ``unsettled`` are CIDs that it has
    pinned, or was about to, and that are not to stay pinned unless they count.
    """

    _log = Logger()

    def __init__(self, file: JsonFile, folder: str) -> None:
        self.file = file
        self.folder = folder
        self.owner = secrets.token_hex(16)
        self.root: str | None = None
        self.number = 0
        self.lease: float | None = None
        self.unsettled: set[str] = set()
        self._read = False

    async def read(self) -> None:
        """Go on from what is in the file, once. `BucketError` where the disk does not let us."""
        if self._read:
            return
        noted = await self.file.read()
        if noted.get("folder") == self.folder:
            self.owner = noted.get("owner") or self.owner
            self.root = noted.get("root")
            self.number = int(noted.get("number") or 0)
            self.lease = noted.get("turn")
            self.unsettled |= set(noted.get("unsettled") or ())
        self._read = True
        await self.write()

    async def write(self) -> None:
        """Keep them; returns when that is durable. `BucketError` where the disk does not let us."""
        noted = {
            "folder": self.folder,
            "owner": self.owner,
            "root": self.root,
            "number": self.number,
            "turn": self.lease,
            "unsettled": sorted(self.unsettled),
        }
        await self.file.write(noted)

    async def begin(self, state: BucketState) -> None:
        """Keep the state that counts when this daemon begins. `BucketError` where the disk does not let us."""
        if self.root != state.root:
            self.root, self.number = state.root, state.number
            await self.write()

    def hold_lease(self, since: float) -> None:
        """This daemon holds the lease since a time by `Clocks.uptime`; `write` keeps it."""
        self.lease = since

    async def end_lease(self) -> None:
        """Keep that it does not any more. `BucketError` where the disk does not let us."""
        self.lease = None
        await self.write()

    def add_unsettled(self, cids: Iterable[str]) -> None:
        """Such CIDs are not to stay pinned; `write` keeps it."""
        self.unsettled.update(cids)

    def drop_unsettled(self, cid: str) -> None:
        """One of them is not pinned any more, or counts; `write` keeps it."""
        self.unsettled.discard(cid)

    def settled(self, state: BucketState) -> None:
        """Keep, in the background, that a state counts and that this daemon holds no lease any more."""
        self.root, self.number, self.lease = state.root, state.number, None
        Deferred.fromCoroutine(self.write()).addErrback(self._not_written)

    def _not_written(self, failure: Failure) -> None:
        self._log.error("{file} is not written: {error}", file=self.file.path, error=failure.getErrorMessage())

    def check(self, state: BucketState) -> None:
        """Refuse a state that is older than one that this daemon has seen counting. :raises Unavailable:"""
        # A marker that was put up anew has a number that is one higher than the state's own.
        if state.number + 1 < self.number:
            raise Unavailable(
                f"the node has the bucket as it was at {_when(state.number)}, and this daemon knows of a state of "
                f"{_when(self.number)}: was the node restored from a copy, or does this peer of a cluster not "
                f"know of the newest pins? To go on with what it has, remove {self.file.path} while the daemon is "
                "stopped",
                NOBODY_HELPS,
            )


def _when(number: int) -> str:
    """A state's number, as a time that says something to people."""
    return datetime.fromtimestamp(number / 1000, UTC).isoformat(" ", "seconds") if number > 1 else "its beginning"
