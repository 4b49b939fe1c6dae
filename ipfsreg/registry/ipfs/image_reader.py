"""Images by CID: what a CID leads to is read as an image, with its parts taken from whatever holds them.

That is this registry's own content first, found by digest, and then the node behind the bucket with the network
behind the node. Nothing that was fetched is kept here: a node has its own cache, and a CID is always the same thing,
so only what an image lists is remembered, and no more of it than `DESCRIPTORS_MAX`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from copy import copy
from dataclasses import dataclass, field

from cachetools import LRUCache, TTLCache

from ipfsreg.flow.locks import KeyedLock
from ipfsreg.ipfs.cid import CID, DAG_PB, CIDInvalid, parse_cid
from ipfsreg.registry.content.block_cid import block_cid_text, is_one_block
from ipfsreg.registry.content.checked_reads import VerifiedReader
from ipfsreg.registry.content.cid_index import Allowed
from ipfsreg.registry.content.storage import Storage
from ipfsreg.registry.digest import Digest, digest_of
from ipfsreg.registry.errors import BlobUnknown, ManifestInvalid, ManifestUnknown, NotInTime
from ipfsreg.registry.names import Tag
from ipfsreg.registry.repository.blobs import OpenBlob
from ipfsreg.registry.repository.manifests import StoredManifest

from .held_content import HeldContent
from .image_source import ImageSource
from .image_tree import Listed, ListedKey, ReadDocument, content_type, is_readable, read_document, read_root

DESCRIPTORS_MAX = 50_000
"""How many descriptors of all images together are remembered."""

LISTED_MAX = 10_000
"""How many descriptors one image may have."""

LATEST = Tag("latest")
"""The only tag that an image by CID has."""

_LATE_SECONDS = 5.0  # for so long a CID that did not come in time is answered without another try
_LATE_MAX = 1000
_INDEX = "/index.json"
_DIRECTORIES = (
    ("index.json", "blobs/{digest.algorithm}/{digest.hex}"),  # image-spec, "Image Layout"
    ("manifests/latest", "blobs/{digest}"),  # what ipdr makes
)


@dataclass(slots=True)
class _Image:
    """What is known of an image. ``unread`` are its manifests of which it is not known yet what they list.

    ``folder`` has the rest of the image's files, where the CID is of a directory: a pattern for their paths.
    """

    root: Listed
    folder: str | None = None
    root_path: str | None = None
    listed: dict[ListedKey, Listed] = field(default_factory=dict)
    unread: dict[ListedKey, Listed] = field(default_factory=dict)

    def add(self, *found: Listed) -> None:
        for each in found:
            if each.key not in self.listed:
                self.listed[each.key] = each
                if is_readable(each):
                    self.unread[each.key] = each
        if len(self.listed) > LISTED_MAX:
            raise ManifestUnknown(f"the image of this CID lists more than {LISTED_MAX} contents")


class ImagesByCid:
    """Reading images by CID, from repositories that are ``allowed``, and else from a source."""

    def __init__(self, storage: Storage, held: HeldContent, allowed: Allowed, source: ImageSource) -> None:
        self._storage = storage
        self._held = held
        self._allowed = allowed
        self._source = source
        self._images: LRUCache[CID, _Image] = LRUCache(DESCRIPTORS_MAX, getsizeof=lambda image: len(image.listed) + 1)
        self._sees_all = True
        self._late: TTLCache[CID, NotInTime] = TTLCache(_LATE_MAX, _LATE_SECONDS)
        self._reading = KeyedLock()

    def seen_by(self, pulls: Allowed) -> "ImagesByCid":
        """The same for an asker who may pull from some repositories only.

        What images list is remembered for all of them, and their content read for each. An image whose root the asker
        may not have is none to it.
        """
        seen = copy(self)
        seen._sees_all = False
        seen._allowed = lambda repository: pulls(repository) and self._allowed(repository)
        seen._source = self._source.seen_by(pulls)
        return seen

    async def manifest(self, cid: CID, reference: Tag | Digest) -> StoredManifest:
        """The image's manifest or index (`LATEST`), or any that it lists.

        :raises ManifestUnknown: where the CID is of no image, or the image has no such manifest.
        :raises NotInTime: where nobody had it in time.
        """
        if not isinstance(reference, Digest) and reference != LATEST:
            raise ManifestUnknown("an image by CID has no tag but latest", {"reference": reference})
        async with self._known(cid) as image:
            listed: Listed | None = image.root
            if isinstance(reference, Digest):
                listed = await self._find(image, (True, reference))
            if listed is None:
                raise ManifestUnknown("the image of this CID has no such manifest", {"reference": str(reference)})
            content = await self._read(image, listed)
        return StoredManifest(listed.digest, content_type(listed), content)

    async def blob(self, cid: CID, digest: Digest) -> OpenBlob:
        """Open a blob of the image. What comes from elsewhere is compared with its digest while it is read whole.

        :raises BlobUnknown: where the image has no such blob, or nobody has it.
        :raises NotInTime: where nobody had it in time.
        """
        async with self._known(cid) as image:
            listed = await self._find(image, (False, digest))
        if listed is None:
            raise BlobUnknown("the image of this CID has no such blob", {"digest": str(digest)})
        return await self._open(image, listed)

    async def parts(self, cid: CID) -> list[Listed]:
        """All that the image consists of as far as it is there, the root first."""
        async with self._known(cid) as image:
            await self._find(image, None)
        return list(image.listed.values())

    async def root(self, cid: CID) -> Listed:
        """The image's manifest or index."""
        async with self._known(cid) as image:
            return image.root

    @asynccontextmanager
    async def _known(self, cid: CID) -> AsyncIterator[_Image]:
        """An image by one caller at a time, and as it is then remembered."""
        async with self._reading.of(cid):
            image = await self._image(cid)
            yield image
            self._images[cid] = image  # it may have grown

    async def _find(self, image: _Image, key: ListedKey | None) -> Listed | None:
        """Look in what the image lists, reading no more of its manifests than needed; with None all of them."""
        late: NotInTime | None = None
        pending = list(image.unread.values())
        while key not in image.listed and pending:
            known = len(image.listed)
            listed = pending.pop(0)
            try:
                await self._read(image, listed)
            except NotInTime as error:  # another manifest may list it
                late = error
            except ManifestUnknown:  # an index may list what is not there
                image.unread.pop(listed.key, None)
            pending += [each for each in list(image.listed.values())[known:] if each.key in image.unread]
        found = None if key is None else image.listed.get(key)
        if found is None and late is not None:
            raise late
        return found

    async def _read(self, image: _Image, listed: Listed) -> bytes:
        """The content of a manifest, which is then known to list what it does."""
        content = await self._content(image, listed)
        if listed.key in image.unread:
            try:
                document = await self._storage.parser.run(len(content), read_document, content, listed.media_type)
            except ManifestInvalid as error:
                raise _no_image(error) from None
            image.add(*document.lists)
            image.unread.pop(listed.key, None)
        return content

    async def _image(self, cid: CID) -> _Image:
        """What is known of an image; the first time, what its CID is of."""
        image = self._images.get(cid)
        if image is not None and (self._sees_all or await self._sees(image)):
            return image
        late = self._late.get(cid)
        if late is not None:
            raise late
        try:
            return await self._first_look(cid)
        except NotInTime as error:
            self._late[cid] = error
            raise

    async def _sees(self, image: _Image) -> bool:
        try:
            await self._content(image, image.root)
        except (ManifestUnknown, NotInTime):
            return False
        return True

    async def _first_look(self, cid: CID) -> _Image:
        content = await self._held.document(cid, self._allowed)
        if content is not None or cid.codec != DAG_PB:
            return await self._document(cid, str(cid), content)
        for path, folder in _DIRECTORIES:
            try:
                return await self._document(cid, f"{cid}/{path}", None, f"{cid}/{folder}")
            except ManifestUnknown:
                continue
        return await self._document(cid, str(cid), None)

    async def _document(self, cid: CID, path: str, content: bytes | None, folder: str | None = None) -> _Image:
        """The image whose manifest, or descriptor, or list of images in a directory, is the file of that path."""
        if content is None:
            content = await self._source.document(path)
        try:
            root = await self._storage.parser.run(len(content), read_root, content)
        except ManifestInvalid as error:
            raise _no_image(error) from None
        listed: Listed
        if isinstance(root, ReadDocument):
            listed = Listed(root.media_type, digest_of(content), len(content), True)
            if folder is not None and path.endswith(_INDEX) and len(root.lists) == 1:
                listed, path = root.lists[0], ""
        else:
            listed = root
        image = _Image(listed, folder, root_path=path if listed.cid is None else None)
        image.add(listed)
        await self._read(image, listed)
        return image

    async def _content(self, image: _Image, listed: Listed) -> bytes:
        longest = self._storage.max_manifest_size
        if listed.size > longest:
            raise ManifestUnknown(f"a manifest of this image is longer than {longest} bytes")
        content = await self._held.manifest(listed, self._allowed)
        return await self._source.manifest(listed, _places(image, listed)) if content is None else content

    async def _open(self, image: _Image, listed: Listed) -> OpenBlob:
        blob = await self._held.blob(listed, self._allowed)
        if blob is not None:
            return blob
        reader = await self._source.open(listed, _places(image, listed), BlobUnknown)
        return OpenBlob(listed.digest, listed.size, VerifiedReader(reader, listed.digest, listed.size))


def _no_image(error: ManifestInvalid) -> ManifestUnknown:
    return ManifestUnknown(f"what this CID leads to is not an image: {error.message}")


def _places(image: _Image, listed: Listed) -> list[str]:
    """Where the network may have a content: paths that begin with a CID, the likeliest first."""
    paths = []
    if listed.cid is not None:
        with suppress(CIDInvalid):  # what a stranger wrote
            paths.append(str(parse_cid(listed.cid)))
    if listed == image.root and image.root_path:
        paths.append(image.root_path)
    if image.folder is not None:
        paths.append(image.folder.format(digest=listed.digest))
    if is_one_block(listed.digest, listed.size):
        paths.append(block_cid_text(listed.digest))
    return list(dict.fromkeys(paths))
