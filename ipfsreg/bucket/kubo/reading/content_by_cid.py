"""Content by CID: what the node has, and what its network has. See `ContentByCid`."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ipfsreg.bucket.errors import Corrupt, NotFound, Unavailable
from ipfsreg.bucket.interface import IBucket, IReader
from ipfsreg.bucket.kubo.node.contents import Contents
from ipfsreg.bucket.kubo.node.node import CID_TEXT
from ipfsreg.bucket.kubo.rpc.client import Option, Rpc

from .read_only import ReadOnlyTree

CONNECTIONS = 8
"""How many questions to the network may be under way: each may take its whole time."""

_RECORD_LIFETIME = "48h"
_RECORD_TTL = "1m"  # for so long others may go on with what a name pointed to before


class KuboContent:
    """See `ContentByCid`. ``root`` answers the CID of the bucket; ``seconds`` bounds what the network may take."""

    def __init__(self, rpc: Rpc, root: Callable[[], Awaitable[str]], seconds: float) -> None:
        self._root = root
        self._rpc = rpc
        self._seconds = seconds
        self._lane = rpc.lane(CONNECTIONS)
        self.contents = Contents(rpc, rpc, lambda: False, lane=self._lane, seconds=seconds)
        """All that the node and its network have."""

    async def root(self) -> str:
        """See `ContentByCid.root`."""
        return await self._root()

    async def open_cid(self, cid: str, size: int | None) -> IReader:
        """See `ContentByCid.open_cid`."""
        found = await self.contents.stat(f"/ipfs/{_checked(cid)}")
        if found.is_directory:
            raise NotFound(f"{cid} is a directory")
        if size is not None and found.size != size:
            raise Corrupt(f"{cid} has {found.size} bytes and not {size}")
        reader: IReader = self.contents.reader(found)
        return reader

    def view(self, cid: str) -> IBucket:
        """See `ContentByCid.view`."""
        return View(self.contents, _checked(cid))

    async def publish(self, cid: str, key: str) -> str:
        """See `ContentByCid.publish`."""
        await self._make_key(key)
        options: dict[str, Option] = {
            "key": key,
            "resolve": False,
            "allow-offline": True,
            "lifetime": _RECORD_LIFETIME,
            "ttl": _RECORD_TTL,
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
        options: dict[str, Option] = {"recursive": True, "nocache": True}
        try:
            answer = await self._ask("name/resolve", [path], options)
        except NotFound:
            # A node that has nobody to ask does not even say what it knows itself, unless it is told to ask nobody.
            answer = await self._ask("name/resolve", [path], {**options, "offline": True})
        found = str(answer["Path"])
        if not found.startswith("/ipfs/"):
            raise NotFound(f"{name} points to {found}, and not to something on IPFS")
        return found.removeprefix("/ipfs/")

    async def has_peers(self) -> bool:
        """Whether the node is connected to any other, so that somebody else can learn what it publishes."""
        try:
            answer = await self._ask("swarm/peers", [], {})
        except Unavailable:  # among others what an offline node says
            return False
        return bool(answer and answer.get("Peers"))

    async def pin(self, cid: str, *, recursive: bool) -> None:
        """Pin a directory or file on the node: with all below it, or its own block alone.

        What the node lacks comes from its network. :raises AlreadyPinned: for one block, where all is pinned.
        """
        await self._ask("pin/add", [_checked(cid)], {"recursive": recursive})

    async def unpin(self, cid: str, *, recursive: bool) -> None:
        """Remove such a pin. `NotPinned`."""
        await self._ask("pin/rm", [_checked(cid)], {"recursive": recursive})

    async def _ask(self, command: str, arguments: Sequence[str], options: dict[str, Option]) -> Any:
        answer = await self._rpc.call(command, arguments, options, lane=self._lane, seconds=self._seconds)
        return self._rpc.parsed(command, answer)


class View(ReadOnlyTree):
    """A directory by its CID, to read."""

    shared = False

    def __init__(self, contents: Contents, cid: str) -> None:
        async def root() -> str:
            return cid

        super().__init__(contents, root, f"/ipfs/{cid}", "a CID is of one content")


def _checked(cid: str) -> str:
    """A CID with or without a path after it, as it may stand in a path of the node.

    :raises NotFound: for anything else.
    """
    first, _, rest = cid.partition("/")
    if not CID_TEXT.fullmatch(first) or any(part in {"", ".", ".."} for part in rest.split("/") if rest):
        raise NotFound(f"{cid[:100]!r} is not a CID")
    return cid
