"""Publishing an image: its IPFS-enabled view is stored beside it, and has a CID that says all.

A view is made of ordinary manifests and blobs of the repository, without a tag. An index that refers to the image
as its subject lists them, so the collector keeps them for as long as the image is there, and no longer.
"""

from dataclasses import dataclass

from ipfsreg.bucket.errors import NotFound
from ipfsreg.ipfs.cid import CID, parse_cid
from ipfsreg.registry import layout
from ipfsreg.registry.content.block_cid import block_cid_text
from ipfsreg.registry.content.storage import Storage
from ipfsreg.registry.descriptor import Descriptor, encode_json
from ipfsreg.registry.digest import Digest, digest_of
from ipfsreg.registry.errors import BlobUnknown, Denied, ManifestInvalid, ManifestUnknown
from ipfsreg.registry.manifest import INDEXES, MEDIA_TYPES, OCI_IMAGE, OCI_INDEX, Manifest
from ipfsreg.registry.names import Repository, Tag
from ipfsreg.registry.repository.blobs import Blobs
from ipfsreg.registry.repository.manifests import Manifests, StoredManifest
from ipfsreg.registry.visibility import Visibility

from .image_names import check_not_cid
from .image_tree import SCHEME
from .ipfs_view import (
    EMPTY_CONTENT,
    is_ipfs_enabled,
    keeper_of,
    oci_type,
    publication,
    view_of_index,
    view_of_manifest,
)

_DEPTH_MAX = 8  # of indexes in indexes


@dataclass(frozen=True, slots=True)
class Published:
    """``cid`` is what `nerdctl pull ipfs://CID` takes, ``view`` the digest of the view's manifest.

    ``missing`` are the manifests of other platforms that the repository does not have: the view is without them.
    """

    cid: str
    view: Digest
    missing: tuple[Digest, ...]


class Publisher:
    """Makes views of what ``visibility`` shows.

    ``on_node`` says that the bucket's own CIDs are those under which the network has the content.
    """

    def __init__(
        self, storage: Storage, manifests: Manifests, blobs: Blobs, visibility: Visibility, *, on_node: bool
    ) -> None:
        self._storage = storage
        self._manifests = manifests
        self._blobs = blobs
        self._visibility = visibility
        self._on_node = on_node

    async def publish(self, repository: Repository, reference: Tag | Digest) -> Published:
        """Publish an image. Doing so again gives the same CID.

        :raises ManifestUnknown: where the repository does not have it.
        :raises Denied: where it is not to be had by CID.
        :raises NameInvalid: where the name is a CID.
        :raises BlobUnknown: where one of its blobs is lost.
        """
        if self._visibility.hides(repository):
            raise Denied(f"{repository} is not to be had by CID ([gateway] private, or an encrypted bucket)")
        check_not_cid(repository)
        image = await self._manifests.get(repository, reference)
        missing: list[Digest] = []
        view = await self._view(repository, image, missing, 0)
        descriptor = encode_json(view.document)
        cid = block_cid_text(digest_of(descriptor))
        for content in (descriptor, EMPTY_CONTENT):
            await self._blobs.add(repository, digest_of(content), content)
        keeper = keeper_of(descriptor)
        await self._manifests.put(repository, keeper, OCI_IMAGE, None, ())
        subject = Descriptor(image.media_type, image.digest, len(image.content))
        index = publication(subject, view, keeper, cid)
        await self._manifests.put(repository, index, OCI_INDEX, None, ())
        return Published(cid, view.digest, tuple(missing))

    async def _view(
        self, repository: Repository, manifest: StoredManifest, missing: list[Digest], depth: int
    ) -> Descriptor:
        if manifest.media_type not in MEDIA_TYPES or depth > _DEPTH_MAX:
            raise ManifestInvalid(f"{manifest.digest} is not something that can be published")
        run = self._storage.parser.run
        media_type, content = manifest.media_type, manifest.content
        parsed = await self._manifests.parsed(manifest)
        enabled = await run(len(content), is_ipfs_enabled, content, media_type)
        if manifest.media_type in INDEXES:
            views = await self._views(repository, parsed, missing, depth)
            if not enabled or [view.digest for view in views.values()] != list(dict.fromkeys(parsed.manifests)):
                content = await run(len(content), view_of_index, content, media_type, views)
        elif not enabled:
            cids = await self._cids(repository, parsed)
            content = await run(len(content), view_of_manifest, content, media_type, cids)
        digest = manifest.digest
        if content != manifest.content:
            media_type = oci_type(media_type)
            digest = (await self._manifests.put(repository, content, media_type, None, ())).digest
        cid = await self._manifests.cid(StoredManifest(digest, media_type, content))
        return Descriptor(media_type, digest, len(content), [SCHEME + await self._network_cid(digest, cid)])

    async def _views(
        self, repository: Repository, index: Manifest, missing: list[Digest], depth: int
    ) -> dict[str, Descriptor]:
        """The views of what an index lists, by the digests of the originals."""
        views: dict[str, Descriptor] = {}
        for digest in index.manifests:
            try:
                manifest = await self._manifests.get(repository, digest)
            except ManifestUnknown:
                missing.append(digest)
                continue
            views[str(digest)] = await self._view(repository, manifest, missing, depth + 1)
        if index.manifests and not views:
            raise ManifestUnknown("the repository has none of the manifests that this index lists")
        return views

    async def _cids(self, repository: Repository, manifest: Manifest) -> dict[str, str]:
        cids = {}
        for digest, _ in manifest.blobs:
            cids[str(digest)] = await self._blob_cid(repository, digest)
        for digest in manifest.foreign:
            try:
                cids[str(digest)] = await self._blob_cid(repository, digest)
            except BlobUnknown:
                continue  # its descriptor says where else to get it
        return cids

    async def _blob_cid(self, repository: Repository, digest: Digest) -> str:
        return await self._network_cid(digest, await self._blobs.cid(repository, digest))

    async def _network_cid(self, digest: Digest, computed: str) -> str:
        """The CID under which the network has a content: a node may have been told to cut files differently."""
        if not self._on_node:
            return computed
        try:
            stored = (await self._storage.bucket.stat(layout.blob(digest))).cid
        except NotFound:
            return computed
        if stored is None:
            return computed
        cid = parse_cid(stored)
        return str(CID(1, cid.codec, cid.hash_code, cid.hash))  # nerdctl reads no others
