"""What this registry has in hidden repositories alone, and so does not fetch from its own node for who has the CID."""

from ipfsreg.bucket.errors import NotFound
from ipfsreg.bucket.interface import IBucket
from ipfsreg.ipfs.cid import CID, SHA2_256
from ipfsreg.ipfs.file_dag import HASH
from ipfsreg.registry import layout
from ipfsreg.registry.content.cid_index import Allowed, CidIndex
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.errors import NotInTime
from ipfsreg.registry.names import Repository


class Withheld:
    """Asked before the node is, which has all that the bucket has. ``hidden`` says of which repositories it is so."""

    def __init__(self, bucket: IBucket, index: CidIndex, hidden: Allowed) -> None:
        self._bucket = bucket
        self._index = index
        self._hidden = hidden

    async def digest(self, digest: Digest) -> bool:
        """Whether a content must not be given.

        :raises NotInTime: where it is here, and not known in which repositories.
        """
        if await self._index.holders(digest, self._shown):
            return False
        if await self._index.holders(digest, self._hidden):
            return True
        try:
            await self._bucket.stat(layout.blob(digest))
        except NotFound:
            return False
        # It is certain that it is no repository's only where nobody else writes to the bucket.
        if self._bucket.shared or not self._index.complete:
            raise _not_known()
        return True

    async def cid(self, cid: CID) -> bool:
        """Whether the content of a CID, or the part of one, must not be given.

        :raises NotInTime: where it may be here, and not known in which repositories.
        """
        if cid.hash_code != SHA2_256 or len(cid.hash) != HASH:
            return False
        if await self._index.parts(cid.hash, self._shown):
            return False
        if await self._index.parts(cid.hash, self._hidden) or await self.digest(Digest("sha256", cid.hash.hex())):
            return True
        if not self._index.complete:
            raise _not_known()
        return False

    def _shown(self, repository: Repository) -> bool:
        return not self._hidden(repository)


def _not_known() -> NotInTime:
    return NotInTime("this registry does not know yet which of its repositories have this; try again later")
