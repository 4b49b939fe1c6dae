"""The decoder against whatever a storage, or a member who means harm, may give it.

`once` is one input, and what must hold of it; `corpus` is what to begin with. See ``__main__`` for a long run.
"""

import struct
from collections.abc import Callable
from contextlib import suppress

from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt

from ipfsreg.encryption.chunks import HEADER_SIZE, SEAL_SIZE, ChunkReader, Damaged, Place, plain_size, stored_size
from ipfsreg.encryption.file_format import Header, decode_file, encode_file, generation_of, open_seal
from ipfsreg.encryption.keyring import UnknownGeneration
from ipfsreg.encryption.names import Names, NotAName
from tests.bucket.encrypted.keys import keyring, secret

KEYS = keyring()
PATH = "blobs/sha256/ab/abab"
NAMES = Names(KEYS.name_key)
CONTENT = b"what is right"
FILE = encode_file(KEYS, PATH, CONTENT)


def whole_file(data: bytes) -> None:
    """A storage gives any bytes: nothing but what was written may come out of them."""
    with suppress(Damaged, UnknownGeneration):
        assert decode_file(KEYS, PATH, data) == CONTENT
        assert data == FILE


def patched_file(data: bytes) -> None:
    """A storage changes a part of a file, and its length."""
    if len(data) < 4:
        return
    at, cut = struct.unpack(">HH", data[:4])
    file = FILE[: at % len(FILE)] + data[4:] + FILE[at % len(FILE) + len(data) - 4 :]
    file = file[: len(file) - cut % 3]
    with suppress(Damaged, UnknownGeneration):
        assert decode_file(KEYS, PATH, file) == CONTENT
        assert file == FILE


def sealed_by_a_reader(data: bytes) -> None:
    """Who has the keys, and may not write, makes a seal of anything."""
    header = Header(secret("a file"), at_end=False)
    aad, nonce = header.encode() + NAMES.mac(PATH), bytes(24)
    sealed = crypto_aead_xchacha20poly1305_ietf_encrypt(data[:168].ljust(168, b"\0"), aad, nonce, KEYS.content_key(1))
    with suppress(Damaged):
        open_seal(KEYS, PATH, header, (1).to_bytes(4) + nonce + sealed)
        raise AssertionError("a seal without a writer's signature was accepted")


def token(data: bytes) -> None:
    """A storage calls a file as it likes."""
    text = data.decode("latin-1")
    with suppress(NotAName):
        assert NAMES.token("d", NAMES.segment("d", text)) == text


def lengths(data: bytes) -> None:
    """A storage says any length."""
    stored = int.from_bytes(data[:9], signed=True)
    with suppress(Damaged):
        assert stored_size(plain_size(stored)) == stored


def parts(data: bytes) -> None:
    """Each part by itself."""
    with suppress(Damaged):
        assert Header.decode(data).encode() == data[:HEADER_SIZE]
    with suppress(Damaged):
        generation_of(data[:SEAL_SIZE])
    with suppress(Damaged):
        ChunkReader(secret("a file"), secret("K"), secret("F")).decode(Place(0, True), data)
        raise AssertionError("a chunk that nobody wrote was accepted")


WAYS: list[Callable[[bytes], None]] = [whole_file, patched_file, sealed_by_a_reader, token, lengths, parts]


def once(data: bytes) -> None:
    """One input: the first byte says what it is."""
    if data:
        WAYS[data[0] % len(WAYS)](data[1:])


def corpus() -> list[bytes]:
    """Inputs that lead deep into the decoder."""
    place = Header(bytes(32), at_end=True).encode()
    inputs = [FILE, FILE[:-1], FILE[:HEADER_SIZE], FILE[: HEADER_SIZE + SEAL_SIZE], place + FILE[HEADER_SIZE:], b""]
    inputs += [struct.pack(">HH", at, 0) + b"\x01" for at in (0, 8, 9, 10, 20, 63, 64, 70, 92, 275, 276, 300, 330)]
    inputs += [NAMES.token("d", name).encode() for name in ("a", "v1", "x" * 143)] + [b"a" * 255, b"=" * 8]
    inputs += [bytes(168), secret("1") * 5, stored_size(5).to_bytes(9), (2**63).to_bytes(9)]
    return [bytes([way]) + each for way in range(len(WAYS)) for each in inputs]
