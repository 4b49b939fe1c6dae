"""Blobs and manifests as the answers to requests."""

from contextlib import closing
from functools import lru_cache

from ipfsreg.flow.workers import Workers
from ipfsreg.registry.content.dags import Dags
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.repository.blobs import OpenBlob
from ipfsreg.registry.repository.manifests import StoredManifest
from ipfsreg.web.content import Representation, decide
from ipfsreg.web.http.request import Request
from ipfsreg.web.replies import CID_HEADER, IMMUTABLE
from ipfsreg.web.sending import send

OCTETS = "application/octet-stream"

_MANIFESTS_ENCODED = 1024  # manifests whose headers are encoded, some KiB each


class BlobAnswers:
    """Answers with blobs."""

    def __init__(self, dags: Dags, workers: Workers) -> None:
        self._dags = dags
        self._workers = workers

    async def answer(self, request: Request, blob: OpenBlob) -> bytes:
        """Answer GET or HEAD with an open blob, or ranges of it, and close it."""
        with closing(blob.reader):
            parts = decide(request, await self._representation(blob.digest, blob.size))
            if parts is not None:
                await send(request, self._workers, blob.reader, parts)
        return b""

    async def head(self, request: Request, digest: Digest, size: int) -> bytes:
        """Answer HEAD where no more than the length is known."""
        decide(request, await self._representation(digest, size))
        return b""

    async def _representation(self, digest: Digest, size: int) -> Representation:
        text = str(digest)
        headers = {
            "Docker-Content-Digest": text,
            CID_HEADER: await self._dags.cid_text(digest, size),
            "Cache-Control": IMMUTABLE,
        }
        return Representation(text, size, OCTETS, headers)


async def answer_manifest(request: Request, manifest: StoredManifest, dags: Dags, *, immutable: bool) -> bytes:
    """Answer with a manifest. ``immutable`` says that what was asked for can never be another one."""
    digest, size = manifest.digest, len(manifest.content)
    content = _representation(digest, size, manifest.media_type, await dags.cid_text(digest, size), immutable=immutable)
    return b"" if decide(request, content) is None else manifest.content


@lru_cache(maxsize=_MANIFESTS_ENCODED)
def _representation(digest: Digest, size: int, media_type: str, cid: str | None, *, immutable: bool) -> Representation:
    headers = {
        "Docker-Content-Digest": digest,
        CID_HEADER: cid,
        # A tag can be moved: ask again each time, with If-None-Match.
        "Cache-Control": IMMUTABLE if immutable else "no-cache",
    }
    return Representation(str(digest), size, media_type, headers, has_ranges=False)
