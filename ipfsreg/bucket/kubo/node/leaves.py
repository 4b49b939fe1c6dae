"""The leaves of files that the node has stored: it has hashed them, and says so in their inner blocks."""

from collections.abc import Awaitable, Callable

from ipfsreg.bucket.interface import Stat
from ipfsreg.flow.workers import Workers
from ipfsreg.ipfs.cid import CID, DAG_PB, RAW, SHA2_256, CIDInvalid, parse_cid
from ipfsreg.ipfs.dag_pb import decode_node
from ipfsreg.ipfs.file_dag import PROFILE, FileDag

from .node import Node


class KuboLeaves:
    """See `TellsLeaves`. ``stat`` is the bucket's."""

    def __init__(self, node: Node, stat: Callable[[str], Awaitable[Stat]], workers: Workers) -> None:
        self._node = node
        self._stat = stat
        self._workers = workers

    def tells(self) -> bool:
        return self._node.stores_in_profile

    async def leaves(self, path: str, size: int) -> bytes | None:
        text = (await self._stat(path)).cid
        if text is None or not self.tells():
            return None
        try:
            cid = parse_cid(text)
            found = await self._below(cid)
            # Computed from the leaves again: what has another form has another CID.
            return found if (await self._workers.run(FileDag, found, size)).cid == cid else None
        except ValueError:
            return None

    async def _below(self, cid: CID) -> bytes:
        if cid.hash_code != SHA2_256 or cid.codec not in {RAW, DAG_PB}:
            raise CIDInvalid("not a block of the profile")
        if cid.codec == RAW:
            return cid.hash
        links = (await self._workers.run(decode_node, await self._node.get_block(cid))).links
        if not 0 < len(links) <= PROFILE.links:
            raise ValueError("not a node of the profile")
        if all(link.cid.codec == RAW for link in links):
            return b"".join(link.cid.hash for link in links)
        return b"".join([await self._below(link.cid) for link in links])
