"""A manifest as the answer to a request."""

from ipfsreg.registry.content.dags import Dags
from ipfsreg.registry.repository.manifests import StoredManifest
from ipfsreg.web.content import Content, decide
from ipfsreg.web.http.request import Request
from ipfsreg.web.replies import CID_HEADER, IMMUTABLE


async def answer_manifest(request: Request, manifest: StoredManifest, dags: Dags, *, immutable: bool) -> bytes:
    """Answer with a manifest. ``immutable`` says that what was asked for can never be another one."""
    digest, size = str(manifest.digest), len(manifest.content)
    headers = {
        "Docker-Content-Digest": digest,
        CID_HEADER: await dags.cid_text(manifest.digest, size),
        # A tag can be moved: ask again each time, with If-None-Match.
        "Cache-Control": IMMUTABLE if immutable else "no-cache",
    }
    part = decide(request, Content(digest, size, manifest.media_type, headers, has_ranges=False))
    return b"" if part is None else manifest.content
