"""``/v2/<name>/blobs/<digest>``."""

from klein import Klein

from ..registry.blobs import Blobs
from ..registry.dags import Dags
from ..registry.digest import Digest
from ..registry.names import Repository
from .conditions import not_modified, requested_range
from .replies import CID_HEADER, IMMUTABLE, etag, reply
from .request import StreamingRequest
from .routes import add_route
from .sending import Sending

OCTETS = "application/octet-stream"


class BlobRoutes:
    """Reading and deleting blobs (distribution-spec, "Pulling blobs", "Deleting Blobs")."""

    def __init__(self, blobs: Blobs, dags: Dags, sending: Sending) -> None:
        self._blobs = blobs
        self._dags = dags
        self._sending = sending

    def add_to(self, app: Klein) -> None:
        """Add the routes."""
        path = "/v2/<repository:repository>/blobs/<digest:digest>"
        add_route(app, path, ["GET", "HEAD"], "blob-get", self.get_or_head)
        add_route(app, path, ["DELETE"], "blob-delete", self.delete)

    async def get_or_head(self, request: StreamingRequest, repository: Repository, digest: Digest) -> bytes | None:
        """One route for both, since werkzeug lets a route for GET answer HEAD as well."""
        if request.method == b"HEAD":
            return await self.head(request, repository, digest)
        return await self.get(request, repository, digest)

    async def head(self, request: StreamingRequest, repository: Repository, digest: Digest) -> bytes:
        """Whether the blob is there, and how long it is."""
        size = await self._blobs.size(repository, digest)
        if not_modified(request, digest):
            return reply(request, 304, await self._validators(digest, size))
        reply(request, 200, {**await self._validators(digest, size), "Content-Type": OCTETS})
        request.setHeader(b"Content-Length", b"%d" % size)
        return b""

    async def get(self, request: StreamingRequest, repository: Repository, digest: Digest) -> bytes | None:
        """The blob's content or a range of it."""
        blob = await self._blobs.open(repository, digest)
        try:
            if not_modified(request, digest):
                return reply(request, 304, await self._validators(digest, blob.size))
            wanted = requested_range(request, digest, blob.size)
            first, end = wanted or (0, blob.size)
            headers = {**await self._validators(digest, blob.size), "Content-Type": OCTETS}
            if wanted is not None:
                headers["Content-Range"] = f"bytes {first}-{end - 1}/{blob.size}"
            reply(request, 200 if wanted is None else 206, headers)
            request.setHeader(b"Content-Length", b"%d" % (end - first))
            if end > first:
                await self._sending.send(request, blob.reader, first, end - first)
            return None
        finally:
            blob.reader.close()

    async def delete(self, request: StreamingRequest, repository: Repository, digest: Digest) -> bytes:
        """Take the blob from the repository."""
        await self._blobs.delete(repository, digest)
        return reply(request, 202, {"Docker-Content-Digest": digest})

    async def _validators(self, digest: Digest, size: int) -> dict[str, object]:
        return {
            "Docker-Content-Digest": digest,
            CID_HEADER: await self._dags.cid_text(digest, size),
            "ETag": etag(digest),
            "Cache-Control": IMMUTABLE,
            "Accept-Ranges": "bytes",
        }
