"""Publishing an image: its IPFS-enabled view is stored beside it, and has a CID that says all.

All of it are ordinary manifests and blobs of the repository, none of them tagged. An index that refers to the image
as its subject lists them, so the collector keeps them for as long as the image is there, and no longer.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ipfsreg.bucket.errors import NotFound
from ipfsreg.bucket.interface import IBucket
from ipfsreg.flow.workers import Workers
from ipfsreg.ipfs.cid import CID, parse_cid
from ipfsreg.registry import layout
from ipfsreg.registry.content.dags import block_cid_text
from ipfsreg.registry.digest import Digest, digest_of
from ipfsreg.registry.errors import BlobUnknown, Denied, ManifestInvalid, ManifestUnknown
from ipfsreg.registry.names import Repository, Tag
from ipfsreg.registry.repository.blobs import Blobs
from ipfsreg.registry.repository.manifest import INDEXES, MEDIA_TYPES, OCI_IMAGE, OCI_INDEX, parse_manifest
from ipfsreg.registry.repository.manifests import Manifests, StoredManifest

from .images_by_cid import check_not_cid
from .ipfs_view import (
    EMPTY_CONTENT,
    View,
    encode,
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
    """Makes views, unless the repository is ``hidden``.

    ``on_node`` says that the bucket's own CIDs are those under which the network has the content.
    """

    def __init__(
        self,
        bucket: IBucket,
        manifests: Manifests,
        blobs: Blobs,
        workers: Workers,
        *,
        on_node: bool,
        hidden: Callable[[Repository], bool],
    ) -> None:
        self._bucket = bucket
        self._manifests = manifests
        self._blobs = blobs
        self._workers = workers
        self._on_node = on_node
        self.hidden = hidden
        """Whether a repository's content is not to be had by CID."""

    async def publish(self, repository: Repository, reference: Tag | Digest) -> Published:
        """Publish an image. Doing so again gives the same CID.

        :raises ManifestUnknown: where the repository does not have it.
        :raises Denied: where it is not to be had by CID.
        :raises NameInvalid: where the name is a CID.
        :raises BlobUnknown: where one of its blobs is lost.
        """
        if self.hidden(repository):
            raise Denied(f"{repository} is not to be had by CID ([gateway] private, or an encrypted bucket)")
        check_not_cid(repository)
        image = await self._manifests.get(repository, reference)
        missing: list[Digest] = []
        view = await self._view(repository, image, missing, 0)
        descriptor = encode(view.descriptor)
        cid = block_cid_text(digest_of(descriptor))
        for content in (descriptor, EMPTY_CONTENT):
            await self._blobs.add(repository, digest_of(content), content)
        keeper = keeper_of(descriptor)
        await self._manifests.put(repository, keeper, OCI_IMAGE, None, ())
        subject = {"mediaType": image.media_type, "digest": str(image.digest), "size": len(image.content)}
        index = publication(subject, view, keeper, cid)
        await self._manifests.put(repository, index, OCI_INDEX, None, ())
        return Published(cid, view.digest, tuple(missing))

    async def _view(self, repository: Repository, manifest: StoredManifest, missing: list[Digest], depth: int) -> View:
        if manifest.media_type not in MEDIA_TYPES or depth > _DEPTH_MAX:
            raise ManifestInvalid(f"{manifest.digest} is not something that can be published")
        media_type, content = manifest.media_type, manifest.content
        if manifest.media_type in INDEXES:
            content = await self._index_view(repository, manifest, missing, depth)
        elif not await self._workers.run(is_ipfs_enabled, content):
            cids = await self._cids(repository, manifest)
            content = await self._workers.run(view_of_manifest, content, media_type, cids)
        digest = manifest.digest
        if content != manifest.content:
            media_type = oci_type(media_type)
            digest = (await self._manifests.put(repository, content, media_type, None, ())).digest
        cid = await self._manifests.cid(StoredManifest(digest, media_type, content))
        return View(media_type, digest, len(content), await self._network_cid(digest, cid))

    async def _index_view(
        self, repository: Repository, index: StoredManifest, missing: list[Digest], depth: int
    ) -> bytes:
        views: dict[str, View] = {}
        listed = (await self._workers.run(parse_manifest, index.content, index.media_type)).manifests
        for digest in listed:
            try:
                manifest = await self._manifests.get(repository, digest)
            except ManifestUnknown:
                missing.append(digest)
                continue
            views[str(digest)] = await self._view(repository, manifest, missing, depth + 1)
        if listed and not views:
            raise ManifestUnknown("the repository has none of the manifests that this index lists")
        changed = len(views) != len(set(listed)) or any(str(view.digest) != digest for digest, view in views.items())
        if not changed and await self._workers.run(is_ipfs_enabled, index.content):
            return index.content
        return await self._workers.run(view_of_index, index.content, index.media_type, views)

    async def _cids(self, repository: Repository, manifest: StoredManifest) -> dict[str, str]:
        parsed = await self._workers.run(parse_manifest, manifest.content, manifest.media_type)
        cids = {}
        for digest, _ in parsed.blobs:
            cids[str(digest)] = await self._blob_cid(repository, digest)
        for digest in parsed.foreign:
            try:
                cids[str(digest)] = await self._blob_cid(repository, digest)
            except BlobUnknown:
                continue  # it says itself where to get it
        return cids

    async def _blob_cid(self, repository: Repository, digest: Digest) -> str:
        return await self._network_cid(digest, await self._blobs.cid(repository, digest))

    async def _network_cid(self, digest: Digest, computed: str) -> str:
        """The CID under which the network has a content: a node may have been told to cut files differently."""
        if not self._on_node:
            return computed
        try:
            stored = (await self._bucket.stat(layout.blob(digest))).cid
        except NotFound:
            return computed
        if stored is None:
            return computed
        cid = parse_cid(stored)
        return str(CID(1, cid.codec, cid.hash_code, cid.hash))  # nerdctl reads no others
