"""Small helpers for answers."""

from typing import Any

from ipfsreg.registry.digest import Digest

from .request import StreamingRequest


def reply(request: StreamingRequest, status: int, headers: dict[str, Any], content: bytes = b"") -> bytes:
    """Set status and headers (None values are left out) and the length; what it returns is for Klein to write."""
    request.setResponseCode(status)
    for name, value in headers.items():
        if value is not None:
            request.setHeader(name.encode(), str(value).encode())
    if status not in {204, 304}:  # a 304's would be the length of what is not sent (RFC 9110, 8.6)
        request.setHeader(b"Content-Length", b"%d" % len(content))
    return content


def parameter(request: StreamingRequest, name: str) -> str | None:
    """The first value of a query parameter, or None."""
    values = request.args.get(name.encode())
    return values[0].decode("utf-8", "replace") if values else None


def parameters(request: StreamingRequest, name: str) -> list[str]:
    """All values of a query parameter."""
    return [value.decode("utf-8", "replace") for value in request.args.get(name.encode(), [])]


def header(request: StreamingRequest, name: str) -> str | None:
    """The first value of a request header, or None."""
    value = request.getHeader(name)
    return value if value is None or isinstance(value, str) else value.decode("latin-1")


CID_HEADER = "X-Ipfs-Cid"
"""The CID of the content, as `ipfs add` gives it with the profile unixfs-v1-2025. Left out where it is not known."""

IMMUTABLE = "max-age=31536000, immutable"
"""The caching header for what is addressed by its digest: it can never be anything else.

Without ``public``, so that a shared cache before a proxy that asks for passwords keeps nothing for others."""


def etag(digest: Digest) -> str:
    """The strong entity tag of content with that digest."""
    return f'"{digest}"'
