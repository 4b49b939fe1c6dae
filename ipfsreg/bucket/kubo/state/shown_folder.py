"""The bucket in the node's MFS, for people to look at: nothing depends on it.

Only since Kubo 0.43: before, garbage collection takes blocks of an MFS that is changed beside it. Then everybody waits
who uses the MFS, and the node may not start again, since it does not begin without the MFS' first block (seen with
0.42).
"""

from typing import Any

from twisted.internet.task import deferLater
from twisted.logger import Logger

from ipfsreg.bucket.errors import BucketError, NotFound
from ipfsreg.bucket.kubo.node.node import MFS_WAITS, Node
from ipfsreg.flow.background import Background

SOON_SECONDS = 1.0
"""How long after a change its state is shown: changes that come at the same time are shown at once."""

EVERY_SECONDS = 10.0
"""It is changed no more often."""

SHOW_AGAIN_SECONDS = 60.0
"""When it is tried again after a failure."""


class ShownFolder:
    """A folder of the MFS that is made to show the state that counts."""

    _log = Logger()

    def __init__(self, node: Node, path: str, reactor: Any) -> None:
        self._node = node
        self._path = path
        self._reactor = reactor
        self._root = ""
        self._not_before = 0.0
        self._following = Background(f"show the bucket in {path}", self._follow)

    async def cid(self) -> str | None:
        """The CID of what the folder shows now; None where there is none."""
        try:
            found = await self._node.stat(self._path)
        except NotFound:
            return None
        return found.cid if found.is_directory else None

    def show(self, root: str) -> None:
        """Have it show a state, soon."""
        if self._node.version >= MFS_WAITS:
            self._root = root
            self._following.start()

    def stop(self) -> None:
        """Leave it as it is."""
        self._following.stop()

    async def _follow(self) -> None:
        shown, told = "", False
        while self._root != shown:
            seconds = max(SOON_SECONDS, self._not_before - self._reactor.seconds())
            await deferLater(self._reactor, seconds, lambda: None)
            root = self._root
            try:
                await self._change(root)
                shown, pause = root, EVERY_SECONDS
            except BucketError as error:
                pause = SHOW_AGAIN_SECONDS
                if not told:
                    told = True
                    self._log.warn(
                        "{path} in the node's MFS does not show the bucket as it is, which nothing depends on: {error}",
                        path=self._path,
                        error=error,
                    )
            self._not_before = self._reactor.seconds() + pause

    async def _change(self, root: str) -> None:
        if await self.cid() == root:
            return
        await self._node.remove(self._path, force=True)
        await self._node.copy(root, self._path)
        await self._node.flush(self._path.rpartition("/")[0])
