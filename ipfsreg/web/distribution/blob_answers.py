"""A blob as the answer to a request."""

from ipfsreg.registry.content.dags import Dags
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.repository.blobs import OpenBlob
from ipfsreg.web.conditions import not_modified, requested_range
from ipfsreg.web.replies import CID_HEADER, IMMUTABLE, etag, reply
from ipfsreg.web.request import StreamingRequest
from ipfsreg.web.sending import Sending

OCTETS = "application/octet-stream"


class BlobAnswers:
    """Answers with blobs."""

    def __init__(self, dags: Dags, sending: Sending) -> None:
        self._dags = dags
        self._sending = sending

    async def answer(self, request: StreamingRequest, blob: OpenBlob) -> bytes | None:
        """Answer GET or HEAD with an open blob, or a range of it, and close it."""
        try:
            if request.method == b"HEAD" or not_modified(request, blob.digest):
                return await self.head(request, blob.digest, blob.size)
            wanted = requested_range(request, blob.digest, blob.size)
            first, end = wanted or (0, blob.size)
            headers = {**await self._validators(blob.digest, blob.size), "Content-Type": OCTETS}
            if wanted is not None:
                headers["Content-Range"] = f"bytes {first}-{end - 1}/{blob.size}"
            reply(request, 200 if wanted is None else 206, headers)
            request.setHeader(b"Content-Length", b"%d" % (end - first))
            try:
                if end > first:
                    await self._sending.send(request, blob.reader, first, end - first)
            finally:
                if not request.startedWriting and end > first:  # an error is the answer: none of this is about it
                    for name in headers:
                        request.responseHeaders.removeHeader(name.encode("ascii"))
            return None
        finally:
            blob.reader.close()

    async def head(self, request: StreamingRequest, digest: Digest, size: int) -> bytes:
        """Answer without the content, of which no more than the length is known."""
        if not_modified(request, digest):
            return reply(request, 304, await self._validators(digest, size))
        reply(request, 200, {**await self._validators(digest, size), "Content-Type": OCTETS})
        request.setHeader(b"Content-Length", b"%d" % size)
        return b""

    async def _validators(self, digest: Digest, size: int) -> dict[str, object]:
        return {
            "Docker-Content-Digest": digest,
            CID_HEADER: await self._dags.cid_text(digest, size),
            "ETag": etag(digest),
            "Cache-Control": IMMUTABLE,
            "Accept-Ranges": "bytes",
        }
