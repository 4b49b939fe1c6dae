"""What the documents of an image say of where its parts are: descriptors with their ``ipfs://`` URLs."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ipfsreg.registry.digest import Digest, parse_digest
from ipfsreg.registry.errors import DigestInvalid, ManifestInvalid
from ipfsreg.registry.repository.manifest import INDEXES, MEDIA_TYPES, OCI_ARTIFACT, OCI_IMAGE, OCI_INDEX, is_foreign

M = TypeVar("M", bound=BaseModel)

SCHEME = "ipfs://"
"""How the URL begins that an IPFS-enabled image has in each descriptor; the first such URL counts."""

REF_NAME = "org.opencontainers.image.ref.name"
"""The annotation with the name that an image has in a layout."""

_MEDIA_TYPE = re.compile(r"application/[a-zA-Z0-9][a-zA-Z0-9.+_-]{0,126}")


class DescriptorOf(BaseModel):
    """A descriptor (image-spec, "OCI Content Descriptors") as far as it is needed here."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    mediaType: Annotated[str, Field(min_length=1)]
    digest: str
    size: Annotated[int, Field(ge=0)]
    urls: list[str] | None = None
    annotations: dict[str, str] | None = None


class _Document(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    mediaType: str | None = None
    config: DescriptorOf | None = None
    layers: list[DescriptorOf] | None = None
    blobs: list[DescriptorOf] | None = None
    manifests: list[DescriptorOf] | None = None
    digest: Any = None


@dataclass(frozen=True, slots=True)
class Listed:
    """A content that an image consists of. ``size`` is in bytes.

    ``cid`` and ``name`` are what its descriptor says, as text of a stranger, or None; so is ``may_be_missing``, of a
    layer that is to be had from elsewhere.
    """

    media_type: str
    digest: Digest
    size: int
    is_manifest: bool
    cid: str | None = None
    name: str | None = None
    may_be_missing: bool = False


@dataclass(frozen=True, slots=True)
class ReadDocument:
    """A manifest or index that was read: its media type, and what it lists."""

    media_type: str
    lists: tuple[Listed, ...]


def read_document(content: bytes, media_type: str | None = None) -> ReadDocument:
    """Read a manifest or index. ``media_type`` is what its descriptor says; without one, what itself says or has.

    :raises ManifestInvalid: where it is neither.
    """
    document = _validated(_Document, content)
    found = media_type or document.mediaType or _guessed(document)
    if found not in MEDIA_TYPES:
        raise ManifestInvalid("not an image's manifest or index")
    if found in INDEXES:
        return ReadDocument(found, tuple(_listed(each, is_manifest=True) for each in document.manifests or ()))
    config = () if document.config is None else (document.config,)
    parts: Iterable[DescriptorOf] = (*config, *(document.layers or ()), *(document.blobs or ()))
    return ReadDocument(found, tuple(_listed(each, is_manifest=False) for each in parts))


def read_descriptor(content: bytes) -> Listed | None:
    """Read the small document that names an IPFS-enabled image, or None where it is no descriptor.

    :raises ManifestInvalid: where it is not even JSON.
    """
    if not isinstance(_validated(_Document, content).digest, str):
        return None
    return _listed(_validated(DescriptorOf, content), is_manifest=True)


def content_type(listed: Listed) -> str:
    """A media type that a manifest may be sent with: what a stranger wrote must not be taken for a page."""
    return listed.media_type if _MEDIA_TYPE.fullmatch(listed.media_type) else "application/octet-stream"


def is_readable(listed: Listed) -> bool:
    """Whether it is a manifest or index of a type that is known, so that what it lists can be read."""
    return listed.is_manifest and listed.media_type in MEDIA_TYPES


def _guessed(document: _Document) -> str | None:
    if document.manifests is not None:
        return OCI_INDEX
    if document.config is not None and document.layers is not None:
        return OCI_IMAGE
    return OCI_ARTIFACT if document.blobs is not None else None


def _listed(descriptor: DescriptorOf, *, is_manifest: bool) -> Listed:
    urls = descriptor.urls or []
    url = next((each for each in urls if each.startswith(SCHEME)), None)
    elsewhere = [each for each in urls if not each.startswith(SCHEME)]
    name = (descriptor.annotations or {}).get(REF_NAME)
    try:
        digest = parse_digest(descriptor.digest)
    except DigestInvalid as error:
        raise ManifestInvalid(f"descriptor of {descriptor.mediaType[:128]}: {error.message}") from None
    cid = None if url is None else url.removeprefix(SCHEME)
    foreign = is_foreign(descriptor.mediaType, elsewhere)
    return Listed(descriptor.mediaType, digest, descriptor.size, is_manifest, cid, name, foreign)


def _validated(model: type[M], content: bytes) -> M:
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ManifestInvalid(f"{where}: {first['msg']}" if where else first["msg"]) from None
