"""How the ``kubo`` backend is made from its section of the configuration."""

from collections.abc import Callable
from typing import Any

from ipfsreg.bucket.cache.disk_cache import DiskCache
from ipfsreg.bucket.capabilities import Capabilities
from ipfsreg.bucket.interface import IBucket
from ipfsreg.bucket.opened import Opened, Repeated
from ipfsreg.flow.workers import Workers

from .bucket import KuboBucket
from .following.following import Following
from .following.published_states import PublishedStates
from .following.publishing import Publishing
from .following.remote_pins import KuboRemotePins
from .json_file import JsonFile
from .node.leaves import KuboLeaves
from .node.network import Network
from .options import KuboOptions
from .reading.content_by_cid import KuboContent
from .reading.contents import NodeContents
from .reading.local_first import LocalFirst
from .reading.read_only import ReadOnlyBucket
from .reading.reader import Route
from .rpc.client import Rpc
from .state.presence import RENEW_SECONDS, Clocks


def open_kubo(options: KuboOptions, workers: Workers, reactor: Any) -> Opened:
    """The bucket that the section names; behind a cache on this disk only where that may have any size."""
    header = options.header()
    content = Rpc(reactor, options.node, header, options.connections, options.timeout)

    def cached(bucket: IBucket) -> IBucket:
        if not options.cache_size:
            return bucket
        return DiskCache(bucket, options.directory / "cache", options.cache_size, workers, reactor)

    if options.follow is not None:
        return _open_mirror(options, options.follow, content, workers, cached)
    network = Network(content, options.network_timeout)
    index = content
    if options.index is not None:
        index = Rpc(reactor, options.index_node, header, options.connections, options.timeout, "index")
    kubo = KuboBucket(options, content, index, workers, Clocks(reactor))
    repeated = [Repeated("tell other daemons that this one is there", RENEW_SECONDS, kubo.renew)]
    if options.publish_key is not None:
        kept = PublishedStates(kubo.node, JsonFile(options.directory / "published.json", workers))
        publishing = Publishing(kubo.root, network, kept, options.publish_key, reactor.seconds)
        repeated.append(Repeated("publish the registry", options.publish_every, publishing.publish))
    return Opened(
        cached(kubo),
        repeated=repeated,
        exclusion=kubo,
        replace=kubo.replace,
        sign_states=kubo.signing.sign_with,
        told=network.told,
        ipfs=Capabilities(
            KuboContent(network, kubo.root),
            kubo.ahead,
            KuboLeaves(kubo.node, kubo.stat, workers),
            KuboRemotePins(content, kubo.root, options.path),
        ),
    )


def _open_mirror(
    options: KuboOptions, source: str, content: Rpc, workers: Workers, cached: Callable[[IBucket], IBucket]
) -> Opened:
    network = Network(content, options.network_timeout)
    following = Following(options, network, JsonFile(options.directory / "following.json", workers))
    here = NodeContents(Route(content, local=True))
    lane = content.lane(options.connections)
    elsewhere = NodeContents(Route(content, local=False, lane=lane, seconds=options.network_timeout))
    name = f"{source} through the IPFS node at {options.node()}"
    why = f"this registry is a mirror of {source}, and can only be read"
    return Opened(
        cached(ReadOnlyBucket(LocalFirst(here, elsewhere), following.root, name, why, following)),
        repeated=[Repeated(f"look where {source} leads", options.follow_every, following.refresh)],
        ipfs=Capabilities(
            KuboContent(network, following.root), remote_pins=KuboRemotePins(content, following.root, source)
        ),
        told=following.told,
        read_only=why,
        mirror=following,
    )
