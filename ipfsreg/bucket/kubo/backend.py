"""How the ``kubo`` backend is made from its section of the configuration."""

from typing import Any

from ...workers import Workers
from ..disk_cache import DiskCache
from ..interface import IBucket
from ..opened import Opened
from .bucket import KuboBucket
from .by_cid import KuboContent
from .options import KuboOptions
from .remote_pins import RemotePins
from .rpc import Rpc


def open_kubo(options: KuboOptions, workers: Workers, reactor: Any) -> Opened:
    """The bucket that the section names; behind a cache on this disk only where that may have any size."""
    header = options.header()
    content = Rpc(reactor, options.node, header, options.connections, options.timeout)
    index = content
    if options.index is not None:
        index = Rpc(reactor, options.index_node, header, options.connections, options.timeout)
    kubo = KuboBucket(options, content, index, workers, reactor)
    bucket: IBucket = kubo
    if options.cache_size:
        bucket = DiskCache(kubo, options.directory / "cache", options.cache_size, workers, reactor)
    by_cid = KuboContent(content, kubo.root, options.network_timeout)
    remote = RemotePins(content, kubo.root, options.path)
    return Opened(bucket, content_by_cid=by_cid, remote_pins=remote)
