"""What an image is, as a document: platforms, layers with sizes, history, CIDs, and what refers to it.

Sources: image-spec "OCI Image Manifest", "OCI Image Index" and "OCI Image Configuration". All of it was written by
others: it is checked, and what has no end is cut off.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from ipfsreg.flow.gather import gather
from ipfsreg.registry.descriptor import Descriptor, read_descriptor, read_descriptors
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.documents import read_json
from ipfsreg.registry.errors import ManifestInvalid, ManifestUnknown
from ipfsreg.registry.image_config import IMAGE_CONFIGS, platform_of, steps_of, time_text
from ipfsreg.registry.manifest import DOCKER_IMAGE, DOCKER_LIST, Manifest, parse_manifest
from ipfsreg.registry.names import Repository, Tag

T = TypeVar("T")
Document = dict[str, Any]

PLATFORMS_MAX = 100
"""Of how many manifests of an index more is told than that they are listed."""

REFERRERS_MAX = 1000
HISTORY_MAX = 1000
CONFIG_MAX = 4 * 1024**2
"""Bytes of the longest configuration that is read."""

NO_SUMMARY: Document = {"digest": None, "artifact_type": None, "size": None, "platforms": [], "created": None}
"""That of an image that is not here, or not whole."""


class GivenManifest(Protocol):
    """A manifest, whose content was compared with its digest."""

    @property
    def digest(self) -> Digest:
        """By which it is known."""

    @property
    def media_type(self) -> str:
        """As it was pushed."""

    @property
    def content(self) -> bytes:
        """All of it."""


class Images(Protocol):
    """Where images are read from: this registry, or one elsewhere."""

    async def manifest(self, repository: Repository, reference: Tag | Digest) -> GivenManifest | None:
        """A manifest; None where there is none."""

    async def blob(self, repository: Repository, blob: Descriptor) -> bytes | None:
        """The whole of a short blob; None where it is not there."""

    async def referrers(self, repository: Repository, subject: Digest) -> Sequence[Document]:
        """The descriptors of what refers to a manifest; there may be more than a few hundred."""

    async def cid(self, digest: Digest, size: int) -> str | None:
        """A content's CID, where it is known without reading it."""

    async def reading(self, length: int, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function that reads a document of that length."""


class Describer:
    """Makes the documents. All of it fails with `ManifestUnknown` where there is no such image."""

    def __init__(self, images: Images) -> None:
        self.images = images

    async def describe(self, repository: Repository, reference: Tag | Digest) -> Document:
        """All that there is to say of an image."""
        root, content = await self._root(repository, reference)
        found = await self.images.referrers(repository, root.digest)
        return {
            **await self._head(root.digest, root.media_type, len(root.content)),
            "artifact_type": _kind(content.manifest),
            "subject": None if content.manifest.subject is None else str(content.manifest.subject),
            "annotations": dict(content.manifest.annotations or {}),
            "platforms": await self._platforms(repository, root, content, parts=True),
            "referrers": [
                {
                    "digest": each["digest"],
                    "artifact_type": each.get("artifactType"),
                    "size": each["size"],
                    "annotations": each.get("annotations") or {},
                }
                for each in found[:REFERRERS_MAX]
            ],
            "more_referrers": len(found) > REFERRERS_MAX,
        }

    async def summary(self, repository: Repository, reference: Tag | Digest) -> Document:
        """What a list of tags shows of each: ``size`` is that of all its platforms in bytes, as far as it is known."""
        root, content = await self._root(repository, reference)
        platforms = await self._platforms(repository, root, content, parts=False)
        return {
            "digest": str(root.digest),
            "artifact_type": _kind(content.manifest),
            "size": sum(each["total_size"] or 0 for each in platforms),
            "platforms": [each["platform"] for each in platforms if each["platform"]],
            "created": max((each["created"] for each in platforms if each["created"]), default=None),
        }

    async def _root(self, repository: Repository, reference: Tag | Digest) -> tuple[GivenManifest, "_Content"]:
        root = await self.images.manifest(repository, reference)
        if root is None:
            raise ManifestUnknown("manifest unknown to this repository", {"reference": str(reference)})
        return root, await self.images.reading(len(root.content), _read, root.content, root.media_type)

    async def _head(self, digest: Digest, media_type: str, size: int) -> Document:
        cid = await self.images.cid(digest, size)
        return {"digest": str(digest), "media_type": media_type, "size": size, "cid": cid}

    async def _platforms(
        self, repository: Repository, root: GivenManifest, content: "_Content", *, parts: bool
    ) -> list[Document]:
        if not content.listed:
            return [await self._image(repository, root, content, None, parts=parts)]

        async def one(each: tuple[int, tuple[Descriptor, str | None]]) -> Document:
            number, (descriptor, platform) = each
            stored = await self.images.manifest(repository, descriptor.digest) if number < PLATFORMS_MAX else None
            if stored is not None:
                try:
                    inner = await self.images.reading(len(stored.content), _read, stored.content, stored.media_type)
                    return await self._image(repository, stored, inner, platform, parts=parts)
                except ManifestInvalid:  # it is there, and nobody can use it
                    pass
            if not parts:
                return _nothing(platform)
            return await self._head(descriptor.digest, descriptor.media_type, descriptor.size) | _nothing(platform)

        return await gather(one, enumerate(content.listed))

    async def _image(
        self,
        repository: Repository,
        stored: GivenManifest,
        content: "_Content",
        platform: str | None,
        *,
        parts: bool,
    ) -> Document:
        config = _Config(None, None, [])
        described = content.config
        if described is not None and described.media_type in IMAGE_CONFIGS and described.size <= CONFIG_MAX:
            raw = await self.images.blob(repository, described)
            if raw is not None:
                config = await self.images.reading(len(raw), _read_config, raw)
        blobs = [*([described] if described else []), *content.layers]
        document = _nothing(platform or config.platform) | {
            "present": True,
            "created": config.created,
            "total_size": sum(each.size for each in blobs),
        }
        if not parts:  # a list of 100,000 tags needs no CID of each
            return document
        document = await self._head(stored.digest, stored.media_type, len(stored.content)) | document
        heads = [await self._head(each.digest, each.media_type, each.size) for each in blobs]
        return document | {
            "config": heads[0] if described else None,
            "layers": heads[1:] if described else heads,
            "history": config.history,
        }


def _kind(manifest: Manifest) -> str | None:
    """What kind of artifact it is; None for an image that can be run."""
    return None if manifest.artifact_type in IMAGE_CONFIGS else manifest.artifact_type or None


def _nothing(platform: str | None) -> Document:
    """What there is to say of an image that is not here."""
    return {
        "platform": platform,
        "present": False,
        "created": None,
        "total_size": None,
        "config": None,
        "layers": [],
        "history": [],
    }


@dataclass(frozen=True, slots=True)
class _Content:
    """What a manifest says; ``listed`` are the manifests of an index, each with its platform."""

    manifest: Manifest
    config: Descriptor | None
    layers: Sequence[Descriptor]
    listed: Sequence[tuple[Descriptor, str | None]]


@dataclass(frozen=True, slots=True)
class _Config:
    platform: str | None
    created: str | None
    history: Sequence[Document]


def _read(content: bytes, media_type: str) -> _Content:
    manifest = parse_manifest(content, media_type)
    document = read_json(content)
    docker = manifest.media_type in {DOCKER_IMAGE, DOCKER_LIST}
    config = document.get("config")
    platforms = [_platform(each.get("platform")) for each in document.get("manifests") or []]
    return _Content(
        manifest,
        None if config is None else read_descriptor(config, "config", docker=docker),
        [*read_descriptors(document, "layers", docker=docker), *read_descriptors(document, "blobs", docker=docker)],
        list(zip(read_descriptors(document, "manifests", docker=docker), platforms, strict=True)),
    )


def _read_config(content: bytes) -> _Config:
    try:
        document = read_json(content)
    except ManifestInvalid:
        return _Config(None, None, [])
    steps = [step._asdict() for step in steps_of(document, HISTORY_MAX)]
    return _Config(_platform(document), time_text(document.get("created")), steps)


def _platform(value: Any) -> str | None:
    return "/".join(platform_of(value)) or None
