"""The backend on a double, for the tests of it: made as the daemon makes it, and without what is not wanted."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ipfsreg.bucket.cache.disk_cache import DiskCache
from ipfsreg.bucket.interface import IBucket
from ipfsreg.bucket.space.backend import make_space_client
from ipfsreg.bucket.space.bucket import SpaceBucket
from ipfsreg.bucket.space.options import SpaceOptions
from ipfsreg.flow.workers import Workers
from tests.bucket.running import RunningBackend, reactor, spooled
from tests.bucket.storage import Storage

from .double import SpaceDouble

LIMIT = 1024 * 1024


def options_for(double: SpaceDouble, directory: Path, **more: object) -> dict[str, Any]:
    """What the ``[space]`` section has to say for a bucket on the double."""
    options: dict[str, Any] = {"url": double.url, "path": directory}
    if double.world.token is not None:
        options["token"] = double.token
    return options | more


class Backend(RunningBackend):
    """A `SpaceBucket` on a double, as one daemon has it; ``cached`` puts the disk cache before it."""

    def __init__(
        self, double: SpaceDouble, directory: Path, *, cached: bool = False, clock: Any = reactor, **more: object
    ) -> None:
        self.double = double
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.options = SpaceOptions.model_validate(options_for(double, directory, **more))
        self.workers = Workers(reactor, 8)
        self.client = make_space_client(self.options, self.options.known_token(), reactor)
        self.space = SpaceBucket(self.options, self.client, self.workers, clock)
        self.bucket: IBucket = self.space
        if cached:
            self.bucket = DiskCache(self.space, directory / "cache", 1024**3, self.workers, reactor)


class SpaceStorage(Storage):
    """For the contract: one double, and a backend on it."""

    def __init__(self, double: SpaceDouble, directory: Path, *, cached: bool) -> None:
        self.double = double
        self._directory = directory
        self._cached = cached
        self._backends: list[Backend] = []

    async def reopened(self) -> IBucket:
        backend = Backend(self.double, self._directory / str(len(self._backends)), cached=self._cached)
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
