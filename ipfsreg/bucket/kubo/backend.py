"""How the ``kubo`` backend is made from its section of the configuration."""

from typing import Any

from ipfsreg.bucket.cache.disk_cache import DiskCache
from ipfsreg.bucket.capabilities import Capabilities
from ipfsreg.bucket.interface import IBucket
from ipfsreg.bucket.opened import Opened, Repeated
from ipfsreg.flow.workers import Workers

from .bucket import KuboBucket
from .following.mirror import MirrorBucket
from .node.leaves import KuboLeaves
from .node.remote_pins import RemotePins
from .options import KuboOptions
from .reading.content_by_cid import KuboContent
from .rpc.client import Rpc
from .state.presence import RENEW_SECONDS
from .state.published_states import PublishedStates
from .state.publishing import Publishing


def open_kubo(options: KuboOptions, workers: Workers, reactor: Any) -> Opened:
    """The bucket that the section names; behind a cache on this disk only where that may have any size."""
    header = options.header()
    content = Rpc(reactor, options.node, header, options.connections, options.timeout)

    def cached(bucket: IBucket) -> IBucket:
        if not options.cache_size:
            return bucket
        return DiskCache(bucket, options.directory / "cache", options.cache_size, workers, reactor)

    if options.follow is not None:
        mirror = MirrorBucket(options, content, workers)
        return Opened(
            cached(mirror),
            repeated=[Repeated(f"look where {options.follow} leads", options.follow_every, mirror.following.refresh)],
            ipfs=Capabilities(mirror.by_cid, remote_pins=RemotePins(content, mirror.following.root, options.follow)),
            read_only=mirror.read_only,
        )
    index = content
    if options.index is not None:
        index = Rpc(reactor, options.index_node, header, options.connections, options.timeout)
    kubo = KuboBucket(options, content, index, workers, reactor)
    by_cid = KuboContent(content, kubo.root, options.network_timeout)
    repeated = [Repeated("tell other daemons that this one is there", RENEW_SECONDS, kubo.renew)]
    if options.publish_key is not None:
        kept = PublishedStates(kubo.node, options.directory / "published.json", workers)
        publishing = Publishing(by_cid, kept, options.publish_key, reactor.seconds)
        repeated.append(Repeated("publish the registry", options.publish_every, publishing.publish))
    return Opened(
        cached(kubo),
        repeated=repeated,
        ipfs=Capabilities(
            by_cid,
            kubo.ahead,
            KuboLeaves(options, kubo.node, kubo.stat, workers),
            RemotePins(content, kubo.root, options.path),
        ),
    )
