"""The IPFS-enabled view of a manifest: the same image, each descriptor with the ``ipfs://`` URL of its content.

The form is the one of stargz-snapshotter and nerdctl. Media types of Docker become OCI's, whose descriptors may have
URLs. Other than that nothing is changed, so the view of a manifest is always the same bytes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ipfsreg.registry.digest import Digest, digest_of
from ipfsreg.registry.repository.manifest import DOCKER_IMAGE, DOCKER_LIST, OCI_IMAGE, OCI_INDEX

from .image_tree import SCHEME

PUBLISHED = "application/vnd.ipfsreg.published.v1+json"
"""The artifact type of what keeps a view, and tells its CID, for as long as the image is there."""

DESCRIPTOR = "application/vnd.oci.descriptor.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
EMPTY_CONTENT = b"{}"
"""The content of `EMPTY` (image-spec, "Guidance for an Empty Descriptor")."""

CID_ANNOTATION = "vnd.ipfsreg.cid"
"""Has the CID that `nerdctl pull ipfs://CID` takes."""

_ATTESTED = "vnd.docker.reference.digest"  # BuildKit: the digest of the manifest that an attestation is about
_OCI = {
    DOCKER_IMAGE: OCI_IMAGE,
    DOCKER_LIST: OCI_INDEX,
    "application/vnd.docker.container.image.v1+json": "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.image.rootfs.diff.tar": "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar": "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip": (
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    ),
}


@dataclass(frozen=True, slots=True)
class View:
    """A manifest as it is seen with IPFS: ``cid`` is that of its content."""

    media_type: str
    digest: Digest
    size: int
    cid: str

    @property
    def descriptor(self) -> dict[str, Any]:
        """Its descriptor, with the URL."""
        return {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size,
            "urls": [SCHEME + self.cid],
        }


def is_ipfs_enabled(content: bytes) -> bool:
    """Whether each descriptor of a manifest or index has an ``ipfs://`` URL already."""
    return all(
        any(url.startswith(SCHEME) for url in each.get("urls") or ()) for each in _descriptors(json.loads(content))
    )


def oci_type(media_type: str) -> str:
    """OCI's media type for one of Docker's."""
    return _OCI.get(media_type, media_type)


def view_of_manifest(content: bytes, media_type: str, cids: Mapping[str, str]) -> bytes:
    """The view of an image's manifest. ``cids`` are the CIDs of its blobs, by digest.

    A blob that has none there, such as a layer that must not be distributed, keeps the URLs that it has.
    """
    document = json.loads(content)
    _to_oci(document, media_type)
    for each in _descriptors(document):
        each["mediaType"] = oci_type(each["mediaType"])
        if each["digest"] in cids:
            each["urls"] = [SCHEME + cids[each["digest"]]]
    return encode(document)


def view_of_index(content: bytes, media_type: str, views: Mapping[str, View]) -> bytes:
    """The view of an index. ``views`` are those of its manifests, by the digests of the originals.

    What has none there is left out.
    """
    document = json.loads(content)
    _to_oci(document, media_type)
    manifests = [each for each in document["manifests"] if each["digest"] in views]
    for each in manifests:
        each.update(views[each["digest"]].descriptor)
        each.pop("data", None)  # the original's content
        annotations = each.get("annotations") or {}
        attested = annotations.get(_ATTESTED, "")
        if attested in views:
            annotations[_ATTESTED] = str(views[attested].digest)
    document["manifests"] = manifests
    return encode(document)


def keeper_of(descriptor: bytes) -> bytes:
    """A manifest that keeps the small document whose CID names the image, and `EMPTY_CONTENT`."""
    return encode(
        {
            "schemaVersion": 2,
            "mediaType": OCI_IMAGE,
            "artifactType": PUBLISHED,
            "config": _descriptor(EMPTY, EMPTY_CONTENT),
            "layers": [_descriptor(DESCRIPTOR, descriptor)],
        }
    )


def publication(subject: dict[str, Any], view: View, keeper: bytes, cid: str) -> bytes:
    """An index that refers to an image, by its descriptor, and keeps its view and the document of that CID."""
    manifests = [_descriptor(OCI_IMAGE, keeper)]
    if str(view.digest) != subject["digest"]:
        manifests.insert(0, view.descriptor)
    return encode(
        {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "artifactType": PUBLISHED,
            "manifests": manifests,
            "subject": subject,
            "annotations": {CID_ANNOTATION: cid},
        }
    )


def encode(document: object) -> bytes:
    """JSON, always the same for the same document."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def _to_oci(document: dict[str, Any], media_type: str) -> None:
    if "mediaType" in document or oci_type(media_type) != media_type:
        document["mediaType"] = oci_type(media_type)


def _descriptors(document: dict[str, Any]) -> list[dict[str, Any]]:
    config = document.get("config")
    lists = (document.get("manifests"), document.get("layers"), document.get("blobs"))
    return [*([config] if config else []), *(each for found in lists for each in found or ())]


def _descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(digest_of(content)), "size": len(content)}
