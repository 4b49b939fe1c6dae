"""Letting an IPNS name point to the bucket as it is."""

from collections.abc import Awaitable, Callable

from twisted.logger import Logger

from ipfsreg.bucket.kubo.node.network import Network

from .published_states import PublishedStates

REPUBLISH_SECONDS = 12 * 3600.0
"""How old a record may become, of the 48 hours that it is valid for. A node renews it too, if it is left to."""

PUBLISH_TRIES = 5
"""How often the newest state is kept anew where it was replaced meanwhile. The last one may then not be pinned."""


class Publishing:
    """Publishes under a key of the node. ``root`` answers the CID of the bucket, ``seconds`` tells the time."""

    _log = Logger()

    def __init__(
        self,
        root: Callable[[], Awaitable[str]],
        network: Network,
        kept: PublishedStates,
        key: str,
        seconds: Callable[[], float],
    ) -> None:
        self._root = root
        self._network = network
        self._kept = kept
        self._key = key
        self._seconds = seconds
        self._published: str | None = None
        self._when = 0.0
        self._name: str | None = None
        self._alone = False

    async def publish(self) -> None:
        """Publish the last state that counts, unless that is done already. `BucketError`."""
        root, now = await self._root(), self._seconds()
        if root == self._published and now - self._when < REPUBLISH_SECONDS:
            return
        for _ in range(PUBLISH_TRIES):
            await self._kept.keep(root)
            # If it counts now, it was pinned until it was kept.
            before, root = root, await self._root()
            if root == before:
                break
        name = await self._network.publish(root, self._key)
        if name != self._name:
            self._name = name
            self._log.info(
                "This registry is published: others mirror it with [kubo] follow = /ipns/{name}. Who knows that name "
                "can read all of it, unless it is encrypted.",
                name=name,
            )
        if await self._network.has_peers():
            self._published, self._when, self._alone = root, now, False
        elif not self._alone:
            self._alone = True
            self._log.warn("The node has no peers yet, so nobody learns of /ipns/{name}. It is tried again.", name=name)
