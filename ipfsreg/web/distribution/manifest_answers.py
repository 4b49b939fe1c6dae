"""A manifest as the answer to a request."""

from ipfsreg.registry.content.dags import Dags
from ipfsreg.registry.repository.manifests import StoredManifest
from ipfsreg.web.conditions import not_modified
from ipfsreg.web.replies import CID_HEADER, IMMUTABLE, etag, reply
from ipfsreg.web.request import StreamingRequest


async def answer_manifest(request: StreamingRequest, manifest: StoredManifest, dags: Dags, *, immutable: bool) -> bytes:
    """Answer with a manifest. ``immutable`` says that what was asked for can never be another one."""
    headers = {
        "Docker-Content-Digest": manifest.digest,
        CID_HEADER: await dags.cid_text(manifest.digest, len(manifest.content)),
        "ETag": etag(manifest.digest),
        # A tag can be moved: ask again each time, with If-None-Match.
        "Cache-Control": IMMUTABLE if immutable else "no-cache",
    }
    if not_modified(request, manifest.digest):
        return reply(request, 304, headers)
    return reply(request, 200, {**headers, "Content-Type": manifest.media_type}, manifest.content)
