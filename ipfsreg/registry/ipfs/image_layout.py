"""An image as a directory on IPFS: an OCI image layout (image-spec, "Image Layout") of blocks.

The directory links to all that the image consists of, so that a node that pins it keeps the image, and any program that
reads layouts can read what `ipfs get` brings. The same image under the same name is always the same blocks.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ipfsreg.ipfs.car import BLOCK_MAX, encode_header, section_head
from ipfsreg.ipfs.cid import CID, DAG_PB, cid_of
from ipfsreg.ipfs.dag_pb import PBLink
from ipfsreg.ipfs.file_dag import BlockPlace, FileDag
from ipfsreg.ipfs.unixfs import encode_directory
from ipfsreg.registry.content.content_hash import leaves_of
from ipfsreg.registry.descriptor import Descriptor
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.errors import ContentTooLarge
from ipfsreg.registry.manifest import OCI_INDEX

_VERSION = json.dumps({"imageLayoutVersion": "1.0.0"}, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class LayoutBlock:
    """A block of the directory. Its bytes are in ``block``, or at ``place`` of the content with that ``digest``."""

    cid: CID
    size: int
    block: bytes | None = None
    digest: Digest | None = None
    place: BlockPlace | None = None


@dataclass(frozen=True, slots=True)
class _File:
    dag: FileDag
    digest: Digest | None = None
    content: bytes = b""


_Directory = dict[str, "_Directory | _File"]


class ImageLayout:
    """The directory of some images. ``dags`` are the DAGs of all of their contents.

    ``images`` describe their manifests or indexes, with their names in the annotation `image_tree.REF_NAME`.

    :raises ContentTooLarge: where there are more contents than a directory's block has room for.
    """

    def __init__(self, images: Iterable[Descriptor], dags: Mapping[Digest, FileDag]) -> None:
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [each.document for each in images]}
        blobs: _Directory = {}
        for digest, dag in dags.items():
            folder = blobs.setdefault(digest.algorithm, {})
            assert isinstance(folder, dict)
            folder[digest.hex] = _File(dag, digest)
        self._tree: _Directory = {
            "blobs": blobs,
            "index.json": _in_memory(json.dumps(index, separators=(",", ":")).encode()),
            "oci-layout": _in_memory(_VERSION),
        }
        self._blocks: dict[int, bytes] = {}  # of directories, by the identity of their part of the tree
        self._encode(self._tree)
        self.root = cid_of(DAG_PB, self._blocks[id(self._tree)])
        """The directory's CID."""
        self.length = len(encode_header([self.root])) + sum(
            len(section_head(each.cid, each.size)) + each.size for each in self.sections()
        )
        """The length of the CAR in bytes."""

    def sections(self) -> Iterator[LayoutBlock]:
        """The blocks, depth first and each once: the order in which Kubo's ``dag export`` has them too."""
        seen: set[bytes] = set()
        for section in self._walk(self._tree):
            if section.cid.binary not in seen:
                seen.add(section.cid.binary)
                yield section

    def _walk(self, node: "_Directory | _File") -> Iterator[LayoutBlock]:
        if isinstance(node, _File):
            for place in node.dag.walk(node.dag.root):
                cid, size = node.dag.cid_at(place), node.dag.block_size(place)
                if node.digest is None:
                    yield LayoutBlock(cid, size, block=node.content)
                else:
                    yield LayoutBlock(cid, size, digest=node.digest, place=place)
            return
        block = self._blocks[id(node)]
        yield LayoutBlock(cid_of(DAG_PB, block), len(block), block=block)
        for name in sorted(node):
            yield from self._walk(node[name])

    def _encode(self, node: _Directory) -> PBLink:
        """Make the blocks of a directory and those below it; answers a link to it."""
        links = []
        for name, child in node.items():
            if isinstance(child, _File):
                links.append(PBLink(child.dag.cid, name, _total(child.dag)))
            else:
                below = self._encode(child)
                links.append(PBLink(below.cid, name, below.size))
        block = encode_directory(links)
        if len(block) > BLOCK_MAX:
            raise ContentTooLarge("there are more contents than a directory on IPFS has room for in one block")
        self._blocks[id(node)] = block
        return PBLink(cid_of(DAG_PB, block), "", len(block) + sum(link.size for link in links))


def _total(dag: FileDag) -> int:
    """The length of all of a file's blocks."""
    if not dag.root.level:
        return dag.size
    return dag.size + sum(dag.block_size(place) for place in dag.inner_nodes())


def _in_memory(content: bytes) -> _File:
    return _File(FileDag(leaves_of(content), len(content)), None, content)
