"""Files and directories below ``/ipfs/``, to look at and to read."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Protocol

from ipfsreg.bucket.errors import Corrupt, Unavailable
from ipfsreg.bucket.interface import IReader
from ipfsreg.bucket.kubo.errors import RETRY_AFTER
from ipfsreg.bucket.kubo.node.node import Found
from ipfsreg.bucket.kubo.rpc.client import ANSWER_MAX, parsed, reading
from ipfsreg.flow.throttle import Throttle

from .reader import CidReader, Route

_LONG = 64 * 1024  # a shorter answer is parsed at once
_LINKS = '"Links":['  # as Go writes it; before it there is nothing but the CID that was asked for
_LINKS_AT_ONCE = 1000
_decoder = json.JSONDecoder()

_DIRECTORY_LINK = 1  # UnixFS' own number in a listing; files are 2


@dataclass(frozen=True, slots=True)
class Child:
    """What a directory has by a name."""

    name: str
    cid: str
    is_directory: bool


class Contents(Protocol):
    """Files and directories by their CIDs. All methods fail with a `BucketError`."""

    async def stat(self, path: str) -> Found:
        """What a path below ``/ipfs/`` leads to. `NotFound`."""

    async def links(self, cid: str) -> Sequence[Child]:
        """The entries of a directory, sorted by name."""

    async def read(self, cid: str, size: int) -> bytes:
        """The whole of a small file."""

    async def open(self, found: Found) -> IReader:
        """A file, open."""


def links_in(answer: bytes) -> Iterator[Any]:
    """The links in what ``ls`` answers, one by one: the JSON parser lets nobody else run while it reads a million.

    :raises Unavailable: where the answer is something else.
    """
    text = answer.decode("utf-8", "replace")
    at = text.find(_LINKS)
    if len(text) < _LONG or at < 0:
        with reading("ls"):
            links = list(parsed("ls", answer)["Objects"][0]["Links"] or ())
        yield from links
        return
    at += len(_LINKS)
    try:
        while text[at] != "]":
            link, at = _decoder.raw_decode(text, at)
            yield link
            at += text[at] == ","
    except (ValueError, IndexError, RecursionError):
        raise Unavailable("ls: the node's answer is not JSON", RETRY_AFTER) from None


class NodeContents:
    """What a node has, or its network too. See `Contents`. `Missing` where the node lacks a block."""

    def __init__(self, route: Route) -> None:
        self.local = route.local
        self._route = route

    async def stat(self, path: str) -> Found:
        return Found.read(await self._ask("files/stat", path))

    async def links(self, cid: str) -> Sequence[Child]:
        answer = await self._call("ls", f"/ipfs/{cid}")
        throttle = Throttle(self._route.rpc.reactor, steps=_LINKS_AT_ONCE)
        found = []
        for each in links_in(answer):
            with reading("ls"):
                found.append(Child(str(each["Name"]), str(each["Hash"]), each["Type"] == _DIRECTORY_LINK))
            await throttle.step()
        return sorted(found, key=attrgetter("name"))

    async def read(self, cid: str, size: int) -> bytes:
        if not size:
            return b""
        content = await self._call("cat", f"/ipfs/{cid}", size + 1)
        if len(content) != size:
            raise Corrupt(f"cat: {len(content)} bytes came of {cid}, which has {size}")
        return content

    async def open(self, found: Found) -> CidReader:
        return CidReader(self._route, found.cid, found.size)

    async def _ask(self, command: str, argument: str) -> Any:
        return parsed(command, await self._call(command, argument))

    async def _call(self, command: str, argument: str, limit: int = ANSWER_MAX) -> bytes:
        route = self._route
        return await route.rpc.call(
            command, [argument], {"offline": route.local}, lane=route.lane, seconds=route.seconds, limit=limit
        )
