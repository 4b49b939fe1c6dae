"""What a manifest says: reading and validating its JSON (image-spec "manifest" and "index"; Docker schema 2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .descriptor import Descriptor, read_annotations, read_descriptor, read_descriptors, read_text, wrong
from .digest import Digest
from .documents import read_json
from .errors import ManifestInvalid

OCI_IMAGE = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
DOCKER_IMAGE = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"

IMAGES = {OCI_IMAGE, DOCKER_IMAGE}
INDEXES = {OCI_INDEX, DOCKER_LIST}
MEDIA_TYPES = IMAGES | INDEXES | {OCI_ARTIFACT}

_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1"
_GENERIC = {"", "application/json", "application/octet-stream", "text/plain"}

_FOREIGN = (
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
    "application/vnd.oci.image.layer.nondistributable.",
)
"""Layers that are not meant to be pushed (image-spec, "Non-distributable layers"; Docker's foreign layers)."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the registry needs to know of a manifest."""

    media_type: str
    blobs: tuple[tuple[Digest, int], ...]
    """The blobs it cannot do without, each with the size that the descriptor gives."""
    foreign: tuple[Digest, ...]
    """Blobs that need not be here, yet must not be collected if they are."""
    manifests: tuple[Digest, ...]
    """The manifests that an index lists."""
    subject: Digest | None
    artifact_type: str | None
    annotations: Mapping[str, str] | None

    @property
    def references(self) -> set[Digest]:
        """All that it refers to by digest, but for its subject."""
        return {digest for digest, _ in self.blobs} | set(self.foreign) | set(self.manifests)

    def descriptor(self, digest: Digest, size: int) -> Descriptor:
        """What a list of referrers shows of it, as a manifest of that digest and ``size`` bytes."""
        return Descriptor(self.media_type, digest, size, None, self.artifact_type or None, self.annotations or None)


def parse_manifest(content: bytes, content_type: str = "") -> Manifest:
    """Read a manifest as it was pushed.

    ``content_type`` is the request's, without parameters; an empty or generic one is replaced by what the
    document itself says.

    :raises ManifestInvalid: with the field that is wrong.
    """
    document = read_json(content)
    media_type = _media_type(document, content_type)
    docker = media_type in {DOCKER_IMAGE, DOCKER_LIST}
    artifact_type, annotations = read_text(document, "artifactType"), read_annotations(document, docker=docker)
    subject = document.get("subject")
    blobs: list[tuple[Digest, int]] = []
    foreign: list[Digest] = []
    manifests: list[Digest] = []
    # Null is taken for an empty list, but not for a config, nor for a field of another kind of manifest: of these
    # containerd counts the bytes. Missing layers are none: the image-spec requires schemaVersion and config of an image
    # manifest, and manifests of an index, and no layers.
    if media_type in IMAGES:
        _check_fields(document, media_type, {"schemaVersion", "config"}, {"manifests"})
        config = read_descriptor(document["config"], "config", docker=docker)
        artifact_type = artifact_type or config.media_type
        blobs.append((config.digest, config.size))
        for layer in read_descriptors(document, "layers", docker=docker):
            if is_foreign(layer.media_type, layer.urls):
                foreign.append(layer.digest)
            else:
                blobs.append((layer.digest, layer.size))
    elif media_type in INDEXES:
        _check_fields(document, media_type, {"schemaVersion", "manifests"}, {"layers", "config"})
        manifests.extend(each.digest for each in read_descriptors(document, "manifests"))
    else:
        blobs.extend((each.digest, each.size) for each in read_descriptors(document, "blobs"))
    return Manifest(
        media_type,
        blobs=tuple(blobs),
        foreign=tuple(foreign),
        manifests=tuple(manifests),
        subject=None if subject is None else read_descriptor(subject, "subject").digest,
        artifact_type=artifact_type,
        annotations=annotations,
    )


def _media_type(document: Mapping[str, Any], content_type: str) -> str:
    stated = read_text(document, "mediaType")
    if content_type.startswith(_SCHEMA_1) or document.get("schemaVersion") == 1:
        raise ManifestInvalid(
            "Docker image manifest version 2 schema 1 is not accepted; push with Docker 1.10 or newer, "
            "or convert the image with `skopeo copy`"
        )
    media_type = stated if content_type in _GENERIC else content_type
    if stated and stated != media_type:
        raise ManifestInvalid(f"pushed as {media_type}, but the mediaType field says {stated[:256]}")
    if not media_type:
        raise ManifestInvalid("neither the Content-Type header nor the mediaType field says what this is")
    if media_type not in MEDIA_TYPES:
        raise ManifestInvalid(f"not a manifest's media type: {media_type[:256]}")
    return media_type


def _check_fields(document: Mapping[str, Any], media_type: str, needed: set[str], of_others: set[str]) -> None:
    for field in sorted(needed - document.keys()):
        raise wrong("missing", field)
    if type(document["schemaVersion"]) is not int or document["schemaVersion"] != 2:
        raise wrong("2 is needed", "schemaVersion")
    # A document that can be read as two kinds is how CVE-2021-41190 fooled clients.
    for field in sorted(of_others & document.keys()):
        raise ManifestInvalid(f"{media_type} has no field {field}")


def is_foreign(media_type: str, urls: Sequence[str] | None) -> bool:
    """Whether a layer may be missing: it is of a non-distributable type, or says where else to get it."""
    return bool(urls) or media_type.startswith(_FOREIGN)
