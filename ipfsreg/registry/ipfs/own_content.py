"""Content that this registry has itself, found by digest or CID in whichever repository has it."""

from collections.abc import AsyncIterator

from ipfsreg.flow.workers import Workers
from ipfsreg.ipfs.cid import CID, SHA2_256
from ipfsreg.ipfs.file_dag import range_of
from ipfsreg.registry.content.cid_index import Allowed, CidIndex, Holder
from ipfsreg.registry.content.reading import read_part
from ipfsreg.registry.digest import Digest, digest_of
from ipfsreg.registry.errors import BlobUnknown, ManifestUnknown
from ipfsreg.registry.repository.blobs import Blobs, OpenBlob
from ipfsreg.registry.repository.manifests import Manifests

from .image_tree import Listed


class OwnContent:
    """What ``allowed`` repositories have. Each is read as a pull from that repository would, guard and checks included.

    Manifests and other documents have at most ``max_size`` bytes.
    """

    def __init__(
        self,
        manifests: Manifests,
        blobs: Blobs,
        index: CidIndex,
        workers: Workers,
        max_size: int,
        allowed: Allowed,
    ) -> None:
        self._manifests = manifests
        self._blobs = blobs
        self._index = index
        self._workers = workers
        self._max = max_size
        self._allowed = allowed

    async def manifest(self, listed: Listed) -> bytes | None:
        """The content of a manifest that a repository here has, as a manifest or as a blob."""
        async for holder in self._holders(listed.digest):
            content = await self._content(holder)
            if content is not None and len(content) == listed.size:
                return content
        return None

    async def root(self, cid: CID) -> bytes | None:
        """The small content of that CID that a repository here has."""
        if cid.hash_code != SHA2_256:
            return None
        async for holder in self._holders(Digest("sha256", cid.hash.hex())):
            content = await self._content(holder)
            if content is not None:
                return content
        seen = 0
        while parts := await self._index.parts(cid.hash, self._allowed, seen):
            seen += len(parts)
            for part in parts:
                if range_of(part.place, part.size) == (0, part.size):  # all of it, and not a part only
                    content = await self._content(part.holder)
                    if content is not None:
                        return content
        return None

    async def blob(self, listed: Listed) -> OpenBlob | None:
        """Open a blob that a repository here has."""
        async for holder in self._holders(listed.digest):
            if not holder.is_manifest:
                try:
                    blob = await self._blobs.open(holder.repository, holder.digest)
                except BlobUnknown:
                    continue
                if blob.size == listed.size:
                    return blob
                blob.reader.close()
        return None

    async def _content(self, holder: Holder) -> bytes | None:
        try:
            if holder.is_manifest:
                return (await self._manifests.get(holder.repository, holder.digest)).content
            blob = await self._blobs.open(holder.repository, holder.digest)
        except (ManifestUnknown, BlobUnknown):
            return None
        try:
            if blob.size > self._max:
                return None
            content = await read_part(self._workers, blob.reader, 0, blob.size)
        finally:
            blob.reader.close()
        return content if digest_of(content, holder.digest.algorithm) == holder.digest else None

    async def _holders(self, digest: Digest) -> AsyncIterator[Holder]:
        """The repositories that should have a content, of those that are allowed."""
        seen = 0
        while holders := await self._index.holders(digest, self._allowed, seen):
            seen += len(holders)
            for holder in holders:
                yield holder
