"""The backend on a node, for the tests of it: made as the daemon makes it."""

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from twisted.internet import reactor as default_reactor
from twisted.internet.task import deferLater

from ipfsreg.bucket.errors import Unavailable
from ipfsreg.bucket.interface import IBucket
from ipfsreg.bucket.kubo.backend import open_kubo
from ipfsreg.bucket.kubo.options import KuboOptions
from ipfsreg.workers import Workers

from ..bucket.storage import Storage
from .node import KuboNode

reactor: Any = default_reactor


async def pause(seconds: float) -> None:
    """Let others do something."""
    await deferLater(reactor, seconds, lambda: None)


def unique_folder() -> str:
    """A folder for one test: they share a node."""
    return f"/test-{secrets.token_hex(6)}"


class Backend:
    """The backend as one daemon has it."""

    def __init__(self, api: str, directory: Path, **more: object) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.options = KuboOptions.model_validate({"api": api, "directory": directory, **more})
        self.workers = Workers(reactor, 8)
        self.opened = open_kubo(self.options, self.workers, reactor)
        self.bucket: IBucket = self.opened.bucket

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
        """Wait until it has noticed that the node is back."""
        while True:
            try:
                await self.bucket.list("none")
            except Unavailable:
                await pause(0.05)
            else:
                return

    def spooled(self, content: bytes) -> Path:
        """A file for `put_file`."""
        source = self.directory / secrets.token_hex(8)
        with source.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        return source


@asynccontextmanager
async def running(backend: Backend) -> AsyncIterator[Backend]:
    """A backend that is started for a block."""
    await backend.start()
    try:
        yield backend
    finally:
        await backend.stop()


class KuboStorage(Storage):
    """For the contract: a folder of a node, and a backend on it."""

    def __init__(self, node: KuboNode, directory: Path, **more: object) -> None:
        self.node = node
        self._directory = directory
        self._more: dict[str, object] = {"path": unique_folder(), **more}
        self._backends: list[Backend] = []

    async def reopened(self) -> IBucket:
        backend = Backend(self.node.url, self._directory / str(len(self._backends)), **self._more)
        self._backends.append(await backend.start())
        self.bucket = backend.bucket
        return self.bucket

    def spooled(self, content: bytes) -> Path:
        return self._backends[-1].spooled(content)

    @asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        self.node.kill()
        try:
            yield
        finally:
            self.node.start()
            await self._backends[-1].answers()

    async def close(self) -> None:
        for backend in self._backends:
            await backend.stop()
