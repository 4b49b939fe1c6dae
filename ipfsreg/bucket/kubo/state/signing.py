"""Each state signed by who makes it, where somebody wants that: see `Opened.sign_states`."""

from ipfsreg.bucket.opened import SignState
from ipfsreg.ipfs.cid import CID
from ipfsreg.ipfs.dag_pb import decode_node
from ipfsreg.ipfs.hamt import Block

from .draft import StateDraft


class Signing:
    """Nothing is signed before `sign_with`."""

    def __init__(self) -> None:
        self._path = ""
        self._sign: SignState | None = None

    def sign_with(self, path: str, sign: SignState) -> None:
        """From now on put at a path what signs each state."""
        self._path = path
        self._sign = sign

    async def blocks(self, draft: StateDraft, number: int) -> tuple[CID, list[Block]]:
        """The blocks of a draft, signed. See `StateDraft.blocks`."""
        root, blocks = await draft.blocks()
        if self._sign is None:
            return root, blocks
        top = decode_node(blocks[-1][1])  # the block of the state itself comes last
        document = self._sign(number, {link.name: str(link.cid) for link in top.links})
        if document is None:
            return root, blocks
        await draft.store(self._path, document)
        return await draft.blocks()
