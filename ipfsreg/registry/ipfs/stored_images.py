"""The images of this registry, for `Describer`."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ipfsreg.registry.content.storage import Storage
from ipfsreg.registry.descriptor import Descriptor
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.errors import BlobUnknown, ManifestUnknown
from ipfsreg.registry.names import Repository, Tag
from ipfsreg.registry.repository.blobs import Blobs
from ipfsreg.registry.repository.manifests import Manifests, StoredManifest
from ipfsreg.registry.repository.referrers import Referrers

from .describing import CONFIG_MAX, Document

T = TypeVar("T")


class StoredImages:
    """The `Images` of this registry."""

    def __init__(self, storage: Storage, manifests: Manifests, blobs: Blobs, referrers: Referrers) -> None:
        self._storage = storage
        self._manifests = manifests
        self._blobs = blobs
        self._referrers = referrers

    async def manifest(self, repository: Repository, reference: Tag | Digest) -> StoredManifest | None:
        try:
            return await self._manifests.get(repository, reference)
        except ManifestUnknown:
            return None

    async def blob(self, repository: Repository, blob: Descriptor) -> bytes | None:
        try:
            return await self._blobs.read(repository, blob.digest, CONFIG_MAX)  # whatever the descriptor says
        except BlobUnknown:
            return None

    async def referrers(self, repository: Repository, subject: Digest) -> Sequence[Document]:
        found, _ = await self._referrers.list(repository, subject)
        return found

    async def cid(self, digest: Digest, size: int) -> str | None:
        return await self._storage.dags.cid_text(digest, size)

    async def reading(self, length: int, function: Callable[..., T], *arguments: Any) -> T:
        return await self._storage.parser.run(length, function, *arguments)
