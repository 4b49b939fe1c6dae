"""A node with a network behind it, in memory: for what a real one can hardly be brought to do."""

import hashlib
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest
from zope.interface import implementer

from ipfsreg.bucket.capabilities import Capabilities
from ipfsreg.bucket.errors import BucketError, NotFound, Unavailable
from ipfsreg.bucket.interface import IReader
from ipfsreg.bucket.local.backend import open_local
from ipfsreg.bucket.opened import Opened
from ipfsreg.ipfs.cid import raw_cid

PIECE = 1000


class Network:
    """Content by CID, or by a CID and a path. What is not in it does not come in time."""

    def __init__(self) -> None:
        self.content: dict[str, bytes | BucketError] = {}
        self.asked: list[str] = []
        self.read = 0

    def add(self, content: bytes) -> str:
        """Have content, as one raw block; answers its CID."""
        cid = str(raw_cid(hashlib.sha256(content).digest()))
        self.content[cid] = content
        return cid

    async def open_cid(self, cid: str, size: int | None) -> IReader:
        """See `ContentByCid`."""
        self.asked.append(cid)
        found = self.content.get(cid, Unavailable(f"{cid} did not come", 7))
        if isinstance(found, BucketError):
            raise found
        return _Reader(self, found)

    async def root(self) -> str:
        raise NotImplementedError

    def view(self, cid: str) -> Any:
        raise NotImplementedError

    async def publish(self, cid: str, key: str) -> str:
        raise NotImplementedError

    async def resolve(self, name: str) -> str:
        raise NotImplementedError

    def behind_local(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the backend `local` have it."""

        def make(*arguments: Any) -> Opened:
            return replace(open_local(*arguments), ipfs=Capabilities(self))

        monkeypatch.setattr("ipfsreg.bucket.local.backend.open_local", make)


@implementer(IReader)
class _Reader:
    file = None

    def __init__(self, network: Network, content: bytes) -> None:
        self.size = len(content)
        self._network = network
        self._content = content

    async def pieces(self, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        for begin in range(offset, offset + length, PIECE):
            piece = self._content[begin : min(begin + PIECE, offset + length)]
            self._network.read += len(piece)
            yield piece

    def close(self) -> None:
        pass


def missing(_: str = "") -> BucketError:
    """The node says that there is no such thing."""
    return NotFound("no link named so")
