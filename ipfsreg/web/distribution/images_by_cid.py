"""``/v2/ipfs/<CID>/…``: images by CID as a repository that can only be read."""

import json

from ipfsreg.ipfs.cid import CID
from ipfsreg.registry.content.dags import Dags
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.errors import ReadOnly
from ipfsreg.registry.ipfs.image_reader import LATEST, ImagesByCid
from ipfsreg.registry.names import Tag
from ipfsreg.web.http.request import Request
from ipfsreg.web.replies import reply
from ipfsreg.web.routes import Routes

from .answers import BlobAnswers, answer_manifest

_READ = ["GET", "HEAD"]
_WRITE = ["DELETE", "PATCH", "POST", "PUT"]


class ByCidRoutes:
    """``docker pull HOST/ipfs/<CID>``."""

    def __init__(self, images: ImagesByCid, dags: Dags, blobs: BlobAnswers) -> None:
        self._images = images
        self._dags = dags
        self._blobs = blobs

    def add_to(self, routes: Routes) -> None:
        """Add the routes."""
        image = "/v2/ipfs/<cid:cid>"
        routes.add(f"{image}/manifests/<reference:reference>", _READ, "cid-manifest", self.manifest)
        routes.add(f"{image}/blobs/<digest:digest>", _READ, "cid-blob", self.blob)
        routes.add(f"{image}/tags/list", _READ, "cid-tags", self.tags)
        for name, path in (
            ("manifest", "manifests/<rest>"),
            ("blob", "blobs/<rest>"),
            ("uploads", "blobs/uploads/"),
            ("upload", "blobs/uploads/<rest>"),
        ):
            routes.add(f"{image}/{path}", _WRITE, f"cid-{name}-change", self.refuse)

    async def manifest(self, request: Request, cid: CID, reference: Tag | Digest) -> bytes:
        """The image's manifest, or one that it lists."""
        manifest = await self._images.manifest(cid, reference)
        # The name says what it is: it is never anything else.
        return await answer_manifest(request, manifest, self._dags, immutable=True)

    async def blob(self, request: Request, cid: CID, digest: Digest) -> bytes:
        """A blob of the image."""
        return await self._blobs.answer(request, await self._images.blob(cid, digest))

    async def tags(self, request: Request, cid: CID) -> bytes:
        """The one tag that there is."""
        await self._images.manifest(cid, LATEST)
        content = json.dumps({"name": f"ipfs/{cid}", "tags": [LATEST]}).encode()
        return reply(request, 200, {"Content-Type": "application/json"}, content)

    async def refuse(self, request: Request, cid: CID, rest: str = "") -> bytes:
        """Nothing here can be changed."""
        raise ReadOnly(f"ipfs/{cid} is an image by its CID, which can only be pulled; push under another name")
