"""All that is measured in a daemon, from before its parts are made."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ipfsreg.bucket.cache.disk_cache import DiskCache
from ipfsreg.bucket.cache.hits import Hits
from ipfsreg.bucket.opened import Opened
from ipfsreg.web.http.server import HttpServer

from .measured import Lag, MeasuredBucket, MeasuredWorkers, RequestCounts


class Measures:
    """Makes the parts of the daemon that count what they do. A `Watcher`, for how late the reactor is."""

    def __init__(self, backend_name: str, reactor: Any, threads: int) -> None:
        self.backend_name = backend_name
        self.requests = RequestCounts()
        self.workers = MeasuredWorkers(reactor, threads)
        self.lag = Lag(reactor)
        self.buckets: list[MeasuredBucket] = []
        self.servers: list[HttpServer] = []
        """Those that clients use: to be added when they are made."""
        self._disk_cache: Hits | None = None

    def of(self, backend: Opened) -> Opened:
        """A backend whose bucket is measured, to be used in its place."""
        bucket = MeasuredBucket(backend.bucket)
        self.buckets.append(bucket)
        if isinstance(backend.bucket, DiskCache):
            self._disk_cache = backend.bucket.hits
        return replace(backend, bucket=bucket)

    def caches(self, memory: Hits) -> Iterator[tuple[str, Hits]]:
        """The caches by name: in ``memory``, and on this disk where the backend has one."""
        yield "memory", memory
        if self._disk_cache is not None:
            yield "disk", self._disk_cache

    async def start(self) -> None:
        self.lag.start()

    async def stop(self) -> None:
        self.lag.stop()
