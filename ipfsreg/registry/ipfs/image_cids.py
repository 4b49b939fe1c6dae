"""The CIDs of all that an image consists of."""

from dataclasses import dataclass

from ipfsreg.registry.digest import Digest
from ipfsreg.registry.errors import BlobUnknown, ManifestUnknown
from ipfsreg.registry.names import Repository, Tag
from ipfsreg.registry.repository.blobs import Blobs
from ipfsreg.registry.repository.manifest import parse_manifest
from ipfsreg.registry.repository.manifests import Manifests


@dataclass(frozen=True, slots=True)
class Part:
    """A manifest or blob. ``cid`` and ``size`` (in bytes) are None where the repository does not have it."""

    digest: str
    cid: str | None = None
    size: int | None = None


async def cids_of(
    manifests: Manifests, blobs: Blobs, repository: Repository, reference: Tag | Digest, *, with_parts: bool
) -> list[Part]:
    """The CID of a manifest; ``with_parts`` also of all that it refers to, directly or not. Each once.

    Where a blob's CID was never computed, the blob is read for it.

    :raises ManifestUnknown: where the repository does not have it.
    """
    found: dict[Digest, Part] = {}
    pending = [await manifests.resolve(repository, reference)]
    while pending:
        digest = pending.pop()
        try:
            manifest = await manifests.get(repository, digest)
        except ManifestUnknown:
            if not found:
                raise
            found[digest] = Part(str(digest))
            continue
        found[digest] = Part(str(digest), await manifests.cid(manifest), len(manifest.content))
        if with_parts:
            parsed = parse_manifest(manifest.content, manifest.media_type)
            for blob in [*(each for each, _ in parsed.blobs), *parsed.foreign]:
                if blob not in found:
                    found[blob] = await _blob(blobs, repository, blob)
            pending += [each for each in reversed(parsed.manifests) if each not in found and each not in pending]
    return list(found.values())


async def _blob(blobs: Blobs, repository: Repository, digest: Digest) -> Part:
    try:
        return Part(str(digest), await blobs.cid(repository, digest), await blobs.size(repository, digest))
    except BlobUnknown:
        return Part(str(digest))
