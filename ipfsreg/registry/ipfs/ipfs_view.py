"""The IPFS-enabled view of a manifest: the same image, each descriptor with the ``ipfs://`` URL of its content.

The form is the one of stargz-snapshotter and nerdctl. Media types of Docker become OCI's, whose descriptors may have
URLs. Other than that nothing is changed, so the view of a manifest is always the same bytes.
"""

from collections.abc import Mapping
from typing import Any

from ipfsreg.registry.descriptor import Descriptor, encode_json
from ipfsreg.registry.documents import read_json
from ipfsreg.registry.manifest import DOCKER_IMAGE, DOCKER_LIST, IMAGES, INDEXES, OCI_IMAGE, OCI_INDEX

from .image_tree import SCHEME

PUBLISHED = "application/vnd.ipfsreg.published.v1+json"
"""The artifact type of the index that keeps a view and its CID for as long as the image is there."""

DESCRIPTOR = "application/vnd.oci.descriptor.v1+json"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
EMPTY_CONTENT = b"{}"
"""The content of `EMPTY_TYPE` (image-spec, "Guidance for an Empty Descriptor")."""

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


def is_ipfs_enabled(content: bytes, media_type: str) -> bool:
    """Whether each descriptor of a valid manifest or index has an ``ipfs://`` URL already."""
    descriptors = _descriptors(read_json(content), media_type)
    return all(any(url.startswith(SCHEME) for url in each.get("urls") or ()) for each in descriptors)


def oci_type(media_type: str) -> str:
    """OCI's media type for one of Docker's."""
    return _OCI.get(media_type, media_type)


def view_of_manifest(content: bytes, media_type: str, cids: Mapping[str, str]) -> bytes:
    """The view of an image's valid manifest. ``cids`` are the CIDs of its blobs, by digest.

    A blob that has none there, such as a layer that must not be distributed, keeps the URLs that it has.
    """
    document = read_json(content)
    to_oci(document, media_type)
    for each in _descriptors(document, media_type):
        _complete(each, each.get("mediaType"))
        if each["digest"] in cids:
            each["urls"] = [SCHEME + cids[each["digest"]]]
    return encode_json(document)


def view_of_index(content: bytes, media_type: str, views: Mapping[str, Descriptor]) -> bytes:
    """The view of a valid index. ``views`` are those of its manifests, by the digests of the originals.

    What has none there is left out.
    """
    document = read_json(content)
    to_oci(document, media_type)
    document["manifests"] = [each for each in document["manifests"] if each["digest"] in views]
    list_instead(document, media_type, views)
    return encode_json(document)


def to_oci(document: dict[str, Any], media_type: str) -> None:
    """Give a manifest or index OCI's media type."""
    if "mediaType" in document or oci_type(media_type) != media_type:
        _complete(document, media_type)


def _complete(part: dict[str, Any], media_type: str | None) -> None:
    """Give a document or descriptor OCI's media type, and what OCI's rules need where Docker has no rule."""
    part["mediaType"] = oci_type(media_type or "application/octet-stream")
    if part.get("annotations"):
        part["annotations"] = {name: value or "" for name, value in part["annotations"].items()}


def list_instead(document: dict[str, Any], media_type: str, instead: Mapping[str, Descriptor]) -> None:
    """Let a valid manifest list others ``instead`` of those with these digests, and all by OCI's media types."""
    for each in _descriptors(document, media_type):
        _complete(each, each.get("mediaType"))
        other = instead.get(each["digest"])
        if other is not None:
            each.update(other.document)
            each.pop("data", None)  # the original's content
        annotations = each.get("annotations") or {}
        attested = annotations.get(_ATTESTED, "")
        if attested in instead:
            annotations[_ATTESTED] = str(instead[attested].digest)


def keeper_of(descriptor: bytes) -> bytes:
    """A manifest that keeps the small document whose CID names the image, and `EMPTY_CONTENT`."""
    return encode_json(
        {
            "schemaVersion": 2,
            "mediaType": OCI_IMAGE,
            "artifactType": PUBLISHED,
            "config": Descriptor.of(EMPTY_TYPE, EMPTY_CONTENT).document,
            "layers": [Descriptor.of(DESCRIPTOR, descriptor).document],
        }
    )


def publication(subject: Descriptor, view: Descriptor, keeper: bytes, cid: str) -> bytes:
    """An index that refers to an image, by its descriptor, and keeps its view and the document of that CID."""
    manifests = [Descriptor.of(OCI_IMAGE, keeper).document]
    if view.digest != subject.digest:
        manifests.insert(0, view.document)
    return encode_json(
        {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "artifactType": PUBLISHED,
            "manifests": manifests,
            "subject": subject.document,
            "annotations": {CID_ANNOTATION: cid},
        }
    )


def _descriptors(document: dict[str, Any], media_type: str) -> list[dict[str, Any]]:
    if media_type in INDEXES:
        return document["manifests"] or []
    if media_type in IMAGES:
        return [document["config"], *(document.get("layers") or ())]
    return document.get("blobs") or []
