"""Documents of the registry, read for pages."""

from ipfsreg.bucket.errors import BucketError
from ipfsreg.flow.workers import Workers
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.errors import ManifestInvalid, RegistryError
from ipfsreg.registry.names import Repository, Tag
from ipfsreg.registry.registry import Registry
from ipfsreg.registry.repository.manifests import StoredManifest

from .documents import Config, Document, Part, read_config, read_document

CONFIG_MAX = 1024 * 1024
"""The longest configuration that is read for a page, in bytes."""

LISTED_MAX = 128 * 1024
"""The longest manifest of an index that is read to say how large its image is, in bytes: there may be hundreds."""

_UNREADABLE = Document("artifact", (), 0, 0, None, None, (), "", "")


class Contents:
    """Reads them."""

    def __init__(self, registry: Registry, workers: Workers) -> None:
        self._registry = registry
        self._workers = workers

    async def document(self, repository: Repository, reference: Tag | Digest) -> tuple[StoredManifest, Document]:
        """A manifest, and what it says.

        :raises ManifestUnknown: where the repository does not have it.
        """
        manifests = self._registry.manifests
        manifest = await manifests.get(repository, reference)
        try:
            return manifest, await manifests.extracted(manifest, read_document)
        except ManifestInvalid:  # another program may have stored it
            return manifest, _UNREADABLE

    async def size_of(self, repository: Repository, part: Part) -> int | None:
        """The bytes of what a manifest refers to that an index lists; None where it is too long to be read for that.

        :raises ManifestUnknown: where the repository does not have it.
        """
        if part.size > LISTED_MAX:
            return None
        _, document = await self.document(repository, part.digest)
        return document.size

    async def config(self, repository: Repository, document: Document) -> Config | None:
        """An image's configuration; None where there is none, or it cannot be read."""
        if document.kind != "image" or document.config is None:
            return None
        try:
            content = await self._registry.blobs.read(repository, document.config.digest, CONFIG_MAX)
            return None if content is None else await self._workers.run(read_config, content)
        except (RegistryError, BucketError):
            return None
