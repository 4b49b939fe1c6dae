"""What the backends of all tests have in common: started and stopped as by a daemon, with files to give to them."""

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from twisted.internet import reactor as default_reactor
from twisted.internet.task import deferLater

from ipfsreg.bucket.errors import Unavailable
from ipfsreg.bucket.interface import IBucket
from ipfsreg.flow.workers import Workers

reactor: Any = default_reactor


async def pause(seconds: float) -> None:
    """Let others do something."""
    await deferLater(reactor, seconds, lambda: None)


class StoppedClock:
    """The reactor, but that its time is what the test says, however fast the machine is."""

    def __init__(self) -> None:
        self.now = 1000.0

    def seconds(self) -> float:
        """See `IReactorTime`."""
        return self.now

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


class RunningBackend:
    """A bucket and its threads, as one daemon has them."""

    workers: Workers
    bucket: IBucket

    async def start(self) -> Self:
        """Start it."""
        self.workers.startService()
        await self.bucket.start()
        return self

    async def stop(self) -> None:
        """Stop it."""
        await self.bucket.stop()
        self.workers.stopService()

    async def answers(self) -> None:
        """Wait until it has noticed that its storage is back."""
        while True:
            try:
                await self.bucket.list("none")
            except Unavailable:
                await pause(0.05)
            else:
                return


_Backend = TypeVar("_Backend", bound=RunningBackend)


@asynccontextmanager
async def running(backend: _Backend) -> AsyncIterator[_Backend]:
    """A backend that is started for a block."""
    await backend.start()
    try:
        yield backend
    finally:
        await backend.stop()


class Double(Protocol):
    """A server's double."""

    def start(self) -> object:
        """Begin to listen."""

    async def stop(self) -> None:
        """End it."""


_Double = TypeVar("_Double", bound=Double)


@asynccontextmanager
async def listening(double: _Double) -> AsyncIterator[_Double]:
    """A double that listens for a block."""
    double.start()
    try:
        yield double
    finally:
        await double.stop()


def spooled(directory: Path, content: bytes) -> Path:
    """A new file in a directory, fsynced, for `IBucket.put_file`."""
    source = directory / secrets.token_hex(8)
    with source.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return source
