"""The repositories, tags and manifests that the clients of a simulation are about."""

import json
from dataclasses import dataclass
from typing import Any

from ipfsreg.registry.digest import Digest, digest_of
from ipfsreg.registry.manifest import OCI_IMAGE, OCI_INDEX
from ipfsreg.registry.names import Repository, Tag

from .place import descriptor

REPOSITORIES = [Repository("a"), Repository("a/b")]
TAGS = [Tag("t"), Tag("u")]
BLOBS = [b"config", b"layer"]
WITH_DAG = digest_of(BLOBS[1])
"""The blob whose DAG is kept, as if it were a long one."""


@dataclass(frozen=True)
class Known:
    """A manifest that clients push, with what it is made of."""

    content: bytes
    media_type: str
    blobs: tuple[bytes, ...]
    children: tuple["Known", ...] = ()
    subject: "Known | None" = None

    @property
    def digest(self) -> Digest:
        return digest_of(self.content)


def image(*blobs: bytes, subject: Known | None = None) -> Known:
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_IMAGE,
        "config": descriptor("application/vnd.oci.image.config.v1+json", blobs[0]),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", blob) for blob in blobs[1:]],
    }
    if subject is not None:
        document["subject"] = descriptor(subject.media_type, subject.content)
    return Known(json.dumps(document).encode(), OCI_IMAGE, blobs, subject=subject)


def index(*children: Known, subject: Known | None = None) -> Known:
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [descriptor(child.media_type, child.content) for child in children],
    }
    if subject is not None:
        document["subject"] = descriptor(subject.media_type, subject.content)
    return Known(json.dumps(document).encode(), OCI_INDEX, (), children, subject)


IMAGES = [image(BLOBS[0]), image(BLOBS[1]), image(*BLOBS)]
INDEXES = [index(IMAGES[0], IMAGES[1])]
INDEXES.append(index(INDEXES[0]))
REFERRERS = [image(BLOBS[1], subject=IMAGES[0])]
REFERRERS.append(image(BLOBS[0], subject=REFERRERS[0]))
REFERRERS.append(index(IMAGES[0], subject=IMAGES[0]))  # each keeps the other: only a tag may keep both
MANIFESTS = [*IMAGES, *INDEXES, *REFERRERS]
BY_DIGEST = {each.digest: each for each in MANIFESTS}
BY_TEXT = {str(each.digest): each for each in MANIFESTS}
