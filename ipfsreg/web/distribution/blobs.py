"""``/v2/<name>/blobs/<digest>``."""

from ipfsreg.registry.digest import Digest
from ipfsreg.registry.names import Repository
from ipfsreg.registry.repository.blobs import Blobs
from ipfsreg.web.http.request import Request
from ipfsreg.web.replies import reply
from ipfsreg.web.routes import Routes

from .answers import BlobAnswers


class BlobRoutes:
    """Reading and deleting blobs (distribution-spec, "Pulling blobs", "Deleting Blobs")."""

    def __init__(self, blobs: Blobs, answers: BlobAnswers) -> None:
        self._blobs = blobs
        self._answers = answers

    def add_to(self, routes: Routes) -> None:
        """Add the routes."""
        path = "/v2/<repository:repository>/blobs/<digest:digest>"
        routes.add(path, ["GET", "HEAD"], "blob-get", self.get_or_head)
        routes.add(path, ["DELETE"], "blob-delete", self.delete)

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
        return await self._answers.answer(request, await self._blobs.open(repository, digest))

    async def delete(self, request: Request, repository: Repository, digest: Digest) -> bytes:
        """Take the blob from the repository."""
        await self._blobs.delete(repository, digest)
        return reply(request, 202, {"Docker-Content-Digest": digest})
