"""Images by CID: what a CID leads to is read as an image, with its parts taken from whatever holds them.

That is this registry's own content first, found by digest, and then the node behind the bucket with the network
behind the node. Nothing that was fetched is kept here: a node has its own cache, and a CID is always the same thing,
so only what an image lists is remembered, and no more of it than `REMEMBERED`.
"""

import re
from base64 import b32decode
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from cachetools import LRUCache, TTLCache

from ipfsreg.bucket.errors import NotFound, Refused, Unavailable
from ipfsreg.bucket.interface import IReader
from ipfsreg.flow.locks import KeyedLock
from ipfsreg.flow.workers import Workers
from ipfsreg.ipfs.cid import CID, DAG_PB, RAW, CIDInvalid, decode_cid, parse_cid
from ipfsreg.registry.content.cid_index import Allowed, CidIndex
from ipfsreg.registry.content.dags import block_cid_text, is_one_block
from ipfsreg.registry.content.reading import read_part
from ipfsreg.registry.content.verified_reader import VerifiedReader
from ipfsreg.registry.digest import Digest, digest_of
from ipfsreg.registry.errors import (
    BlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NotInTime,
    RegistryError,
)
from ipfsreg.registry.names import Repository, Tag
from ipfsreg.registry.repository.blobs import Blobs, OpenBlob
from ipfsreg.registry.repository.manifests import Manifests, StoredManifest

from .image_tree import Listed, ReadDocument, content_type, is_readable, read_descriptor, read_document
from .own_content import OwnContent
from .withheld import Withheld

REMEMBERED = 50_000
"""How many descriptors of all images together are remembered."""

LISTED_MAX = 10_000
"""How many descriptors one image may have."""

LATEST = Tag("latest")
"""The only tag that an image by CID has."""

_LATE_SECONDS = 5.0  # for so long those who waited with it for what did not come in time are told so at once
_LATE_MAX = 1000
_INLINE = 64 * 1024  # a shorter document is parsed faster than a thread is woken
_MULTIHASH = 34
_INDEX = "/index.json"
_DIRECTORIES = (
    ("index.json", "blobs/{digest.algorithm}/{digest.hex}"),  # image-spec, "Image Layout"
    ("manifests/latest", "blobs/{digest}"),  # what ipdr makes
)

_Key = tuple[bool, Digest]


CID_NAME = r"(?:b[a-z2-7]{48,}|k[a-z0-9]{48,}|f01[a-f0-9]{68,}|ciq[a-z2-7]{52})"
"""What looks like a CID in an image's name: below ``ipfs/`` that is never an ordinary repository."""

_RESERVED = re.compile(f"ipfs/{CID_NAME}")


def check_not_cid(repository: Repository) -> None:
    """Refuse a name that is of an image by its CID, so that nothing is stored where it cannot be pulled from.

    :raises NameInvalid: for such a name.
    """
    if _RESERVED.fullmatch(repository):
        raise NameInvalid("ipfs/ and a CID is the name of what the CID is of: nothing else can be stored there")


class OpensCids(Protocol):
    """What can fetch by CID; see `ContentByCid`."""

    async def open_cid(self, cid: str, size: int | None) -> IReader:
        """See `ContentByCid.open_cid`."""


@dataclass(slots=True)
class _Image:
    """What is known of an image. ``unread`` are its manifests of which it is not known yet what they list.

    ``folder`` has the rest of the image's files, where the CID is of a directory: a pattern for their paths.
    """

    root: Listed
    folder: str | None = None
    root_path: str | None = None
    listed: dict[_Key, Listed] = field(default_factory=dict)
    unread: list[Listed] = field(default_factory=list)

    def add(self, *found: Listed) -> None:
        for each in found:
            key = (each.is_manifest, each.digest)
            if key not in self.listed:
                self.listed[key] = each
                if is_readable(each):
                    self.unread.append(each)
        if len(self.listed) > LISTED_MAX:
            raise ManifestUnknown(f"the image of this CID lists more than {LISTED_MAX} contents")


def parse_image_name(text: str) -> CID:
    """Read how a CID is written in an image's name, which has no capital letters.

    Beside CIDv1 that is ``ciq…``, the base32 of a CIDv0 as ipdr and image2ipfs write it.

    :raises NameInvalid: where it is none.
    """
    try:
        if text.startswith("ciq"):
            cid, end = decode_cid(b32decode(text.upper() + "=" * (-len(text) % 8)))
            if end == _MULTIHASH:
                return cid
        cid = parse_cid(text)
    except (CIDInvalid, ValueError):
        raise NameInvalid("ipfs/… is the name of an image by its CID, and this is none", {"name": text}) from None
    if cid.codec not in {RAW, DAG_PB}:
        raise NameInvalid("this CID is of something else than a file or directory", {"name": text})
    return cid


