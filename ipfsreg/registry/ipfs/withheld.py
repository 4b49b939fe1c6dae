"""What only hidden repositories have: it is not fetched from this registry's own node for a client that has the CID."""

from collections.abc import AsyncIterator

from ipfsreg.bucket.errors import NotFound
from ipfsreg.flow.streams import next_or_none
from ipfsreg.ipfs.cid import CID, SHA2_256
from ipfsreg.ipfs.file_dag import HASH
from ipfsreg.registry import layout
from ipfsreg.registry.content.cid_index import Allowed
from ipfsreg.registry.content.storage import Storage
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.errors import NotInTime
from ipfsreg.registry.names import Repository


class Withheld:
    """Asked before the node is, which has all that the bucket has."""

    def __init__(self, storage: Storage, shows: Allowed) -> None:
        self._storage = storage
        self._bucket = storage.bucket
        self._index = storage.index
        self._shows = shows

    def seen_by(self, pulls: Allowed) -> "Withheld":
        """The same for an asker who may pull from some repositories only."""
        return Withheld(self._storage, lambda repository: pulls(repository) and self._shows(repository))

    def _hides(self, repository: Repository) -> bool:
        return not self._shows(repository)

    async def digest(self, digest: Digest) -> bool:
        """Whether a content must not be given.

        :raises NotInTime: where it is here, and not known in which repositories.
        """
        if await _any(self._index.holders(digest, self._shows)):
            return False
        if await _any(self._index.holders(digest, self._hides)):
            return True
        try:
            await self._bucket.stat(layout.blob(digest))
        except NotFound:
            return False
        # Only where nobody else writes to the bucket is it certain that no repository has it.
        if self._bucket.shared or not self._index.complete:
            raise _not_known()
        return True

    async def cid(self, cid: CID) -> bool:
        """Whether the content of a CID, or the part of one, must not be given.

        :raises NotInTime: where it may be here, and not known in which repositories.
        """
        if cid.hash_code != SHA2_256 or len(cid.hash) != HASH:
            return False
        if await _any(self._index.blocks(cid.hash, self._shows)):
            return False
        if await _any(self._index.blocks(cid.hash, self._hides)):
            return True
        if await self.digest(Digest("sha256", cid.hash.hex())):
            return True
        if not self._index.complete:
            raise _not_known()
        return False


async def _any(found: AsyncIterator[object]) -> bool:
    return await next_or_none(aiter(found)) is not None


def _not_known() -> NotInTime:
    return NotInTime("this registry does not know yet which of its repositories have this; try again later")
