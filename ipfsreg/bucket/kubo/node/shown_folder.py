"""The bucket in the node's MFS, for people to look at: nothing depends on it.

Only since Kubo 0.43: before, garbage collection takes blocks of an MFS that is changed beside it. Then everybody waits
who uses the MFS, and the node may not start again, since it does not begin without the MFS' first block (seen with
0.42).
"""

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipfsreg.bucket.errors import BucketError, NotFound

from .node import MFS_WAITS, Node

SOON_SECONDS = 1.0
"""How long after a change its state is shown: what comes at the same time is shown at once."""

EVERY_SECONDS = 10.0
"""It is changed no more often."""

AGAIN_SECONDS = 60.0
"""When it is tried again after a failure."""


class ShownFolder:
    """A folder of the MFS that is made to show the state that counts."""

    _log = Logger()

    def __init__(self, node: Node, path: str, reactor: Any) -> None:
        self._node = node
        self._path = path
        self._reactor = reactor
        self._root: str | None = None
        self._failed = False
        self._not_before = 0.0
        self._waiting: IDelayedCall | None = None
        self._changing: Deferred[None] | None = None
        self._stopped = False

    async def cid(self) -> str | None:
        """The CID of what the folder shows now; None where there is none."""
        try:
            found = await self._node.stat(self._path)
        except NotFound:
            return None
        return found.cid if found.is_directory else None

    def show(self, root: str) -> None:
        """Have it show a state, soon."""
        if self._node.version < MFS_WAITS:
            return
        self._root = root
        if self._waiting is None and self._changing is None and not self._stopped:
            seconds = max(SOON_SECONDS, self._not_before - self._reactor.seconds())
            self._waiting = self._reactor.callLater(seconds, self._begin)

    def stop(self) -> None:
        """Leave it as it is."""
        self._stopped = True
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        if self._changing is not None:
            self._changing.cancel()

    def _begin(self) -> None:
        self._waiting = None
        assert self._root is not None
        self._changing = ensureDeferred(self._change(self._root))
        self._changing.addBoth(self._ended, self._root)

    async def _change(self, root: str) -> None:
        if await self.cid() == root:
            return
        await self._node.remove(self._path, force=True)
        await self._node.copy(root, self._path)
        await self._node.flush(self._path.rpartition("/")[0])

    def _ended(self, result: None | Failure, root: str) -> None:
        self._changing = None
        if isinstance(result, Failure):
            if result.check(CancelledError) or self._stopped:
                return
            if not result.check(BucketError):
                self._log.failure("Showing the bucket in {path} failed", result, path=self._path)
            elif not self._failed:
                self._log.warn(
                    "{path} in the node's MFS does not show the bucket as it is, which nothing depends on: {error}",
                    path=self._path,
                    error=result.getErrorMessage(),
                )
        self._failed = isinstance(result, Failure)
        self._not_before = self._reactor.seconds() + (AGAIN_SECONDS if self._failed else EVERY_SECONDS)
        if self._failed or self._root != root:
            assert self._root is not None
            self.show(self._root)
