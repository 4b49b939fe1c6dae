"""A manifest as the answer to a request."""

from functools import lru_cache

from ipfsreg.registry.content.dags import Dags
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.repository.manifests import StoredManifest
from ipfsreg.web.content import Content, decide
from ipfsreg.web.http.request import Request
from ipfsreg.web.replies import CID_HEADER, IMMUTABLE

_REMEMBERED = 1024  # manifests whose headers are encoded, some KiB each


async def answer_manifest(request: Request, manifest: StoredManifest, dags: Dags, *, immutable: bool) -> bytes:
    """Answer with a manifest. ``immutable`` says that what was asked for can never be another one."""
    digest, size = manifest.digest, len(manifest.content)
    content = _content(digest, size, manifest.media_type, await dags.cid_text(digest, size), immutable=immutable)
    return b"" if decide(request, content) is None else manifest.content


@lru_cache(maxsize=_REMEMBERED)
def _content(digest: Digest, size: int, media_type: str, cid: str | None, *, immutable: bool) -> Content:
    headers = {
        "Docker-Content-Digest": digest,
        CID_HEADER: cid,
        # A tag can be moved: ask again each time, with If-None-Match.
        "Cache-Control": IMMUTABLE if immutable else "no-cache",
    }
    return Content(str(digest), size, media_type, headers, has_ranges=False)
