"""Docker's manifests as OCI's: what reads an OCI layout, such as skopeo and umoci, wants OCI's media types in it."""

from dataclasses import dataclass, field

from ipfsreg.registry.descriptor import Descriptor, encode_json
from ipfsreg.registry.digest import Digest, digest_of
from ipfsreg.registry.documents import read_json
from ipfsreg.registry.errors import ContentTooLarge
from ipfsreg.registry.manifest import INDEXES

from .ipfs_view import list_instead, oci_type, to_oci

_DOCUMENTS_MAX = 64 * 1024**2  # bytes of manifests that are in memory at once


@dataclass(slots=True)
class OciForm:
    """The manifests of one image, told with `add`, as `finish` leaves them: those that differ are in ``documents``."""

    documents: dict[Digest, bytes] = field(default_factory=dict)
    descriptors: dict[str, Descriptor] = field(default_factory=dict)
    """Of these, by the digests of the originals."""
    _indexes: dict[Digest, tuple[bytes, str, tuple[Digest, ...]]] = field(default_factory=dict)
    _size: int = 0

    def add(self, digest: Digest, content: bytes, media_type: str, lists: tuple[Digest, ...]) -> None:
        """A manifest or index; ``lists`` are the manifests that it lists. For a thread.

        :raises ContentTooLarge: where they would take too much memory.
        """
        if media_type in INDEXES:
            self._indexes[digest] = (content, media_type, lists)
            self._count(content)
        else:
            self._convert(digest, content, media_type)

    def finish(self, root: Digest) -> None:
        """Convert the indexes, each after what it lists. For a thread."""
        waiting, begun = [root], set[Digest]()
        while waiting:
            digest = waiting[-1]
            index = self._indexes.get(digest)
            if index is not None and digest not in begun:
                begun.add(digest)
                waiting += [each for each in index[2] if each in self._indexes]
                continue
            waiting.pop()
            if index is not None:
                del self._indexes[digest]
                self._convert(digest, index[0], index[1])

    def _convert(self, digest: Digest, content: bytes, media_type: str) -> None:
        document = read_json(content)
        to_oci(document, media_type)
        list_instead(document, media_type, self.descriptors)
        converted = encode_json(document)
        if converted == encode_json(read_json(content)):
            return
        self._count(converted)
        self.documents[digest_of(converted)] = converted
        self.descriptors[str(digest)] = Descriptor.of(oci_type(media_type), converted)

    def _count(self, content: bytes) -> None:
        self._size += len(content)
        if self._size > _DOCUMENTS_MAX:
            raise ContentTooLarge("the image has more manifests than can be converted to OCI's at once")
