"""What a node does with its network: names, and content that others have."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ipfsreg.bucket.errors import NotFound, Unavailable
from ipfsreg.bucket.kubo.rpc.client import Options, Rpc, parsed, reading

CONNECTIONS = 8
"""How many questions to the network may be under way: each may take its whole time."""

_RECORD_LIFETIME = "48h"
_RECORD_TTL = "1m"  # for so long others may go on with what a name pointed to before

_CID = re.compile(r"Qm[1-9A-HJ-NP-Za-km-z]{44}|[bkzfuBKZFU][A-Za-z0-9_-]{8,200}")
"""What may be a CID. The node reads it; this only keeps paths and options out."""


class Network:
    """The network of a node. ``seconds`` bounds what each question may take; all go through ``lane``."""

    def __init__(self, rpc: Rpc, seconds: float) -> None:
        self.rpc = rpc
        self.seconds = seconds
        self.lane = rpc.lane(CONNECTIONS)

    async def publish(self, cid: str, key: str) -> str:
        """See `ContentByCid.publish`."""
        await self._make_key(key)
        options: Options = {
            "key": key,
            "resolve": False,
            "allow-offline": True,
            "lifetime": _RECORD_LIFETIME,
            "ttl": _RECORD_TTL,
            "ipns-base": "base36",
        }
        answer = await self._ask("name/publish", [f"/ipfs/{checked_cid(cid)}"], options)
        with reading("name/publish"):
            return str(answer["Name"])

    async def _make_key(self, key: str) -> None:
        answer = await self._ask("key/list", [], {})
        with reading("key/list"):
            names = {str(each["Name"]) for each in answer["Keys"] or ()}
        if key not in names:
            await self._ask("key/gen", [key], {"type": "ed25519"})

    async def resolve(self, name: str) -> str:
        """See `ContentByCid.resolve`."""
        path = name if name.startswith("/ipns/") else f"/ipns/{name}"
        options: Options = {"recursive": True, "nocache": True}
        try:
            answer = await self._ask("name/resolve", [path], options)
        except NotFound:
            # A node that has nobody to ask does not even say what it knows itself, unless it is told to ask nobody.
            answer = await self._ask("name/resolve", [path], {**options, "offline": True})
        with reading("name/resolve"):
            found = str(answer["Path"])
        if not found.startswith("/ipfs/"):
            raise NotFound(f"{name} points to {found}, and not to something on IPFS")
        return found.removeprefix("/ipfs/")

    async def has_peers(self) -> bool:
        """Whether the node is connected to any other, so that somebody else can learn what it publishes."""
        return bool(await self.peers())

    async def peers(self) -> int | None:
        """To how many others the node is connected; None where it does not say, as one that is offline."""
        try:
            answer = await self._ask("swarm/peers", [], {})
        except Unavailable:
            return None
        found = answer.get("Peers") if isinstance(answer, dict) else None
        return len(found) if isinstance(found, list) else 0

    async def told(self) -> Mapping[str, str]:
        """See `Opened.told`."""
        answer = await self._ask("version", [], {})
        version = answer.get("Version") if isinstance(answer, dict) else None
        peers = await self.peers()
        return {"IPFS node": f"Kubo {version}", "Peers": "none, the node is offline" if peers is None else str(peers)}

    async def pin(self, cid: str, *, recursive: bool) -> None:
        """Pin a directory or file on the node: with all below it, or its own block alone.

        What the node lacks comes from its network. :raises AlreadyPinned: for one block, where all is pinned.
        """
        await self._ask("pin/add", [checked_cid(cid)], {"recursive": recursive})

    async def unpin(self, cid: str, *, recursive: bool) -> None:
        """Remove such a pin. `NotPinned`."""
        await self._ask("pin/rm", [checked_cid(cid)], {"recursive": recursive})

    async def _ask(self, command: str, arguments: Sequence[str], options: Options) -> Any:
        return parsed(command, await self.rpc.call(command, arguments, options, lane=self.lane, seconds=self.seconds))


def checked_cid(cid: str) -> str:
    """A CID with or without a path after it, as it may stand in a path of the node.

    :raises NotFound: for anything else.
    """
    first, _, rest = cid.partition("/")
    if not _CID.fullmatch(first) or any(part in {"", ".", ".."} for part in rest.split("/") if rest):
        raise NotFound(f"{cid[:100]!r} is not a CID")
    return cid
