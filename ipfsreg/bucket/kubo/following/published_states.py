"""States that were published, kept on the node while mirrors may still be fetching them.

The next push unpins a state, and the node's garbage collection would then take it while mirrors that have just learned
its name fetch it. So a block that leads to it is pinned: that keeps all below, and the node need not look at it.
"""

import time
from collections.abc import Callable

from twisted.logger import Logger

from ipfsreg.bucket.errors import BucketError, NotFound
from ipfsreg.bucket.kubo.errors import NotPinned
from ipfsreg.bucket.kubo.json_file import JsonFile
from ipfsreg.bucket.kubo.node.node import Node
from ipfsreg.ipfs.cid import DAG_PB, cid_of, parse_cid
from ipfsreg.ipfs.dag_pb import PBLink
from ipfsreg.ipfs.unixfs import encode_directory

KEEP_SECONDS = 900.0
"""For so long a state is kept that is not the published one any more."""


class PublishedStates:
    """``file`` says what is pinned, over restarts. ``now`` tells the time of day."""

    _log = Logger()

    def __init__(self, node: Node, file: JsonFile, now: Callable[[], float] = time.time) -> None:
        self._node = node
        self._file = file
        self._now = now
        self._kept: dict[str, float | None] | None = None
        """When a pinned block's state ceased to be published; None while it is."""

    async def keep(self, root: str) -> None:
        """Keep a state, which is pinned still, from before it is published on; and let go of those of long before.

        :raises BucketError: where the node or the disk does not let us.
        """
        kept = await self._read()
        block = encode_directory([PBLink(parse_cid(root), "published", 0)])
        cid = cid_of(DAG_PB, block)
        now = self._now()
        for other in kept:
            if kept[other] is None:
                kept[other] = now
        kept[str(cid)] = None
        await self._file.write({"kept": kept})
        await self._node.put_blocks([(cid, block)], pin=True)
        for other, since in list(kept.items()):
            if since is not None and now - since > KEEP_SECONDS:
                await self._let_go(other)
        await self._file.write({"kept": kept})

    async def _let_go(self, cid: str) -> None:
        assert self._kept is not None
        try:
            await self._node.unpin(cid)
        except (NotPinned, NotFound):
            pass
        except BucketError as error:
            self._log.info("{cid} stays pinned until something is published again: {error}", cid=cid, error=error)
            return
        del self._kept[cid]

    async def _read(self) -> dict[str, float | None]:
        if self._kept is None:
            found = (await self._file.read()).get("kept")
            self._kept = dict(found) if isinstance(found, dict) else {}
        return self._kept
