"""A decoder written from docs/encryption.md alone: it shares nothing with the product but libsodium."""

import base64
import hashlib

from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt as open_aead
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt as seal_aead
from nacl.bindings import crypto_sign_open


def blake(data: bytes, key: bytes, length: int, person: bytes) -> bytes:
    return hashlib.blake2b(data, key=key, digest_size=length, person=person).digest()


def verify(public: bytes, message: bytes, signature: bytes) -> None:
    crypto_sign_open(signature + message, public)


def name(name_key: bytes, parent: str, token: str) -> str:
    """The segment of a token; fails where it is none."""
    raw = base64.b32decode(token.upper() + "=" * (-len(token) % 8))
    iv, hidden = raw[:16], raw[16:]
    stream = seal_aead(bytes(len(hidden)), None, iv + bytes(8), blake(b"", name_key, 32, b"ipfsreg-nkey"))
    segment = bytes(a ^ b for a, b in zip(hidden, stream, strict=False)).rstrip(b"\0")
    assert iv == blake(parent.encode() + b"\0" + segment, name_key, 16, b"ipfsreg-name"), "the iv does not hold"
    padded = segment + bytes(min(-len(segment) % 16, 143 - len(segment)))
    again = base64.b32encode(iv + bytes(a ^ b for a, b in zip(padded, stream, strict=False)))
    assert again.decode().rstrip("=").lower() == token, "the token is another"
    return segment.decode()


def content(
    bucket_id: bytes, name_key: bytes, content_keys: dict[int, bytes], writers: set[bytes], path: str, file: bytes
) -> bytes:
    """The content of a stored file; fails where anything does not hold."""
    header = file[:64]
    assert header[:9] == b"\x89ipfsreg\x01"
    assert header[9] in (0, 1)
    assert header[10:16] + header[48:] == bytes(22)
    file_id = header[16:48]
    seal, chunks = (file[64:276], file[276:]) if header[9] == 0 else (file[-212:], file[64:-212])
    mac = blake(path.encode(), name_key, 32, b"ipfsreg-path")
    generation = int.from_bytes(seal[:4], "big")
    plain = open_aead(seal[28:], header + mac, seal[4:28], content_keys[generation])
    key, public, size, author = plain[:32], plain[32:64], int.from_bytes(plain[64:72], "big"), plain[72:104]
    signed = b"ipfsreg seal 1\0\0" + bucket_id + mac + header + seal[:4]
    verify(author, signed + hashlib.sha256(key).digest() + public + plain[64:72], plain[104:])
    assert author in writers, "the author might not write"
    count = max(1, -(-size // 262144))
    assert len(file) == 276 + size + 104 * count, "another length"
    found = b""
    for number in range(count):
        chunk = chunks[number * 262248 : (number + 1) * 262248]
        aad = file_id + number.to_bytes(8, "big") + bytes([number == count - 1])
        signed = hashlib.sha256(b"ipfsreg chunk 1\0" + aad + chunk[:-64]).digest()
        verify(public, signed, chunk[-64:])
        found += open_aead(chunk[24:-64], aad, chunk[:24], key)
    return found
