"""What a manifest says: reading and validating its JSON (image-spec "manifest" and "index"; Docker schema 2)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NotRequired, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import TypedDict

from ipfsreg.registry.digest import Digest, parse_digest
from ipfsreg.registry.errors import DigestInvalid, ManifestInvalid

OCI_IMAGE = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
DOCKER_IMAGE = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"

M = TypeVar("M", bound=BaseModel)

IMAGES = {OCI_IMAGE, DOCKER_IMAGE}
INDEXES = {OCI_INDEX, DOCKER_LIST}
MEDIA_TYPES = IMAGES | INDEXES | {OCI_ARTIFACT}

_NOT_A_NUMBER = re.compile(rb'"(?:[^"\\]+|\\.)*"|(NaN|Infinity)', re.DOTALL)
"""A string, which may have anything in it, or what is meant."""

_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1"
_GENERIC = {"", "application/json", "application/octet-stream", "text/plain"}

_FOREIGN = (
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
    "application/vnd.oci.image.layer.nondistributable.",
)
"""Layers that are not meant to be pushed (image-spec, "Non-distributable layers"; Docker's foreign layers)."""


# All of this is made for speed: while a manifest is parsed, even in a thread, no other Python code runs. What is not
# needed is skipped, and descriptors are dicts, which Python's garbage collector does not look at while they are made:
# so 4 MiB of them take 20 ms at once and not 80.


# Go programs write `null` for a slice, map or pointer that is nil, and read it as one. That is taken where all clients
# read it so: but not for a config, nor for a field of another kind of manifest, of which containerd counts the bytes.


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class _Descriptor(TypedDict):
    mediaType: Annotated[str, Field(min_length=1)]
    digest: str
    size: Annotated[int, Field(ge=0)]
    urls: NotRequired[list[str] | None]
    annotations: NotRequired[dict[str, str] | None]


class _Head(_Model):
    schemaVersion: Any = None
    mediaType: str | None = None
    artifactType: str | None = None
    subject: _Descriptor | None = None
    annotations: dict[str, str] | None = None


class _Image(_Head):
    schemaVersion: Annotated[int, Field(ge=2, le=2)]
    config: _Descriptor
    layers: list[_Descriptor] | None
    manifests: Any = None


class _Index(_Head):
    schemaVersion: Annotated[int, Field(ge=2, le=2)]
    manifests: list[_Descriptor] | None
    config: Any = None
    layers: Any = None


class _Artifact(_Head):
    blobs: list[_Descriptor] | None = None


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
    annotations: dict[str, str] | None

    @property
    def references(self) -> set[Digest]:
        """All that it refers to by digest, but for its subject."""
        return {digest for digest, _ in self.blobs} | set(self.foreign) | set(self.manifests)


def parse_manifest(content: bytes, content_type: str = "") -> Manifest:
    """Read a manifest as it was pushed.

    ``content_type`` is the request's, without parameters; an empty or generic one is replaced by what the
    document itself says.

    :raises ManifestInvalid: with the field that is wrong.
    """
    _only_json(content)
    head = _validated(_Head, content)
    media_type = _media_type(head, content_type)
    if media_type in IMAGES:
        image = _validated(_Image, content)
        _no_other_kind(image, media_type, "manifests")
        foreign = [each for each in (image.layers or ()) if is_foreign(each["mediaType"], each.get("urls"))]
        required = [
            image.config,
            *(each for each in (image.layers or ()) if not is_foreign(each["mediaType"], each.get("urls"))),
        ]
        return Manifest(
            media_type=media_type,
            blobs=tuple((_digest(each), each["size"]) for each in required),
            foreign=tuple(_digest(each) for each in foreign),
            manifests=(),
            subject=_subject(image),
            artifact_type=image.artifactType or image.config["mediaType"],
            annotations=image.annotations,
        )
    if media_type in INDEXES:
        index = _validated(_Index, content)
        _no_other_kind(index, media_type, "layers", "config")
        return Manifest(
            media_type=media_type,
            blobs=(),
            foreign=(),
            manifests=tuple(_digest(each) for each in index.manifests or ()),
            subject=_subject(index),
            artifact_type=index.artifactType,
            annotations=index.annotations,
        )
    artifact = _validated(_Artifact, content)
    return Manifest(
        media_type=media_type,
        blobs=tuple((_digest(each), each["size"]) for each in artifact.blobs or ()),
        foreign=(),
        manifests=(),
        subject=_subject(artifact),
        artifact_type=artifact.artifactType,
        annotations=artifact.annotations,
    )


def _only_json(content: bytes) -> None:
    # The parser takes these numbers, JSON does not have them, and a client could not read the manifest.
    if (b"NaN" in content or b"Infinity" in content) and any(found[1] for found in _NOT_A_NUMBER.finditer(content)):
        raise ManifestInvalid("NaN and Infinity are not JSON")


def _media_type(head: _Head, content_type: str) -> str:
    if content_type.startswith(_SCHEMA_1) or head.schemaVersion == 1:
        raise ManifestInvalid(
            "Docker image manifest version 2 schema 1 is not accepted; push with Docker 1.10 or newer, "
            "or convert the image with `skopeo copy`"
        )
    stated = head.mediaType
    media_type = stated if content_type in _GENERIC else content_type
    if stated and stated != media_type:
        raise ManifestInvalid(f"pushed as {media_type}, but the mediaType field says {stated}")
    if not media_type:
        raise ManifestInvalid("neither the Content-Type header nor the mediaType field says what this is")
    if media_type not in MEDIA_TYPES:
        raise ManifestInvalid(f"not a manifest's media type: {media_type[:256]}")
    return media_type


def _no_other_kind(manifest: _Model, media_type: str, *fields: str) -> None:
    # A document that can be read as two kinds is how CVE-2021-41190 fooled clients.
    for field in fields:
        if field in manifest.model_fields_set:
            raise ManifestInvalid(f"{media_type} has no field {field}")


def _validated(model: type[M], content: bytes) -> M:
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ManifestInvalid(f"{where}: {first['msg']}" if where else first["msg"]) from None


def _digest(descriptor: _Descriptor) -> Digest:
    try:
        return parse_digest(descriptor["digest"])
    except DigestInvalid as error:
        raise ManifestInvalid(f"descriptor of {descriptor['mediaType']}: {error.message}", error.detail) from None


def _may_be_missing(layer: _Descriptor) -> bool:
    return is_foreign(layer["mediaType"], layer.get("urls"))


def is_foreign(media_type: str, urls: Sequence[str] | None) -> bool:
    """Whether a layer may be missing: it is of a non-distributable type, or says where else to get it."""
    return bool(urls) or media_type.startswith(_FOREIGN)


def _subject(head: _Head) -> Digest | None:
    return None if head.subject is None else _digest(head.subject)
