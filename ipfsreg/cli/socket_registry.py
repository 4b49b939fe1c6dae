"""The registry behind a control socket, as a client of the protocol sees it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ipfsreg.app.state_directory import short_name
from ipfsreg.client.address import Origin, RegistryAddress
from ipfsreg.client.registry import RegistryClient


@asynccontextmanager
async def registry_at(reactor: Any, socket: Path, name: str) -> AsyncIterator[RegistryClient]:
    """The registry that listens there, where nobody is asked who he is. ``name`` is what messages call it."""
    with short_name(socket) as path:
        address = RegistryAddress("http://daemon", name, Origin("http", "daemon", 80))
        client = RegistryClient(reactor, address, find=None, socket=path)
        try:
            yield client
        finally:
            await client.close()
