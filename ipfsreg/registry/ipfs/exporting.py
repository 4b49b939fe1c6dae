"""An image as a CAR file: the directory of `image_layout`, streamed out of the blobs."""

from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass

from ipfsreg.bucket.interface import IReader
from ipfsreg.flow.workers import Workers
from ipfsreg.ipfs.car import encode_header, section_head
from ipfsreg.ipfs.cid import CID
from ipfsreg.ipfs.file_dag import FileDag
from ipfsreg.registry.content.content_hash import leaves_of
from ipfsreg.registry.descriptor import Descriptor
from ipfsreg.registry.digest import Digest, parse_digest
from ipfsreg.registry.errors import BlobUnknown
from ipfsreg.registry.names import Repository, Tag, format_reference
from ipfsreg.registry.repository.blobs import Blobs
from ipfsreg.registry.repository.manifests import Manifests

from .held_content import read_leaf
from .image_layout import ImageLayout, LayoutBlock
from .image_parts import walk_image
from .image_tree import REF_NAME
from .oci_form import OciForm


@dataclass(frozen=True, slots=True)
class _Contents:
    dags: dict[Digest, FileDag]
    manifests: set[Digest]
    missing: list[Digest]
    converted: dict[Digest, bytes]


class Export:
    """An image about to be exported: ``length`` is the CAR's, in bytes, and ``root`` its root.

    ``missing`` are manifests of the image that the repository does not have, so that they are not in the CAR.
    """

    def __init__(
        self,
        manifests: Manifests,
        blobs: Blobs,
        workers: Workers,
        repository: Repository,
        layout: ImageLayout,
        contents: _Contents,
    ) -> None:
        self.root: CID = layout.root
        self.length = layout.length
        self.missing = contents.missing
        self._manifests = manifests
        self._blobs = blobs
        self._workers = workers
        self._repository = repository
        self._layout = layout
        self._contents = contents
        self._digest: Digest | None = None
        self._source: IReader | bytes = b""

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The CAR. Each block is compared with its CID before it goes out.

        :raises RegistryError: where the image was deleted meanwhile. :raises BucketError: where it cannot be read.
        """
        yield encode_header([self.root])
        try:
            for section in self._layout.sections():
                block = await self._block(section)
                yield section_head(section.cid, len(block)) + block
        finally:
            self._close()

    async def _block(self, section: LayoutBlock) -> bytes:
        if section.block is not None:
            return section.block
        assert section.digest is not None
        assert section.place is not None
        dag = self._contents.dags[section.digest]
        if section.place.level:
            return dag.block(section.place)
        if section.digest != self._digest:
            await self._open(section.digest)
        part = dag.range_at(section.place)
        return await read_leaf(self._workers, self._source, section.digest, part, section.cid.hash)

    async def _open(self, digest: Digest) -> None:
        self._close()
        if digest in self._contents.converted:
            self._source = self._contents.converted[digest]
        elif digest in self._contents.manifests:
            self._source = (await self._manifests.get(self._repository, digest)).content
        else:
            self._source = (await self._blobs.open(self._repository, digest)).reader
        self._digest = digest

    def _close(self) -> None:
        source, self._source, self._digest = self._source, b"", None
        if not isinstance(source, bytes):
            source.close()


class Exporter:
    """Makes exports."""

    def __init__(self, manifests: Manifests, blobs: Blobs, workers: Workers) -> None:
        self._manifests = manifests
        self._blobs = blobs
        self._workers = workers

    async def export(self, repository: Repository, reference: Tag | Digest) -> Export:
        """Find all that an image consists of. Where a blob's DAG was never computed, the blob is read for it.

        Manifests of Docker's media types are converted, so that programs that read layouts understand them.

        :raises ManifestUnknown: where the repository does not have it. :raises BlobUnknown: where a blob is lost.
        """
        root = await self._manifests.get(repository, reference)
        oci = OciForm()
        contents = _Contents({}, set(), [], oci.documents)
        async for digest, stored, parsed in walk_image(self._manifests, repository, root):
            if stored is None or parsed is None:
                contents.missing.append(digest)
                continue
            contents.manifests.add(digest)
            contents.dags[digest] = await self._workers.run(_dag_of, stored.content)
            await self._workers.run(oci.add, digest, stored.content, stored.media_type, parsed.manifests)
            for blob, _ in parsed.blobs:
                contents.dags[blob] = contents.dags.get(blob) or await self._blobs.dag(repository, blob)
            for blob in parsed.foreign:
                with suppress(BlobUnknown):  # its descriptor says where else to get it
                    contents.dags[blob] = contents.dags.get(blob) or await self._blobs.dag(repository, blob)
        await self._workers.run(oci.finish, root.digest)
        for original in oci.descriptors:
            del contents.dags[parse_digest(original)]
        for digest, document in oci.documents.items():
            contents.dags[digest] = await self._workers.run(_dag_of, document)
        descriptor = oci.descriptors.get(str(root.digest)) or Descriptor(
            root.media_type, root.digest, len(root.content)
        )
        named = descriptor._replace(annotations={REF_NAME: format_reference(repository, reference)})
        layout = await self._workers.run(ImageLayout, [named], contents.dags)
        return Export(self._manifests, self._blobs, self._workers, repository, layout, contents)


def _dag_of(content: bytes) -> FileDag:
    return FileDag(leaves_of(content), len(content))
