"""The backend on a double, for the tests of it: made as the daemon makes it, and without what is not wanted."""

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from twisted.internet import reactor as default_reactor
from twisted.internet.task import deferLater

from ipfsreg.bucket.disk_cache import DiskCache
from ipfsreg.bucket.errors import Unavailable
from ipfsreg.bucket.interface import IBucket
from ipfsreg.bucket.space.backend import make_client
from ipfsreg.bucket.space.bucket import SpaceBucket
from ipfsreg.bucket.space.options import SpaceOptions
from ipfsreg.workers import Workers

from ..bucket.storage import Storage
from .double import SpaceDouble

reactor: Any = default_reactor

LIMIT = 1024 * 1024


async def pause(seconds: float) -> None:
    """Let others do something."""
    await deferLater(reactor, seconds, lambda: None)


def options_for(double: SpaceDouble, directory: Path, **more: object) -> dict[str, Any]:
    """What the ``[space]`` section has to say for a bucket on the double."""
    options: dict[str, Any] = {"url": double.url, "path": directory}
    if double.world.token is not None:
        options["token"] = double.token
    return options | more


class Backend:
    """A `SpaceBucket` on a double, as one daemon has it; ``cached`` puts the disk cache before it."""

    def __init__(self, double: SpaceDouble, directory: Path, *, cached: bool = False, **more: object) -> None:
        self.double = double
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.options = SpaceOptions.model_validate(options_for(double, directory, **more))
        self.workers = Workers(reactor, 8)
        self.client = make_client(self.options, self.options.known_token(), reactor)
        self.space = SpaceBucket(self.options, self.client, self.workers, reactor)
        self.bucket: IBucket = self.space
        if cached:
            self.bucket = DiskCache(self.space, directory / "cache", 1024**3, self.workers, reactor)

    async def start(self) -> "Backend":
        """Start it."""
        self.workers.startService()
        await self.bucket.start()
        return self

    async def stop(self) -> None:
        """Stop it."""
        await self.bucket.stop()
        self.workers.stopService()

    async def answers(self) -> None:
        """Wait until it has noticed that the daemon is back."""
        while True:
            try:
                await self.bucket.list("none")
            except Unavailable:
                await pause(0.05)
            else:
                return


@asynccontextmanager
async def running(backend: Backend) -> AsyncIterator[Backend]:
    """A backend that is started for a block."""
    await backend.start()
    try:
        yield backend
    finally:
        await backend.stop()


@asynccontextmanager
async def listening(double: SpaceDouble) -> AsyncIterator[SpaceDouble]:
    """A double that listens for a block."""
    double.start()
    try:
        yield double
    finally:
        await double.stop()


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
        source = self._directory / secrets.token_hex(8)
        with source.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        return source

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
