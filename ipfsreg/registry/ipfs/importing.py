"""An image out of a CAR file. The file may be of any program: what its root leads to is read as `image_reader` does."""

import uuid
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ipfsreg.bucket.errors import Corrupt
from ipfsreg.flow.streams import write_pieces
from ipfsreg.ipfs.cid import CID
from ipfsreg.registry.content.storage import Storage
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.errors import BlobUnknown, Denied, ImportInvalid, ManifestUnknown, RegistryError
from ipfsreg.registry.names import Repository, format_reference, parse_reference
from ipfsreg.registry.repository.blobs import Blobs, OpenBlob
from ipfsreg.registry.repository.manifests import Manifests
from ipfsreg.registry.uploads.uploads import Uploads

from .car_content import CarContent
from .car_spool import CarSpool
from .held_content import HeldContent
from .image_names import check_not_cid
from .image_reader import ImagesByCid
from .image_source import ImageSource
from .image_tree import Listed


@dataclass(frozen=True, slots=True)
class Imported:
    """What came out of a CAR: ``name`` is where the image is now, ``missing`` what its indexes list and it lacks."""

    name: str
    digest: Digest
    missing: tuple[Digest, ...]

    @property
    def document(self) -> dict[str, Any]:
        """As it is told to a command."""
        return {"name": self.name, "digest": str(self.digest), "missing": [str(each) for each in self.missing]}


class Importer:
    """Imports images. ``directory`` on this disk is for the CARs on their way."""

    def __init__(
        self, directory: Path, storage: Storage, held: HeldContent, manifests: Manifests, blobs: Blobs, uploads: Uploads
    ) -> None:
        self._directory = directory
        self._storage = storage
        self._workers = storage.workers
        self._held = held
        self._manifests = manifests
        self._blobs = blobs
        self._uploads = uploads

    async def run(self, car: AsyncIterator[bytes], name: str | None) -> Imported:
        """Import the image of a CAR, given in pieces.

        Without a ``name`` it is the one that the image has in the CAR. Nothing is stored before all blocks
        of the image are there and were compared with their CIDs.

        :raises Denied: where the bucket is encrypted.
        :raises ImportInvalid: where it is no CAR, a block of it is wrong or missing, or there is no image in it.
        """
        if not self._storage.dags.wanted:
            raise Denied("the bucket is encrypted ([encryption] enabled), and a CAR is not: push the image instead")
        if name is not None:
            check_not_cid(parse_reference(name)[0])
        spool = CarSpool(self._directory / str(uuid.uuid4()), self._workers)
        try:
            await spool.open()
            async for piece in car:
                await spool.feed(piece)
            roots = await spool.finish()
            if len(roots) != 1:
                raise ImportInvalid(f"the CAR has {len(roots)} roots, and one is needed to know what to import")
            content = CarContent(spool, self._workers)
            source = ImageSource(self._storage, content, name="the CAR", nobody="nothing in the CAR")
            # Only what is in the CAR counts: who imports it gets what was exported, or is told what is missing.
            images = ImagesByCid(self._storage, self._held, lambda _: False, source)
            try:
                return await self._store(images, roots[0], name)
            except ManifestUnknown as error:
                raise ImportInvalid(error.message) from None
            except Corrupt as error:
                raise ImportInvalid(str(error)) from None
        finally:
            await spool.close()

    async def _store(self, images: ImagesByCid, cid: CID, name: str | None) -> Imported:
        parts = await images.parts(cid)
        root = await images.root(cid)
        if name is None and root.name is None:
            raise ImportInvalid("the image has no name in the CAR: give it one, NAME:TAG")
        try:
            repository, reference = parse_reference(name or root.name or "")
            check_not_cid(repository)
        except RegistryError as error:
            raise ImportInvalid(f"{error.message}: give the image another name, NAME:TAG") from None
        if isinstance(reference, Digest) and reference != root.digest:
            raise ImportInvalid(f"the image has the digest {root.digest}")
        blobs = [part for part in parts if not part.is_manifest]
        for part in blobs:  # is all of it there?
            blob = await self._open(images, cid, part)
            if blob is not None:
                blob.reader.close()
        for part in blobs:
            await self._blob(images, cid, repository, part)
        missing = []
        for part in reversed(parts):  # what is listed before what lists it; the root is the last
            if part.is_manifest:
                try:
                    manifest = await images.manifest(cid, part.digest)
                except ManifestUnknown:
                    missing.append(part.digest)
                    continue
                tags = [] if part.digest != root.digest or isinstance(reference, Digest) else [reference]
                await self._manifests.put(repository, manifest.content, part.media_type, part.digest, tags)
        return Imported(format_reference(repository, reference), root.digest, tuple(missing))

    async def _open(self, images: ImagesByCid, cid: CID, part: Listed) -> OpenBlob | None:
        try:
            return await images.blob(cid, part.digest)
        except BlobUnknown:
            if part.may_be_missing:
                return None
            raise ImportInvalid(f"the CAR does not have the blob {part.digest}") from None

    async def _blob(self, images: ImagesByCid, cid: CID, repository: Repository, part: Listed) -> None:
        try:
            if await self._blobs.size(repository, part.digest) == part.size:
                return
        except BlobUnknown:
            pass
        blob = await self._open(images, cid, part)
        if blob is None:
            return
        with closing(blob.reader):
            upload = await self._uploads.begin(repository)
            try:
                async with upload.completing(part.digest, part.size) as consumer:
                    await write_pieces(consumer, blob.reader.pieces(0, part.size))
            except BaseException:
                if not upload.busy:
                    await upload.cancel()
                raise
