"""What the documents of an image say of where its parts are: descriptors with their ``ipfs://`` URLs."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ipfsreg.registry.descriptor import Descriptor, read_descriptor, read_descriptors, read_text
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.documents import read_json
from ipfsreg.registry.errors import ManifestInvalid
from ipfsreg.registry.manifest import DOCKER_IMAGE, INDEXES, MEDIA_TYPES, OCI_ARTIFACT, OCI_IMAGE, OCI_INDEX, is_foreign

SCHEME = "ipfs://"
"""The scheme of the URL in each descriptor of an IPFS-enabled image. The first such URL counts."""

REF_NAME = "org.opencontainers.image.ref.name"
"""The annotation with the name that an image has in a layout."""

_MEDIA_TYPE = re.compile(r"application/[a-zA-Z0-9][a-zA-Z0-9.+_-]{0,126}")


ListedKey = tuple[bool, Digest]


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

    @property
    def key(self) -> ListedKey:
        """Identifies it within the image."""
        return self.is_manifest, self.digest


@dataclass(frozen=True, slots=True)
class ReadDocument:
    """A manifest or index that was read: its media type, and what it lists."""

    media_type: str
    lists: tuple[Listed, ...]


def read_document(content: bytes, media_type: str | None = None) -> ReadDocument:
    """Read a manifest or index. ``media_type`` is what its descriptor says; without one, what itself says or has.

    :raises ManifestInvalid: where it is neither.
    """
    return _read(read_json(content), media_type)


def read_root(content: bytes) -> ReadDocument | Listed:
    """Read what the CID of an image is of: a manifest or index, or the small document with the descriptor of one.

    :raises ManifestInvalid: where it is nothing of that.
    """
    document = read_json(content)
    if type(document.get("digest")) is str:
        return _listed(read_descriptor(document, "descriptor"), is_manifest=True)
    return _read(document, None)


def content_type(listed: Listed) -> str:
    """A media type that a manifest may be sent with: what a stranger wrote must not be taken for a page."""
    return listed.media_type if _MEDIA_TYPE.fullmatch(listed.media_type) else "application/octet-stream"


def is_readable(listed: Listed) -> bool:
    """Whether it is a manifest or index of a type that is known, so that what it lists can be read."""
    return listed.is_manifest and listed.media_type in MEDIA_TYPES


def _read(document: dict[str, Any], media_type: str | None) -> ReadDocument:
    found = media_type or read_text(document, "mediaType") or _guessed(document)
    if found not in MEDIA_TYPES:
        raise ManifestInvalid("not an image's manifest or index")
    if found in INDEXES:
        manifests = read_descriptors(document, "manifests")
        return ReadDocument(found, tuple(_listed(each, is_manifest=True) for each in manifests))
    config, docker = document.get("config"), found == DOCKER_IMAGE
    parts: Iterable[Descriptor] = (
        *(() if config is None else (read_descriptor(config, "config", docker=docker),)),
        *read_descriptors(document, "layers", docker=docker),
        *read_descriptors(document, "blobs"),
    )
    return ReadDocument(found, tuple(_listed(each, is_manifest=False) for each in parts))


def _guessed(document: Mapping[str, Any]) -> str | None:
    there = {field for field, value in document.items() if value is not None}
    if "manifests" in there:
        return OCI_INDEX
    if "config" in there and there & {"layers", "schemaVersion"}:
        return OCI_IMAGE
    return OCI_ARTIFACT if "blobs" in there else None


def _listed(descriptor: Descriptor, *, is_manifest: bool) -> Listed:
    urls = descriptor.urls or []
    url = next((each for each in urls if each.startswith(SCHEME)), None)
    elsewhere = [each for each in urls if not each.startswith(SCHEME)]
    return Listed(
        descriptor.media_type,
        descriptor.digest,
        descriptor.size,
        is_manifest,
        cid=None if url is None else url.removeprefix(SCHEME),
        name=(descriptor.annotations or {}).get(REF_NAME),
        may_be_missing=is_foreign(descriptor.media_type, elsewhere),
    )
