"""A blob as the answer to a request."""

from ipfsreg.flow.workers import Workers
from ipfsreg.registry.content.dags import Dags
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.repository.blobs import OpenBlob
from ipfsreg.web.content import Content, decide
from ipfsreg.web.http.request import Request
from ipfsreg.web.replies import CID_HEADER, IMMUTABLE
from ipfsreg.web.sending import send

OCTETS = "application/octet-stream"


class BlobAnswers:
    """Answers with blobs."""

    def __init__(self, dags: Dags, workers: Workers) -> None:
        self._dags = dags
        self._workers = workers

    async def answer(self, request: Request, blob: OpenBlob) -> bytes:
        """Answer GET or HEAD with an open blob, or ranges of it, and close it."""
        try:
            parts = decide(request, await self._content(blob.digest, blob.size))
            if parts is not None:
                await send(request, self._workers, blob.reader, parts)
            return b""
        finally:
            blob.reader.close()

    async def head(self, request: Request, digest: Digest, size: int) -> bytes:
        """Answer HEAD where no more than the length is known."""
        decide(request, await self._content(digest, size))
        return b""

    async def _content(self, digest: Digest, size: int) -> Content:
        text = str(digest)
        headers = {
            "Docker-Content-Digest": text,
            CID_HEADER: await self._dags.cid_text(digest, size),
            "Cache-Control": IMMUTABLE,
        }
        return Content(text, size, OCTETS, headers)