class ImagesByCid:
    """Reading images by CID.

    ``node`` is what can fetch by CID, if anything can; it is not asked for what is ``withheld``. Only what ``allowed``
    repositories have is taken from this registry. A manifest has at most ``max_manifest_size`` bytes. ``source`` is
    what messages call the node's network, and ``nobody`` who does not have what is nowhere.
    """

    def __init__(
        self,
        manifests: Manifests,
        blobs: Blobs,
        index: CidIndex,
        workers: Workers,
        node: OpensCids | None,
        max_manifest_size: int,
        allowed: Allowed,
        withheld: Withheld | None = None,
        source: str = "the IPFS network",
        nobody: str = "neither this registry nor the IPFS network",
    ) -> None:
        self._withheld = withheld
        self._source = source
        self._nobody = nobody
        self._own = OwnContent(manifests, blobs, index, workers, max_manifest_size, allowed)
        self._index = index
        self._workers = workers
        self._node = node
        self._max = max_manifest_size
        self._images: LRUCache[CID, _Image] = LRUCache(REMEMBERED, getsizeof=lambda image: len(image.listed) + 1)
        self._late: TTLCache[CID, NotInTime] = TTLCache(_LATE_MAX, _LATE_SECONDS)
        self._turns = KeyedLock()
        self._large = KeyedLock()

    async def manifest(self, cid: CID, reference: Tag | Digest) -> StoredManifest:
        """The image's manifest or index (`LATEST`), or any that it lists.

        :raises ManifestUnknown: where the CID is of no image, or the image has no such manifest.
        :raises NotInTime: where nobody had it in time.
        """
        if not isinstance(reference, Digest) and reference != LATEST:
            raise ManifestUnknown("an image by CID has no tag but latest", {"reference": reference})
        async with self._turns.of(cid):
            image = await self._image(cid)
            listed: Listed | None = image.root
            if isinstance(reference, Digest):
                listed = await self._find(image, (True, reference))
            if listed is None:
                raise ManifestUnknown("the image of this CID has no such manifest", {"reference": str(reference)})
            content = await self._read(image, listed)
            self._images[cid] = image  # it may have grown
        return StoredManifest(listed.digest, content_type(listed), content)

    async def blob(self, cid: CID, digest: Digest) -> OpenBlob:
        """Open a blob of the image. What comes from elsewhere is compared with its digest while it is read whole.

        :raises BlobUnknown: where the image has no such blob, or nobody has it.
        :raises NotInTime: where nobody had it in time.
        """
        async with self._turns.of(cid):
            image = await self._image(cid)
            listed = await self._find(image, (False, digest))
            self._images[cid] = image
        if listed is None:
            raise BlobUnknown("the image of this CID has no such blob", {"digest": str(digest)})
        return await self._open(image, listed)

    async def parts(self, cid: CID) -> list[Listed]:
        """All that the image consists of as far as it is there, the root first."""
        async with self._turns.of(cid):
            image = await self._image(cid)
            await self._find(image, None)
            self._images[cid] = image
        return list(image.listed.values())

    async def root(self, cid: CID) -> Listed:
        """The image's manifest or index."""
        async with self._turns.of(cid):
            return (await self._image(cid)).root

    async def _find(self, image: _Image, key: _Key | None) -> Listed | None:
        """Look in what the image lists, reading no more of its manifests than needed; with None all of them."""
        late: NotInTime | None = None
        pending = list(image.unread)
        while key not in image.listed and pending:
            known = len(image.listed)
            listed = pending.pop(0)
            try:
                await self._read(image, listed)
            except NotInTime as error:  # another manifest may list it
                late = error
            except ManifestUnknown:  # an index may list what is not there
                image.unread.remove(listed)
            pending += [each for each in list(image.listed.values())[known:] if each in image.unread]
        found = None if key is None else image.listed.get(key)
        if found is None and late is not None:
            raise late
        return found

    async def _read(self, image: _Image, listed: Listed) -> bytes:
        """The content of a manifest, which is then known to list what it does."""
        content = await self._content(image, listed)
        if listed in image.unread:
            image.add(*(await self._parse(content, listed.media_type)).lists)
            image.unread.remove(listed)
        return content

    async def _parse(self, content: bytes, media_type: str | None = None) -> ReadDocument:
        try:
            if len(content) <= _INLINE:
                return read_document(content, media_type)
            async with self._large.of(None):  # taken apart, a document needs ten times its length
                return await self._workers.run(read_document, content, media_type)
        except ManifestInvalid as error:
            raise ManifestUnknown(f"what this CID leads to is not an image: {error.message}") from None

    async def _image(self, cid: CID) -> _Image:
        """What is known of an image; the first time, what its CID is of."""
        image = self._images.get(cid)
        if image is not None:
            return image
        late = self._late.get(cid)
        if late is not None:
            raise late
        try:
            return await self._first_look(cid)
        except NotInTime as error:
            self._late[cid] = error
            raise

    async def _first_look(self, cid: CID) -> _Image:
        content = await self._own.root(cid)
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
            content = await self._fetch(path, None)
        try:
            listed = read_descriptor(content)
        except ManifestInvalid as error:
            raise ManifestUnknown(f"what this CID leads to is not an image: {error.message}") from None
        if listed is None:
            document = await self._parse(content)
            listed = Listed(document.media_type, digest_of(content, "sha256"), len(content), True)
            if folder is not None and path.endswith(_INDEX) and len(document.lists) == 1:
                listed, path = document.lists[0], ""
        image = _Image(listed, folder, root_path=path if listed.cid is None else None)
        image.add(listed)
        await self._read(image, listed)
        return image

    async def _content(self, image: _Image, listed: Listed) -> bytes:
        if listed.size > self._max:
            raise ManifestUnknown(f"a manifest of this image is longer than {self._max} bytes")
        content = await self._own.manifest(listed)
        if content is not None:
            return content
        reader = await self._open_elsewhere(image, listed, ManifestUnknown)
        try:
            return await self._read_verified(reader, listed)
        finally:
            reader.close()

    async def _read_verified(self, reader: IReader, listed: Listed) -> bytes:
        try:
            content = await read_part(self._workers, reader, 0, listed.size)
        except Unavailable as error:
            raise self._late_by(error) from None
        if digest_of(content, listed.digest.algorithm) != listed.digest:
            raise ManifestUnknown(f"what {self._source} has under this manifest's CID is not this manifest")
        return content

    @staticmethod
    def _late_by(error: Unavailable) -> NotInTime:
        return NotInTime(f"nobody on the IPFS network had it in time ({error})", error.retry_after)

    async def _open(self, image: _Image, listed: Listed) -> OpenBlob:
        blob = await self._own.blob(listed)
        if blob is not None:
            return blob
        reader = await self._open_elsewhere(image, listed, BlobUnknown)
        return OpenBlob(listed.digest, listed.size, VerifiedReader(reader, listed.digest, listed.size))

    async def _open_elsewhere(self, image: _Image, listed: Listed, unknown: type[RegistryError]) -> IReader:
        detail = {"digest": str(listed.digest)}
        paths = _places(image, listed)
        if not paths:
            raise unknown(
                "this registry does not have it, and its CID cannot be known: its descriptor has no ipfs:// URL "
                "(`ipfsreg publish` makes an image whose descriptors have them)",
                detail,
            )
        nobody = f"{self._nobody} has it"
        if self._withheld is not None and await self._withheld.digest(listed.digest):
            raise unknown(nobody, detail)
        late: NotInTime | None = None
        for path in paths:
            try:
                return await self._open_path(path, listed.size)
            except NotInTime as error:
                late = error
            except ManifestUnknown:
                continue
        raise late or unknown(nobody, detail)

    async def _open_path(self, path: str, size: int | None) -> IReader:
        if self._node is None:
            if self._index.complete:
                raise ManifestUnknown("no image here has this CID, and this registry has no IPFS node to ask")
            raise NotInTime("this registry does not know yet of all that it has; try again later")
        no_image = f"{self._nobody} has such an image"
        if self._withheld is not None and await self._withheld.cid(parse_cid(path.partition("/")[0])):
            raise ManifestUnknown(no_image)
        try:
            return await self._node.open_cid(path, size)
        except (NotFound, Refused):  # refused: a directory, for one
            raise ManifestUnknown(no_image) from None
        except Unavailable as error:
            raise self._late_by(error) from None

    async def _fetch(self, path: str, size: int | None) -> bytes:
        """A small file of which no digest is known: the node has compared it with its CID."""
        reader = await self._open_path(path, size)
        try:
            if reader.size is None or reader.size > self._max:
                raise ManifestUnknown(f"what this CID leads to is not a manifest of at most {self._max} bytes")
            return await read_part(self._workers, reader, 0, reader.size)
        except Unavailable as error:
            raise self._late_by(error) from None
        finally:
            reader.close()


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
