"""A destination that says what it has, and takes everything without storing it."""

from typing import Protocol

from ipfsreg.client.errors import Unknown
from ipfsreg.client.registry import RemoteManifest
from ipfsreg.client.uploading import From
from ipfsreg.registry.descriptor import Descriptor
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.names import Repository, Tag


class Holding(Protocol):
    """What a destination has; see `Destination`."""

    name: str

    async def manifest(self, repository: Repository, digest: Digest) -> RemoteManifest:
        """A manifest that it has, by its digest."""

    async def manifest_head(self, repository: Repository, reference: Tag | Digest) -> Descriptor | None:
        """What there is, if there is something."""

    async def blob_size(self, repository: Repository, digest: Digest) -> int | None:
        """The length of a blob in bytes; None where there is none."""

    async def referrers(self, repository: Repository, subject: Digest) -> list[Descriptor]:
        """The referrers of a manifest."""


class DryRun:
    """A `Destination` that changes nothing. ``holding`` is what is there; None is for what has yet to be made."""

    is_source = False

    def __init__(self, holding: Holding | None) -> None:
        self.name = "" if holding is None else holding.name
        self._holding = holding

    async def manifest(self, repository: Repository, digest: Digest) -> RemoteManifest:
        if self._holding is None:
            raise Unknown(f"there is no {digest} yet", 404)
        return await self._holding.manifest(repository, digest)

    async def manifest_head(self, repository: Repository, reference: Tag | Digest) -> Descriptor | None:
        return None if self._holding is None else await self._holding.manifest_head(repository, reference)

    async def blob_size(self, repository: Repository, digest: Digest) -> int | None:
        return None if self._holding is None else await self._holding.blob_size(repository, digest)

    async def referrers(self, repository: Repository, subject: Digest) -> list[Descriptor]:
        return [] if self._holding is None else await self._holding.referrers(repository, subject)

    async def mount(self, repository: Repository, digest: Digest, source: Repository) -> str | None:
        return None

    async def upload(
        self, repository: Repository, digest: Digest, size: int, source: From, location: str | None = None
    ) -> None:
        """See `Destination`. The source is not read."""

    async def put_manifest(
        self, repository: Repository, reference: Tag | Digest, content: bytes, media_type: str
    ) -> bool:
        return True

    async def note_referrer(self, repository: Repository, subject: Digest, referrer: Descriptor) -> None:
        """See `Destination`."""
