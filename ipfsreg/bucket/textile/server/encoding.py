"""Textile's way to write bytes as text: multibase, base32 of its own."""

from base64 import b32encode

import multibase


def to_base32(data: bytes) -> str:
    """Multibase base32: ``b``, then lower-case letters and digits without padding."""
    return "b" + b32encode(data).decode("ascii").rstrip("=").lower()


def decode_multibase(text: str) -> bytes:
    """Decode a multibase string of any base, as the servers do.

    :raises ValueError: where it is none, or empty. The text of the exception quotes nothing of it.
    """
    try:
        data = bytes(multibase.decode(text))
    except Exception:
        # The library lets through whatever its codecs raise, and those quote what they were given.
        raise ValueError("not a multibase string") from None
    if not data:
        raise ValueError("a multibase string of nothing")
    return data
