"""How the ``space`` backend is made from its section of the configuration."""

from functools import partial
from typing import Any

from ipfsreg.bucket.breaker import Breaker
from ipfsreg.bucket.cache.disk_cache import DiskCache
from ipfsreg.bucket.opened import Opened
from ipfsreg.flow.workers import Workers
from ipfsreg.grpcweb.channel import Channel

from .backup import TASKS
from .bucket import SpaceBucket
from .client import SpaceClient
from .options import SpaceOptions

ANSWER_MAX = 32 * 1024**2
"""The longest message taken from the daemon: the listing of a large directory."""

LEAVES_COPIES = "the Space Daemon makes a plaintext copy of each file that is read, and never removes it"


def open_space(options: SpaceOptions, workers: Workers, reactor: Any) -> Opened:
    """The bucket that the section names, behind a cache on this disk."""
    token = options.app_token() if options.problem() is None else None  # without one, `start` says so
    bucket = SpaceBucket(options, make_space_client(options, token, reactor), workers, reactor)
    cached = DiskCache(bucket, options.path / "cache", options.cache_size, workers, reactor)
    tasks = {name: partial(task, bucket) for name, task in TASKS.items()}
    return Opened(cached, tasks, encrypted=lambda: True, not_read_needlessly=LEAVES_COPIES)


def make_space_client(options: SpaceOptions, token: str | None, reactor: Any) -> SpaceClient:
    """A client of the daemon that the section names."""
    channel = Channel(reactor, options.url, message_limit=ANSWER_MAX)
    return SpaceClient(channel, token, Breaker(f"the Space Daemon at {options.url}", reactor), options.timeout)
