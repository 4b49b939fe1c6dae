"""Which images use a content, for reports of damage."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ipfsreg.bucket.interface import IBucket
from ipfsreg.flow.throttle import Throttle
from ipfsreg.flow.workers import Workers
from ipfsreg.registry import layout
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.manifest import Manifest
from ipfsreg.registry.names import Repository
from ipfsreg.registry.record import Record
from ipfsreg.registry.repository.tags import read_tags

from .compact import Digests
from .inventory import read_manifests


@dataclass(frozen=True, slots=True)
class _Uses:
    wanted: Sequence[Digest]
    manifests: Sequence[Digest]


async def images_using(
    stored: IBucket, workers: Workers, digests: Iterable[Digest], throttle: Throttle
) -> dict[str, list[str]]:
    """For each digest the images that use it, as ``repository:tag``, or ``repository@digest`` without one."""
    wanted = set(digests)
    using: dict[str, dict[str, None]] = {str(digest): {} for digest in wanted}
    async for repository in layout.repositories(stored):
        for digest, name in await _uses_in(stored, workers, repository, wanted, throttle):
            using[str(digest)][name] = None
    return {digest: list(names) for digest, names in using.items()}


async def _uses_in(
    stored: IBucket, workers: Workers, repository: Repository, wanted: set[Digest], throttle: Throttle
) -> list[tuple[Digest, str]]:
    listed = await Digests.of(layout.manifest_records(stored, repository), workers, throttle)
    users: list[tuple[Digest, Digest]] = []
    parents: dict[Digest, list[Digest]] = {}

    def examine(digest: Digest, record: Record, manifest: Manifest) -> _Uses:
        parts = {blob for blob, _ in manifest.blobs}.union(manifest.foreign, manifest.manifests)
        return _Uses(list(parts & wanted), [child for child in manifest.manifests if child in listed])

    async for each in read_manifests(stored, workers, repository, listed, throttle, examine):
        if each.digest in wanted:
            users.append((each.digest, each.digest))
        if each.found is not None:
            users += [(part, each.digest) for part in each.found.wanted]
            await throttle.step(1 + len(each.found.manifests) // 200)
            for child in each.found.manifests:
                parents.setdefault(child, []).append(each.digest)
    tags_of: dict[Digest, list[str]] = {}
    async for some in read_tags(stored, repository):
        await throttle.step(len(some))
        for tag, digest in some:
            if isinstance(digest, Digest):
                tags_of.setdefault(digest, []).append(f"{repository}:{tag}")
    missing = [digest for digest in wanted if digest not in listed]
    found = [(digest, name) for digest in missing for name in tags_of.get(digest, ())]
    names: dict[Digest, list[str]] = {}
    for part, manifest in users:
        await throttle.step()
        if manifest not in names:
            names[manifest] = await _names(manifest, parents, tags_of, throttle) or [f"{repository}@{manifest}"]
        found += [(part, name) for name in names[manifest]]
    return found


async def _names(
    manifest: Digest, parents: dict[Digest, list[Digest]], tags_of: dict[Digest, list[str]], throttle: Throttle
) -> list[str]:
    """The tags of a manifest, of the indexes that list it, and of the indexes that list those."""
    within: set[Digest] = set()
    pending = [manifest]
    while pending:
        digest = pending.pop()
        if digest not in within:
            within.add(digest)
            await throttle.step()
            pending += parents.get(digest, ())
    return sorted(name for digest in within for name in tags_of.get(digest, ()))
