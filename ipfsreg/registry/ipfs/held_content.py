"""Content that this registry has itself, found by digest or CID in whichever repository has it."""

from ipfsreg.bucket.errors import Corrupt
from ipfsreg.bucket.interface import IReader
from ipfsreg.flow.workers import Workers
from ipfsreg.ipfs.cid import CID, SHA2_256, BlockDamaged, raw_cid, verify_block
from ipfsreg.ipfs.file_dag import range_of
from ipfsreg.registry.content.cid_index import Allowed, Holder
from ipfsreg.registry.content.open_content import read_part
from ipfsreg.registry.content.storage import Storage
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.errors import BlobUnknown, ManifestUnknown
from ipfsreg.registry.repository.blobs import Blobs, OpenBlob
from ipfsreg.registry.repository.manifests import Manifests

from .image_tree import Listed


async def read_leaf(
    workers: Workers, source: IReader | bytes, digest: Digest, part: tuple[int, int], sha256: bytes
) -> bytes:
    """Some bytes of open content, the first and the one past the last, compared with their hash.

    :raises Corrupt: where they are something else.
    """
    first, end = part
    if isinstance(source, bytes):
        block = source[first:end]
    else:
        block = await read_part(workers, source, first, end - first)
    try:
        await workers.run(verify_block, raw_cid(sha256), block)
    except BlockDamaged:
        raise Corrupt(f"{digest} is damaged between byte {first} and {end}; run `ipfsreg verify`") from None
    return block


class HeldContent:
    """What repositories have. Each is read as a pull from that repository would, guard and checks included.

    Documents in memory have at most the length of a manifest. ``allowed`` says from which repositories to take.
    """

    def __init__(self, storage: Storage, manifests: Manifests, blobs: Blobs) -> None:
        self._storage = storage
        self._index = storage.index
        self._manifests = manifests
        self._blobs = blobs

    async def open(self, holder: Holder) -> IReader | bytes | None:
        """Open a content, or a manifest's own, as its repository has it; None where it does not."""
        try:
            if holder.is_manifest:
                return (await self._manifests.get(holder.repository, holder.digest)).content
            return (await self._blobs.open(holder.repository, holder.digest)).reader
        except (BlobUnknown, ManifestUnknown):
            return None

    async def size(self, holder: Holder) -> int | None:
        """The length of a content in bytes; None where its repository does not have it."""
        try:
            if holder.is_manifest:
                return len((await self._manifests.get(holder.repository, holder.digest)).content)
            return await self._blobs.size(holder.repository, holder.digest)
        except (BlobUnknown, ManifestUnknown):
            return None

    async def manifest(self, listed: Listed, allowed: Allowed) -> bytes | None:
        """The content of a manifest that a repository has, as a manifest or as a blob."""
        async for holder in self._index.holders(listed.digest, allowed):
            content = await self._document(holder)
            if content is not None and len(content) == listed.size:
                return content
        return None

    async def document(self, cid: CID, allowed: Allowed) -> bytes | None:
        """The small content of that CID that a repository has."""
        if cid.hash_code != SHA2_256:
            return None
        async for holder in self._index.holders(Digest("sha256", cid.hash.hex()), allowed):
            content = await self._document(holder)
            if content is not None:
                return content
        async for block in self._index.blocks(cid.hash, allowed):
            if range_of(block.place, block.size) == (0, block.size):  # all of the content, and not a part only
                content = await self._document(block.holder)
                if content is not None:
                    return content
        return None

    async def blob(self, listed: Listed, allowed: Allowed) -> OpenBlob | None:
        """Open a blob that a repository has."""
        async for holder in self._index.holders(listed.digest, allowed):
            if not holder.is_manifest:
                try:
                    blob = await self._blobs.open(holder.repository, holder.digest)
                except BlobUnknown:
                    continue
                if blob.size == listed.size:
                    return blob
                blob.reader.close()
        return None

    async def _document(self, holder: Holder) -> bytes | None:
        try:
            if holder.is_manifest:
                return (await self._manifests.get(holder.repository, holder.digest)).content
            content = await self._blobs.read(holder.repository, holder.digest, self._storage.max_manifest_size)
        except (ManifestUnknown, BlobUnknown):
            return None
        is_whole = content is not None and await self._storage.store.matches(content, holder.digest)
        return content if is_whole else None
