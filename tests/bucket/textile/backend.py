"""The backend on a double, for the tests of it: made as the daemon makes it, and without what is not wanted."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ipfsreg.bucket.breaker import Breaker
from ipfsreg.bucket.cache.disk_cache import DiskCache
from ipfsreg.bucket.interface import IBucket
from ipfsreg.bucket.textile.bucket import TextileBucket
from ipfsreg.bucket.textile.options import TextileOptions
from ipfsreg.bucket.textile.server.client import TextileClient, Timeouts
from ipfsreg.flow.workers import Workers
from ipfsreg.grpcweb.channel import Channel
from tests.bucket.running import RunningBackend, reactor, spooled
from tests.bucket.storage import Storage

from .double import TextileDouble
from .double.accounts import ApiKey

LIMIT = 1024 * 1024


def options_for(
    double: TextileDouble, directory: Path, key: ApiKey | None, more: Mapping[str, object]
) -> dict[str, Any]:
    """What the ``[textile]`` section has to say for a bucket on the double."""
    options: dict[str, Any] = {"host": double.url, "path": directory}
    if key is not None:
        options |= {"key": key.key, "secret": key.secret}
    return options | dict(more)


class Backend(RunningBackend):
    """A `TextileBucket` on a double, as one daemon has it.

    ``cached`` puts the disk cache before it; with ``websocket`` it pushes as if the server were behind ``https``.
    """

    def __init__(
        self,
        double: TextileDouble,
        directory: Path,
        key: ApiKey | None = None,
        *,
        cached: bool = False,
        websocket: bool = False,
        **more: object,
    ) -> None:
        self.double = double
        directory.mkdir(parents=True, exist_ok=True)
        self.options = TextileOptions.model_validate(options_for(double, directory, key, more))
        self.workers = Workers(reactor, 8)
        self.breaker = Breaker("the server", reactor)
        self.channel = Channel(reactor, self.options.host, message_limit=8 * 1024**2)
        options = self.options
        self.client = TextileClient(
            self.channel,
            options.metadata(),
            options.identity(),
            self.breaker,
            reactor,
            Timeouts(options.timeout, options.silence),
        )
        self.textile = TextileBucket(options, self.client, self.workers, reactor)
        self.textile._writer._transport._direct = not websocket
        self.bucket: IBucket = self.textile
        if cached:
            self.bucket = DiskCache(self.textile, directory / "cache", 1024**3, self.workers, reactor)


class TextileStorage(Storage):
    """For the contract: one double, and a backend on it."""

    def __init__(self, double: TextileDouble, directory: Path, *, cached: bool, **more: Any) -> None:
        self.double = double
        self._directory = directory
        self._key = double.accounts.add_key() if double.hub else None
        self._cached = cached
        self._more = more
        self._backends: list[Backend] = []

    async def reopened(self) -> IBucket:
        directory = self._directory / str(len(self._backends))
        backend = Backend(self.double, directory, self._key, cached=self._cached, **self._more)
        self._backends.append(await backend.start())
        self.bucket = backend.bucket
        return self.bucket

    def spooled(self, content: bytes) -> Path:
        return spooled(self._directory, content)

    @asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        await self.double.go_away()
        try:
            yield
        finally:
            self.double.come_back()
            await self._backends[-1].answers()

    async def close(self) -> None:
        for backend in self._backends:
            await backend.stop()
        await self.double.stop()
