"""``/v2/<name>/blobs/<digest>``."""

from ipfsreg.access.identity import Action
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.events.event import BLOB, EventAction, Target
from ipfsreg.registry.names import Repository
from ipfsreg.registry.repository.blobs import Blobs
from ipfsreg.web.http.request import Request
from ipfsreg.web.replies import reply
from ipfsreg.web.routes import Routes
from ipfsreg.web.teller import Teller

from .answers import BlobAnswers


class BlobRoutes:
    """Reading and deleting blobs (distribution-spec, "Pulling blobs", "Deleting Blobs")."""

    def __init__(self, blobs: Blobs, answers: BlobAnswers, teller: Teller) -> None:
        self._teller = teller
        self._blobs = blobs
        self._answers = answers

    def add_to(self, routes: Routes) -> None:
        """Add the routes."""
        path = "/v2/<repository:repository>/blobs/<digest:digest>"
        routes.add(path, ["GET", "HEAD"], "blob-get", self.get_or_head, Action.PULL)
        routes.add(path, ["DELETE"], "blob-delete", self.delete, Action.DELETE)

    async def get_or_head(self, request: Request, repository: Repository, digest: Digest) -> bytes:
        """One route for both, since werkzeug lets a route for GET answer HEAD as well."""
        if request.method == b"HEAD":
            return await self.head(request, repository, digest)
        return await self.get(request, repository, digest)

    async def head(self, request: Request, repository: Repository, digest: Digest) -> bytes:
        """Whether the blob is there, and how long it is."""
        return await self._answers.head(request, digest, await self._blobs.size(repository, digest))

    async def get(self, request: Request, repository: Repository, digest: Digest) -> bytes:
        """The blob's content or a range of it."""
        blob = await self._blobs.open(repository, digest)
        self._teller.blob_pulled(request, repository, digest, blob.size)
        return await self._answers.answer(request, blob)

    async def delete(self, request: Request, repository: Repository, digest: Digest) -> bytes:
        """Take the blob from the repository."""
        await self._blobs.delete(repository, digest)
        await self._teller.changed(request, EventAction.DELETE, Target(repository, digest, media_type=BLOB))
        return reply(request, 202, {"Docker-Content-Digest": digest})
