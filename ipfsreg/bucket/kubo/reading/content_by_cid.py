"""Content by CID: what the node has, and what its network has. See `ContentByCid`."""

from collections.abc import Awaitable, Callable

from twisted.internet.defer import succeed

from ipfsreg.bucket.errors import Corrupt, NotFound
from ipfsreg.bucket.interface import IBucket, IReader
from ipfsreg.bucket.kubo.node.network import Network, checked_cid

from .contents import NodeContents
from .read_only import ReadOnlyBucket
from .reader import Route


class KuboContent:
    """See `ContentByCid`. ``root`` answers the CID of the bucket."""

    def __init__(self, network: Network, root: Callable[[], Awaitable[str]]) -> None:
        self._network = network
        self._root = root
        self._contents = network_contents(network)

    async def root(self) -> str:
        return await self._root()

    async def open_cid(self, cid: str, size: int | None) -> IReader:
        found = await self._contents.stat(f"/ipfs/{checked_cid(cid)}")
        if found.is_directory:
            raise NotFound(f"{cid} is a directory")
        if size is not None and found.size != size:
            raise Corrupt(f"{cid} has {found.size} bytes and not {size}")
        return await self._contents.open(found)

    def view(self, cid: str) -> IBucket:
        root = checked_cid(cid)
        return ReadOnlyBucket(self._contents, lambda: succeed(root), f"/ipfs/{cid}", "a CID is of one content")

    async def publish(self, cid: str, key: str) -> str:
        return await self._network.publish(cid, key)

    async def resolve(self, name: str) -> str:
        return await self._network.resolve(name)


def network_contents(network: Network) -> NodeContents:
    """All that a node and its network have."""
    return NodeContents(Route(network.rpc, local=False, lane=network.lane, seconds=network.seconds))
