"""The backend on a node, for the tests of it: made as the daemon makes it."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from ipfsreg.bucket.interface import IBucket
from ipfsreg.bucket.kubo.backend import open_kubo
from ipfsreg.bucket.kubo.options import KuboOptions
from ipfsreg.flow.workers import Workers
from tests.bucket.running import RunningBackend, reactor, spooled
from tests.bucket.storage import Storage

from .node import KuboNode


def unique_folder() -> str:
    """A folder for one test: they share a node."""
    return f"/test-{secrets.token_hex(6)}"


class Backend(RunningBackend):
    """The backend as one daemon has it."""

    def __init__(self, api: object, directory: Path, **more: object) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.options = KuboOptions.model_validate({"api": api, "directory": directory, **more})
        self.workers = Workers(reactor, 8)
        self.opened = open_kubo(self.options, self.workers, reactor)
        self.bucket: IBucket = self.opened.bucket

    def spooled(self, content: bytes) -> Path:
        """A file for `put_file`."""
        return spooled(self.directory, content)


class KuboStorage(Storage):
    """For the contract: a folder of a node, and a backend on it."""

    def __init__(self, node: KuboNode, directory: Path, **more: object) -> None:
        self.node = node
        self._directory = directory
        self._more: dict[str, object] = {"path": unique_folder(), "api": node.url, **more}
        self._backends: list[Backend] = []

    async def reopened(self) -> IBucket:
        backend = Backend(directory=self._directory / str(len(self._backends)), **self._more)
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
