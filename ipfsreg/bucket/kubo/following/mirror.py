"""The bucket of a registry that follows another one."""

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipfsreg.bucket.errors import BucketError
from ipfsreg.bucket.interface import IReader
from ipfsreg.bucket.kubo.node.contents import Contents
from ipfsreg.bucket.kubo.options import KuboOptions
from ipfsreg.bucket.kubo.reading.content_by_cid import KuboContent
from ipfsreg.bucket.kubo.reading.local_first import LocalFirst, LocalFirstReader
from ipfsreg.bucket.kubo.reading.read_only import ReadOnlyTree
from ipfsreg.bucket.kubo.rpc.client import Rpc
from ipfsreg.flow.workers import Workers

from .following import Following


class MirrorBucket(ReadOnlyTree):
    """What ``[kubo] follow`` leads to, through the node. See `Following` for what of it is on the node, and when."""

    _log = Logger()

    def __init__(self, options: KuboOptions, rpc: Rpc, workers: Workers) -> None:
        assert options.follow is not None
        self.read_only = f"this registry is a mirror of {options.follow}, and can only be read"
        self.by_cid = KuboContent(rpc, self._served, options.network_timeout)
        self.following = Following(options.follow, self.by_cid, options.directory / "following.json", workers)
        here = Contents(rpc, rpc, lambda: True)
        lane = rpc.lane(options.connections)
        network = Contents(rpc, rpc, lambda: False, lane=lane, seconds=options.network_timeout)
        name = f"{options.follow} through the IPFS node at {options.node()}"
        super().__init__(LocalFirst(here, network), self._served, name, self.read_only)
        self._options = options
        self._rpc = rpc
        self._looking: Deferred[None] | None = None

    def start(self) -> "Deferred[None]":
        """See `IBucket.start`. Where the name leads is looked up in the background, and with the first request."""
        for warning in self._options.warnings():
            self._log.warn("{warning}", warning=warning)
        return ensureDeferred(self._start())

    async def _start(self) -> None:
        await self.following.load()
        self._looking = ensureDeferred(self.following.refresh()).addErrback(self._looked_in_vain)

    def stop(self) -> "Deferred[None]":
        """See `IBucket.stop`."""
        return ensureDeferred(self._stop())

    async def _stop(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
        await self._rpc.stop()

    def open(self, path: str) -> "Deferred[IReader]":
        """See `IBucket.open`. What nobody has is `Unavailable` here already, and not only while it is read."""

        async def opened() -> IReader:
            reader = await super(MirrorBucket, self).open(path)
            assert isinstance(reader, LocalFirstReader)
            await reader.begin()
            return reader

        return ensureDeferred(opened())

    async def _served(self) -> str:
        return await self.following.root()

    def _looked_in_vain(self, failure: Failure) -> None:
        # It is done again and again, and logged there.
        if not failure.check(BucketError, CancelledError):
            self._log.failure("Looking for {name} failed", failure, name=self.name)
