"""All that an image consists of."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from ipfsreg.registry.digest import Digest
from ipfsreg.registry.errors import BlobUnknown, ManifestUnknown
from ipfsreg.registry.manifest import Manifest
from ipfsreg.registry.names import Repository, Tag
from ipfsreg.registry.repository.blobs import Blobs
from ipfsreg.registry.repository.manifests import Manifests, StoredManifest


@dataclass(frozen=True, slots=True)
class PartCid:
    """A manifest or blob. ``cid`` and ``size`` (in bytes) are None where the repository does not have it."""

    digest: str
    cid: str | None = None
    size: int | None = None


async def walk_image(
    manifests: Manifests, repository: Repository, root: StoredManifest
) -> AsyncIterator[tuple[Digest, StoredManifest | None, Manifest | None]]:
    """A manifest and all that it lists, directly or not: each once, before what it lists.

    The second and third value are None for one that the repository does not have.
    """
    seen, pending = {root.digest}, [root.digest]
    while pending:
        digest = pending.pop()
        try:
            stored = root if digest == root.digest else await manifests.get(repository, digest)
        except ManifestUnknown:
            yield digest, None, None
            continue
        parsed = await manifests.parsed(stored)
        yield digest, stored, parsed
        pending += [each for each in dict.fromkeys(reversed(parsed.manifests)) if each not in seen]
        seen.update(parsed.manifests)


async def cids_of(
    manifests: Manifests, blobs: Blobs, repository: Repository, reference: Tag | Digest, *, with_parts: bool
) -> list[PartCid]:
    """The CID of a manifest; ``with_parts`` also of all that it refers to, directly or not. Each once.

    Where a blob's CID was never computed, the blob is read for it.

    :raises ManifestUnknown: where the repository does not have it.
    """
    root = await manifests.get(repository, reference)
    found = {root.digest: PartCid(str(root.digest), await manifests.cid(root), len(root.content))}
    if not with_parts:
        return list(found.values())
    async for digest, stored, parsed in walk_image(manifests, repository, root):
        if stored is None or parsed is None:
            found[digest] = PartCid(str(digest))
            continue
        found[digest] = PartCid(str(digest), await manifests.cid(stored), len(stored.content))
        for blob in [*(each for each, _ in parsed.blobs), *parsed.foreign]:
            if blob not in found:
                found[blob] = await _blob(blobs, repository, blob)
    return list(found.values())


async def _blob(blobs: Blobs, repository: Repository, digest: Digest) -> PartCid:
    try:
        return PartCid(str(digest), await blobs.cid(repository, digest), await blobs.size(repository, digest))
    except BlobUnknown:
        return PartCid(str(digest))
