"""``/v2/ipfs/<CID>/…``: images by CID as a repository that can only be read."""

from ipfsreg.access.identity import Action
from ipfsreg.ipfs.cid import CID
from ipfsreg.registry.content.dags import Dags
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.errors import ReadOnly
from ipfsreg.registry.ipfs.image_reader import LATEST, ImagesByCid
from ipfsreg.registry.names import Tag
from ipfsreg.web.gate import Gate
from ipfsreg.web.http.request import Request
from ipfsreg.web.replies import reply_json
from ipfsreg.web.routes import Routes
from ipfsreg.web.teller import Teller

from .answers import BlobAnswers, answer_manifest

_READ = ["GET", "HEAD"]
_WRITE = ["DELETE", "PATCH", "POST", "PUT"]


class ByCidRoutes:
    """``docker pull HOST/ipfs/<CID>``."""

    def __init__(self, images: ImagesByCid, dags: Dags, blobs: BlobAnswers, gate: Gate, teller: Teller) -> None:
        self._images = images
        self._dags = dags
        self._blobs = blobs
        self._gate = gate
        self._teller = teller

    def add_to(self, routes: Routes) -> None:
        """Add the routes."""
        image = "/v2/ipfs/<cid:cid>"
        routes.add(f"{image}/manifests/<reference:reference>", _READ, "cid-manifest", self.manifest, Action.PULL)
        routes.add(f"{image}/blobs/<digest:digest>", _READ, "cid-blob", self.blob, Action.PULL)
        routes.add(f"{image}/tags/list", _READ, "cid-tags", self.tags, Action.PULL)
        for name, path in (
            ("manifest", "manifests/<rest>"),
            ("blob", "blobs/<rest>"),
            ("uploads", "blobs/uploads/"),
            ("upload", "blobs/uploads/<rest>"),
        ):
            routes.add(f"{image}/{path}", _WRITE, f"cid-{name}-change", self.refuse, Action.PUSH)

    async def manifest(self, request: Request, cid: CID, reference: Tag | Digest) -> bytes:
        """The image's manifest, or one that it lists."""
        manifest = await self._seen(request).manifest(cid, reference)
        self._teller.manifest_pulled(request, f"ipfs/{cid}", reference, manifest)
        # The name says what it is: it is never anything else.
        return await answer_manifest(request, manifest, self._dags, immutable=True)

    async def blob(self, request: Request, cid: CID, digest: Digest) -> bytes:
        """A blob of the image."""
        blob = await self._seen(request).blob(cid, digest)
        if request.method == b"GET":
            self._teller.blob_pulled(request, f"ipfs/{cid}", digest, blob.size)
        return await self._blobs.answer(request, blob)

    async def tags(self, request: Request, cid: CID) -> bytes:
        """The one tag that there is."""
        await self._seen(request).manifest(cid, LATEST)
        return reply_json(request, 200, {"name": f"ipfs/{cid}", "tags": [LATEST]})

    def _seen(self, request: Request) -> ImagesByCid:
        return self._images if self._gate.is_open else self._images.seen_by(self._gate.pulls(request))

    async def refuse(self, request: Request, cid: CID, rest: str = "") -> bytes:
        """Nothing here can be changed."""
        raise ReadOnly(f"ipfs/{cid} is an image by its CID, which can only be pulled; push under another name")
