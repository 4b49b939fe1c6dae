"""The lock on a folder of the MFS: one daemon at a time changes it, and one that died does not keep the others out."""

import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import DeferredLock
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ..errors import BucketError, NotFound, Unavailable
from .errors import RETRY_AFTER, Exists
from .node import Node, inline_cid

POLL = 0.02
"""Seconds between two looks at a lock that somebody else has."""

STALE_TIMEOUTS = 4
"""After so many timeouts without any change, a lock belongs to nobody who lives: a change takes two at most."""


class FolderLock:
    """A file in the folder that only one can make: ``files/cp`` refuses to replace one.

    What it holds says who has the lock; it is in the CID itself, so the node cannot lose it. ``state`` answers
    something that changes with each change of the folder.
    """

    _log = Logger()

    def __init__(
        self, node: Node, folder: str, owner: str, state: Callable[[], Awaitable[str | None]], reactor: Any
    ) -> None:
        self.path = f"{folder}/lock"
        self._node = node
        self._cid = inline_cid(f"ipfsreg {owner}\n".encode())
        self._state = state
        self._reactor = reactor
        self._turn: DeferredLock = DeferredLock()
        self._taken = 0.0
        self._seen: tuple[str, str | None] | None = None
        self._since = 0.0

    async def acquire(self) -> None:
        """Wait for the lock. `Unavailable` where others have it for too long."""
        await self._turn.acquire()
        try:
            await self._wait()
        except BaseException:
            self._turn.release()
            raise
        self._taken = self._reactor.seconds()

    async def take(self) -> None:
        """Make the file, in a folder that was just made anew by who has the lock. `Exists`."""
        await self._node.copy(self._cid, self.path)

    async def release(self) -> None:
        """Let others have it."""
        await self._remove()
        self._turn.release()

    def check(self) -> None:
        """Whether whoever has the lock may still go on; later the others take it for left behind."""
        if self._reactor.seconds() - self._taken > self._node.index.timeout:
            raise Unavailable("the node is too slow for a change to be made", RETRY_AFTER)

    async def _wait(self) -> None:
        until = self._reactor.seconds() + self._node.index.timeout
        while True:
            try:
                await self.take()
                return
            except Exists:
                pass
            if await self._is_left_behind():
                self._log.warn("Removing the lock that a daemon left behind: {lock}", lock=self.path)
                await self._remove()
            elif self._reactor.seconds() > until:
                raise Unavailable(f"other daemons have {self.path} all the time", RETRY_AFTER)
            else:
                await deferLater(self._reactor, POLL * (1 + secrets.randbelow(100) / 100), lambda: None)

    async def _is_left_behind(self) -> bool:
        try:
            holder = (await self._node.stat(self.path)).cid
        except NotFound:
            return False
        if holder == self._cid:
            # This daemon does not have it now, so the node or the daemon ended while it had.
            return True
        now, state = self._reactor.seconds(), (holder, await self._state())
        if state != self._seen:
            self._seen, self._since = state, now
        return bool(now - self._since > STALE_TIMEOUTS * self._node.index.timeout)

    async def _remove(self) -> None:
        try:
            await self._node.remove(self.path)
        except NotFound:
            return
        except BucketError as error:
            self._log.warn("The lock {lock} stays behind: {error}", lock=self.path, error=error)
