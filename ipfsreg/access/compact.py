"""The outer form of a signed JWT (RFC 7515, compact serialization), before anything in it is believed."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from pydantic_core import from_json

from .errors import BadCredentials

TOKEN_MAX = 16 * 1024
"""Characters of a token that is looked at; those of the large issuers have two thousand."""


def looks_like_token(text: str) -> bool:
    """Whether a password can be a JWT: its header is a JSON object."""
    return text.startswith("eyJ") and text.count(".") == 2


def unverified(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, of which nothing has been verified: only to choose the key by.

    Texts that Python's decoder would take for the same bytes are refused, so one token has one form.

    :raises BadCredentials: where it is not one.
    """
    if len(token) > TOKEN_MAX or not token.isascii() or token.count(".") != 2:
        raise BadCredentials("not a token of three parts")
    header, claims, _ = map(_decoded, token.split("."))
    return _object(header), _object(claims)


def _decoded(part: str) -> bytes:
    try:
        found = urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (binascii.Error, ValueError):
        raise BadCredentials("a token's part is not base64url") from None
    if urlsafe_b64encode(found).rstrip(b"=") != part.encode():
        raise BadCredentials("a token's part is not base64url as it is written")
    return found


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = from_json(content)  # a parser in Rust, which does not recurse without end
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise BadCredentials("a token's part is not a JSON object")
    return found
