"""How the ``textile`` backend is made from its section of the configuration."""

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from twisted.logger import Logger
from twisted.web.client import BrowserLikePolicyForHTTPS
from twisted.web.iweb import IPolicyForHTTPS

from ipfsreg.bucket.authorities import load_authorities
from ipfsreg.bucket.breaker import Breaker
from ipfsreg.bucket.cache.disk_cache import DiskCache
from ipfsreg.bucket.errors import SetupError
from ipfsreg.bucket.opened import Opened, Repeated
from ipfsreg.flow.workers import Workers
from ipfsreg.grpcweb.channel import Channel

from .archive import start_due
from .bucket import TextileBucket
from .options import TextileOptions
from .server.client import TextileClient, Timeouts
from .tasks import TEXTILE_TASKS, TextileTask

_log = Logger()

ANSWER_MAX = 8 * 1024**2
"""The longest message taken from a server: every answer about a bucket carries all its paths."""

LOOK_SECONDS = 3600.0
"""How often it is looked whether an archive is due, at least."""


def open_textile(options: TextileOptions, workers: Workers, reactor: Any) -> Opened:
    """The bucket that the section names, behind a cache on this disk."""
    bucket = TextileBucket(options, make_client(options, reactor), workers, reactor)

    async def run(task: TextileTask, arguments: Mapping[str, str]) -> dict[str, Any]:
        return await task(await bucket.shards.all(), arguments, reactor)

    async def existing() -> None:
        if not await bucket.shards.first.exists():
            raise SetupError(
                f"there is no {bucket.name} in thread {options.thread}; "
                "if that is right, the daemon makes it at its start"
            )

    def encrypted() -> bool | None:
        return options.encrypted or bucket.shards.private

    tasks = {name: partial(run, task) for name, task in TEXTILE_TASKS.items()}
    repeated = []
    every = options.archive_every
    if every is not None:

        async def archive() -> None:
            for each in await start_due(await bucket.shards.all(), every, time.time()):
                if each["state"] == "refused":
                    _log.error("The bucket was not archived to Filecoin: {why}", why=each["why"])

        # Looked at more often than that: another daemon may have begun the last one, or this one before it stopped.
        repeated.append(Repeated("archive the bucket to Filecoin", min(every, LOOK_SECONDS), archive))
    cached = DiskCache(bucket, options.path / "cache", options.cache_size, workers, reactor)
    return Opened(cached, tasks, repeated, encrypted=encrypted, existing=existing)


def _policy(options: TextileOptions) -> IPolicyForHTTPS | None:
    return None if options.ca is None else BrowserLikePolicyForHTTPS(load_authorities(options.ca))


def make_client(options: TextileOptions, reactor: Any) -> TextileClient:
    """A client of the server that the section names."""
    return TextileClient(
        Channel(reactor, options.host, message_limit=ANSWER_MAX, tls_policy=_policy(options)),
        options.metadata(),
        options.identity(),
        Breaker(f"the server {options.host}", reactor),
        reactor,
        Timeouts(options.timeout, options.silence),
    )
