"""Identities, tokens and ids of threads, as strings and bytes.

See docs/protocols/textile.md, "Identities and tokens" and "Threads".
"""

import base64
import json
import secrets
from functools import lru_cache

import multibase
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

_PUBLIC_PREFIX = b"\x08\x01\x12\x20"


def to_base32(data: bytes) -> str:
    """Multibase base32: ``b``, then lower-case letters without padding."""
    return "b" + base64.b32encode(data).decode().lower().rstrip("=")


def public_key_string(key: VerifyKey) -> str:
    """The string by which Textile names an identity."""
    return to_base32(_PUBLIC_PREFIX + bytes(key))


def parse_public_key(text: str) -> VerifyKey:
    """Read a public key string.

    :raises ValueError: for anything but an Ed25519 key in any multibase.
    """
    data = decode_multibase(text)
    if not data.startswith(_PUBLIC_PREFIX) or len(data) != len(_PUBLIC_PREFIX) + 32:
        raise ValueError("not an Ed25519 public key")
    return VerifyKey(data[len(_PUBLIC_PREFIX) :])


@lru_cache(10_000)
def decode_multibase(text: str) -> bytes:
    """Decode a multibase string.

    :raises ValueError: where it is none.
    """
    try:
        return bytes(multibase.decode(text))
    except Exception as error:  # the library raises whatever its codecs do
        raise ValueError(f"not multibase: {error}") from None


def new_thread_id() -> bytes:
    """A random thread id."""
    return b"\x01\x55" + secrets.token_bytes(32)


def check_thread_id(data: bytes) -> None:
    """Refuse what is no thread id: version 1, variant raw or access-controlled, at least one byte more.

    :raises ValueError: with Go's kind of text.
    """
    if len(data) < 3:
        raise ValueError("thread id too short")
    if data[0] != 1:
        raise ValueError(f"expected 1 as the id version number, got: {data[0]}")
    if data[1] not in (0x55, 0x70):
        raise ValueError(f"unknown variant: {data[1]}")


def parse_thread_id(text: str) -> bytes | None:
    """The thread id in a header, or None where it is none: a server drops those silently."""
    try:
        data = decode_multibase(text)
        check_thread_id(data)
    except ValueError:
        return None
    return data


def _encode_part(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def _decode_part(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def issue_token(server: SigningKey, subject: str, issued_at: int) -> str:
    """A JWT with the non-standard algorithm name ``Ed25519`` and no expiry."""
    header = {"alg": "Ed25519", "typ": "JWT"}
    claims = {"iat": issued_at, "iss": public_key_string(server.verify_key), "sub": subject}
    parts = [_encode_part(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims)]
    signed = ".".join(parts).encode()
    return f"{signed.decode()}.{_encode_part(server.sign(signed).signature)}"


def token_subject(server: SigningKey, token: str) -> str:
    """Whose token it is.

    :raises ValueError: where it is none, or another server's.
    """
    signed, _, signature = token.rpartition(".")
    try:
        server.verify_key.verify(signed.encode(), _decode_part(signature))
        subject = json.loads(_decode_part(signed.partition(".")[2]))["sub"]
    except (BadSignatureError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"bad token: {error}") from None
    if not isinstance(subject, str):
        raise ValueError("bad token: no subject")
    return subject
