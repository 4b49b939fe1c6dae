"""Content by CID: what the node has, and what its network has. See `ContentByCid`."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from ..errors import Corrupt, NotFound, Refused
from ..interface import IBucket, IReader
from .contents import Contents
from .node import CID
from .rpc import Option, Rpc
from .tree import Tree

CONNECTIONS = 8
"""How many questions to the network may be under way: each may take its whole time."""

_RECORD_LIFETIME = "48h"


class KuboContent:
    """See `ContentByCid`. ``root`` answers the CID of the bucket; ``seconds`` bounds what the network may take."""

    def __init__(self, rpc: Rpc, root: Callable[[], Awaitable[str]], seconds: float) -> None:
        self._root = root
        self._rpc = rpc
        self._seconds = seconds
        self._lane = rpc.lane(CONNECTIONS)
        self._contents = Contents(rpc, rpc, lambda: False, lane=self._lane, seconds=seconds)

    async def root(self) -> str:
        """See `ContentByCid.root`."""
        return await self._root()

    async def open_cid(self, cid: str, size: int | None) -> IReader:
        """See `ContentByCid.open_cid`."""
        found = await self._contents.stat(f"/ipfs/{_checked(cid)}")
        if found.is_directory:
            raise NotFound(f"{cid} is a directory")
        if size is not None and found.size != size:
            raise Corrupt(f"{cid} has {found.size} bytes and not {size}")
        reader: IReader = self._contents.reader(found)
        return reader

    def view(self, cid: str) -> IBucket:
        """See `ContentByCid.view`."""
        return View(self._contents, _checked(cid))

    async def publish(self, cid: str, key: str) -> str:
        """See `ContentByCid.publish`."""
        await self._make_key(key)
        options: dict[str, Option] = {
            "key": key,
            "resolve": False,
            "allow-offline": True,
            "lifetime": _RECORD_LIFETIME,
            "ipns-base": "base36",
        }
        answer = await self._ask("name/publish", [f"/ipfs/{_checked(cid)}"], options)
        return str(answer["Name"])

    async def _make_key(self, key: str) -> None:
        keys = (await self._ask("key/list", [], {}))["Keys"] or []
        if key not in {each["Name"] for each in keys}:
            await self._ask("key/gen", [key], {"type": "ed25519"})

    async def resolve(self, name: str) -> str:
        """See `ContentByCid.resolve`."""
        path = name if name.startswith("/ipns/") else f"/ipns/{name}"
        found = str((await self._ask("name/resolve", [path], {"recursive": True}))["Path"])
        if not found.startswith("/ipfs/"):
            raise NotFound(f"{name} points to {found}, and not to something on IPFS")
        return found.removeprefix("/ipfs/")

    async def _ask(self, command: str, arguments: Sequence[str], options: dict[str, Option]) -> Any:
        answer = await self._rpc.call(command, arguments, options, lane=self._lane, seconds=self._seconds)
        return self._rpc.parsed(command, answer)


@implementer(IBucket)
class View(Tree):
    """A directory by its CID, to read."""

    shared = False

    def __init__(self, contents: Contents, cid: str) -> None:
        async def root() -> str:
            return cid

        super().__init__(contents, root)
        self.name = f"/ipfs/{cid}"

    def start(self) -> "Deferred[None]":
        """See `IBucket.start`."""
        return succeed(None)

    def stop(self) -> "Deferred[None]":
        """See `IBucket.stop`."""
        return succeed(None)

    def put(self, path: str, content: bytes) -> "Deferred[None]":
        """See `IBucket.put`."""
        return self._refuse()

    def put_file(self, path: str, source: Path) -> "Deferred[None]":
        """See `IBucket.put_file`."""
        return self._refuse()

    def move(self, source: str, destination: str) -> "Deferred[None]":
        """See `IBucket.move`."""
        return self._refuse()

    def remove(self, path: str) -> "Deferred[None]":
        """See `IBucket.remove`."""
        return self._refuse()

    def _refuse(self) -> "Deferred[None]":
        return fail(Refused(f"{self.name} cannot be changed: a CID is of one content"))


def _checked(cid: str) -> str:
    """A CID with or without a path after it, as it may stand in a path of the node.

    :raises NotFound: for anything else.
    """
    first, _, rest = cid.partition("/")
    if not CID.fullmatch(first) or any(part in {"", ".", ".."} for part in rest.split("/") if rest):
        raise NotFound(f"{cid[:100]!r} is not a CID")
    return cid
