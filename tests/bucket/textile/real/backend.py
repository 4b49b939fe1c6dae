"""The backend and whole daemons on a real server."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol, cast

from twisted.internet.threads import deferToThread

from ipfsreg.bucket.interface import IBucket
from ipfsreg.bucket.textile.bucket import TextileBucket
from tests.bucket.running import spooled
from tests.bucket.storage import Storage
from tests.bucket.textile.backend import Backend
from tests.bucket.textile.double import TextileDouble
from tests.bucket.textile.double.accounts import ApiKey
from tests.bucket.textile.registry import TextileServed

from .servers import TextileServer


class Server(Protocol):
    """What a backend has to know of one."""

    @property
    def url(self) -> str:
        """What ``[textile] host`` is to be."""


def as_double(server: Server) -> TextileDouble:
    """A server for what is made for the double, and uses nothing of it but the address."""
    return cast(TextileDouble, server)


def unique() -> str:
    """A thread's name that no other test has, so that its bucket is empty."""
    return f"t{secrets.token_hex(8)}z"


class RealStorage(Storage):
    """For the contract: an empty bucket on a server that runs, and a backend on it."""

    def __init__(self, server: TextileServer, directory: Path, *, cached: bool, **more: Any) -> None:
        self._server = server
        self._directory = directory
        self._cached = cached
        self._more = {"thread": unique(), **more}
        self._backends: list[Backend] = []

    async def reopened(self) -> IBucket:
        directory = self._directory / str(len(self._backends))
        backend = Backend(as_double(self._server), directory, cached=self._cached, **self._more)
        self._backends.append(await backend.start())
        self.bucket = backend.bucket
        return self.bucket

    @property
    def textile(self) -> TextileBucket:
        """The bucket beneath the cache, if there is one."""
        return self._backends[-1].textile

    def spooled(self, content: bytes) -> Path:
        return spooled(self._directory, content)

    @asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        self._server.kill()
        try:
            yield
        finally:
            await deferToThread(self._server.start)
            await self._backends[-1].answers()

    async def close(self) -> None:
        for backend in self._backends:
            await backend.stop()


@asynccontextmanager
async def served(
    directory: Path, server: Server, key: ApiKey | None = None, **more: object
) -> AsyncIterator[TextileServed]:
    """A daemon on a server that runs for a block."""
    daemon = TextileServed(directory, as_double(server), key, **more)
    await daemon.start()
    try:
        yield daemon
    finally:
        await daemon.stop()
