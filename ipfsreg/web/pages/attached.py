"""What refers to an image: signatures, SBOMs and other referrers, as a tree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ipfsreg.bucket.errors import BucketError
from ipfsreg.registry.digest import Digest, parse_digest
from ipfsreg.registry.errors import RegistryError
from ipfsreg.registry.ipfs.ipfs_view import CID_ANNOTATION, PUBLISHED
from ipfsreg.registry.names import Repository, Tag
from ipfsreg.registry.registry import Registry

from .documents import Document
from .text import clip, kind_of

DEPTH_MAX = 4
NODES_MAX = 100
LISTED_MAX = 12
"""Of so many images of an index it is looked what refers to them."""

_COSIGN: Mapping[str, str] = {"sig": "cosign signature", "att": "cosign attestation", "sbom": "cosign SBOM"}
"""Tags under which cosign stores things beside an image: ``sha256-<hex>.sig`` and so on."""


_WORDS: Mapping[str, Sequence[str]] = {
    "signature": ("signature", "Sigstore"),
    "SBOM": ("SBOM",),
    "attestation": ("attestation",),
}
"""What a list says of an image, by what stands in the names of kinds."""


@dataclass
class Attached:
    """Something that refers to an image, and what refers to that."""

    digest: Digest
    kind: str
    size: int
    note: str = ""
    children: list["Attached"] = field(default_factory=list)


@dataclass
class Tree:
    """All of it. ``cid`` is that of a published view; ``whole`` says whether nothing was left out."""

    roots: list[Attached] = field(default_factory=list)
    count: int = 0
    whole: bool = True
    cid: str = ""


async def attached_to(registry: Registry, repository: Repository, digest: Digest, document: Document) -> Tree:
    """The tree of what refers to a manifest, at most `NODES_MAX` of it, and to the images that it lists.

    What an index lists as an attestation of one of its images, as BuildKit does, is there as well.
    """
    tree = Tree()
    tree.roots = await _referring(registry, repository, digest, tree, {digest}, 0)
    tree.roots += await _by_tag(registry, repository, digest)
    listed = {}
    for part in document.images[:LISTED_MAX] if document.is_index else ():
        found = await _referring(registry, repository, part.digest, tree, {digest, part.digest}, 1)
        listed[str(part.digest)] = Attached(
            part.digest, part.platform or kind_of(part.media_type), part.size, children=found
        )
    for part in document.parts:
        if part.attests:
            of = listed.get(part.attests)
            beside = tree.roots if of is None else of.children
            beside.append(Attached(part.digest, "build attestation", part.size))
    tree.roots += [each for each in listed.values() if each.children]
    return tree


async def kinds_attached(
    registry: Registry, repository: Repository, digest: Digest, document: Document
) -> Sequence[str]:
    """Words for what refers to a manifest, or is listed in it: those of `_WORDS`, each once."""
    descriptors, _ = await registry.referrers.list(repository, digest)
    kinds = [kind_of(each.get("artifactType") or each.get("mediaType")) for each in descriptors[:NODES_MAX]]
    kinds += ["attestation" for part in document.parts if part.attests][:1]
    return [word for word, signs in _WORDS.items() if any(sign in kind for kind in kinds for sign in signs)]


async def _referring(
    registry: Registry, repository: Repository, subject: Digest, tree: Tree, above: set[Digest], depth: int
) -> list[Attached]:
    if depth == DEPTH_MAX:
        return []
    found: list[Attached] = []
    descriptors, more = await registry.referrers.list(repository, subject)
    tree.whole = tree.whole and more is None
    for descriptor in descriptors:
        if tree.count == NODES_MAX:
            tree.whole = False
            break
        each = _attached(descriptor)
        if each.digest in above:  # two manifests can be each other's subjects
            continue
        tree.count += 1
        if not depth and descriptor.get("artifactType") == PUBLISHED:
            tree.cid = clip(_annotations(descriptor).get(CID_ANNOTATION), 100)
        each.children = await _referring(registry, repository, each.digest, tree, {*above, each.digest}, depth + 1)
        found.append(each)
    return found


def _attached(descriptor: Mapping[str, Any]) -> Attached:
    annotations = _annotations(descriptor)
    note = annotations.get("org.opencontainers.image.description") or annotations.get("org.opencontainers.image.title")
    kind = kind_of(descriptor.get("artifactType") or descriptor.get("mediaType"))
    return Attached(parse_digest(descriptor["digest"]), kind, descriptor["size"], clip(note, 120))


def _annotations(descriptor: Mapping[str, Any]) -> Mapping[str, Any]:
    return descriptor.get("annotations") or {}


async def _by_tag(registry: Registry, repository: Repository, digest: Digest) -> Sequence[Attached]:
    found = []
    for suffix, kind in _COSIGN.items():
        tag = Tag(f"{digest.algorithm}-{digest.hex}.{suffix}")
        try:
            manifest = await registry.manifests.get(repository, tag)
        except (RegistryError, BucketError):
            continue
        found.append(Attached(manifest.digest, kind, len(manifest.content), "by its tag"))
    return found
