"""Small helpers for answers."""

from collections.abc import Mapping

from ipfsreg.registry.descriptor import encode_json

from .http.request import Request

CID_HEADER = "X-Ipfs-Cid"
"""The CID of the content, as `ipfs add` gives it with the profile unixfs-v1-2025. Left out where it is not known."""

IMMUTABLE = "max-age=31536000, immutable"
"""The caching header for what is addressed by its digest: it can never be anything else.

Without ``public``, so that a shared cache before a proxy that asks for passwords keeps nothing for others."""


def reply(request: Request, status: int, headers: Mapping[str, object], content: bytes = b"") -> bytes:
    """Set status and headers, without those that are None; answers the content, for the handler to return."""
    request.prepare(status, headers)
    return content


def reply_json(request: Request, status: int, document: object, headers: Mapping[str, object] | None = None) -> bytes:
    """As `reply`, with a document; ``headers`` may give it a media type of its own."""
    return reply(request, status, {"Content-Type": "application/json", **(headers or {})}, encode_json(document))


def parameter(request: Request, name: str) -> str | None:
    """The first value of a query parameter, or None."""
    values = request.args.get(name.encode())
    return values[0].decode("utf-8", "replace") if values else None


def parameters(request: Request, name: str) -> list[str]:
    """All values of a query parameter."""
    return [value.decode("utf-8", "replace") for value in request.args.get(name.encode(), [])]
