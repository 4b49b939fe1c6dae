"""The images of many tags, read together: a list of 100,000 would wait for a thread half a million times."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from ipfsreg.bucket.bulk import IBulkReads, get_each
from ipfsreg.bucket.errors import BucketError, Corrupt
from ipfsreg.bucket.interface import IBucket
from ipfsreg.flow.workers import Workers
from ipfsreg.registry import layout
from ipfsreg.registry.descriptor import Descriptor, read_descriptor
from ipfsreg.registry.digest import Digest, digest_of
from ipfsreg.registry.documents import read_json
from ipfsreg.registry.errors import ManifestInvalid
from ipfsreg.registry.names import Repository, Tag
from ipfsreg.registry.record import RECORD_MAX, parse_record
from ipfsreg.registry.repository.blobs import LINK_MAX, parse_link
from ipfsreg.registry.repository.manifests import StoredManifest
from ipfsreg.registry.repository.tags import read_named

from .describing import Describer, Document, GivenManifest, Images

T = TypeVar("T")

_SHORT = 64 * 1024  # longer manifests and configurations are read one by one

_Read = Sequence[bytes | BucketError]


class ReadAhead:
    """`Images` of which some are here already. The others, and whatever is not as it should be, ``images`` reads."""

    def __init__(
        self, images: Images, manifests: Mapping[Tag, GivenManifest], blobs: dict[tuple[Digest, int], bytes]
    ) -> None:
        self._images = images
        self._manifests = manifests
        self._blobs = blobs

    async def manifest(self, repository: Repository, reference: Tag | Digest) -> GivenManifest | None:
        known = None if isinstance(reference, Digest) else self._manifests.get(reference)
        return known or await self._images.manifest(repository, reference)

    async def blob(self, repository: Repository, blob: Descriptor) -> bytes | None:
        known = self._blobs.get((blob.digest, blob.size))
        return await self._images.blob(repository, blob) if known is None else known

    async def referrers(self, repository: Repository, subject: Digest) -> Sequence[Document]:
        return await self._images.referrers(repository, subject)

    async def cid(self, digest: Digest, size: int) -> str | None:
        return await self._images.cid(digest, size)

    async def reading(self, length: int, function: Callable[..., T], *arguments: Any) -> T:
        return await self._images.reading(length, function, *arguments)


async def read_ahead(
    describer: Describer, stored: IBucket, workers: Workers, repository: Repository, tags: Sequence[Tag]
) -> Describer:
    """One with the manifests of some tags and their configurations, if that makes it faster.

    Nothing of it counts as a use, or goes through the cache of small files.
    """
    if not IBulkReads.providedBy(stored):
        return describer
    digests = {tag: to for tag, to in await read_named(stored, repository, tags) if isinstance(to, Digest)}
    needed = list(dict.fromkeys(digests.values()))
    records = await get_each(stored, [(layout.manifest_record(repository, each), RECORD_MAX) for each in needed])
    contents = await get_each(stored, [(layout.blob(each), _SHORT) for each in needed])
    found = await workers.run(_whole, repository, needed, records, contents)
    configs = list({config for _, config in found.values() if config is not None})
    links = await get_each(stored, [(layout.blob_link(repository, digest), LINK_MAX) for digest, _ in configs])
    blobs = await get_each(stored, [(layout.blob(digest), max(1, size)) for digest, size in configs])
    there = {
        config: blob
        for config, link, blob in zip(configs, links, blobs, strict=True)
        if isinstance(link, bytes) and isinstance(blob, bytes) and parse_link(link) == len(blob) == config[1]
    }
    manifests = {tag: found[digest][0] for tag, digest in digests.items() if digest in found}
    return Describer(ReadAhead(describer.images, manifests, there))


def _whole(
    repository: Repository, digests: Sequence[Digest], records: _Read, contents: _Read
) -> dict[Digest, tuple[StoredManifest, tuple[Digest, int] | None]]:
    """Those that are there and whole, with their configurations if these are short."""
    found = {}
    for digest, record, content in zip(digests, records, contents, strict=True):
        if not isinstance(record, bytes) or not isinstance(content, bytes):
            continue
        try:
            known = parse_record(layout.manifest_record(repository, digest), record)
            config = read_json(content).get("config")
            described = None if config is None else read_descriptor(config, "config", docker=True)
        except (Corrupt, ManifestInvalid):
            continue
        if len(content) == known.size and digest_of(content, digest.algorithm) == digest:
            short = None if described is None or described.size > _SHORT else (described.digest, described.size)
            found[digest] = StoredManifest(digest, known.mediaType, content, known.released or None), short
    return found
