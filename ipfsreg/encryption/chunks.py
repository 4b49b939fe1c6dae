"""The chunks of an encrypted file, and how long a file is (docs/encryption.md)."""

import hashlib
import os
import struct
from typing import NamedTuple

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
    crypto_sign,
    crypto_sign_open,
    crypto_sign_seed_keypair,
)
from nacl.exceptions import CryptoError

HEADER_SIZE = 64
SEAL_SIZE = 212
CHUNK = 262_144
"""The length of all chunks of the plain content but the last one, in bytes."""

NONCE = 24
TAG = 16
SIGNATURE = 64
OVERHEAD = NONCE + TAG + SIGNATURE
"""By how many bytes a stored chunk is longer than what is in it."""

STORED_CHUNK = CHUNK + OVERHEAD

_DOMAIN = b"ipfsreg chunk 1\0"
_PLACE = struct.Struct(">QB")


class Damaged(ValueError):
    """Stored bytes are not what a member wrote there; the text says what does not hold."""


def chunk_count(size: int) -> int:
    """How many chunks content of ``size`` bytes has: at least one."""
    return max(1, -(-size // CHUNK))


def chunks_size(size: int) -> int:
    """How long the stored chunks of ``size`` bytes are together."""
    return size + chunk_count(size) * OVERHEAD


def stored_size(size: int) -> int:
    """How long the file of ``size`` bytes is when it is stored: header, seal and chunks."""
    return HEADER_SIZE + SEAL_SIZE + chunks_size(size)


def plain_size(stored: int) -> int:
    """How many bytes are in a file that is ``stored`` bytes long.

    :raises Damaged: where no file has that length.
    """
    chunks = stored - HEADER_SIZE - SEAL_SIZE
    size = chunks - -(-chunks // STORED_CHUNK) * OVERHEAD
    if size < 0 or stored_size(size) != stored:
        raise Damaged(f"it is {stored} bytes long, which no encrypted file is")
    return size


class Place(NamedTuple):
    """Where a chunk stands: its number from 0, and whether it is the last one."""

    number: int
    final: bool


class ChunkWriter:
    """Makes the stored chunks of the file ``file_id``. ``key`` and ``seed`` are K and the seed of F."""

    def __init__(self, file_id: bytes, key: bytes, seed: bytes) -> None:
        self._file_id = file_id
        self.key = key
        self.public, self._secret = crypto_sign_seed_keypair(seed)

    def parts(self, place: Place, plain: bytes) -> list[bytes]:
        """A chunk as it is stored, in parts that follow each other. Each call gives another one, with its own nonce."""
        bound = self._file_id + _PLACE.pack(*place)
        nonce = os.urandom(NONCE)
        encrypted = crypto_aead_xchacha20poly1305_ietf_encrypt(plain, bound, nonce, self.key)
        signed = crypto_sign(_hash(bound, nonce, encrypted), self._secret)
        return [nonce, encrypted, signed[:SIGNATURE]]

    def reader(self) -> "ChunkReader":
        """What reads these chunks."""
        return ChunkReader(self._file_id, self.key, self.public)


class ChunkReader:
    """Reads the stored chunks of the file ``file_id``. ``key`` is K, ``public`` is F's public key."""

    def __init__(self, file_id: bytes, key: bytes, public: bytes) -> None:
        self._file_id = file_id
        self._key = key
        self._public = public

    def decode(self, place: Place, stored: bytes | bytearray | memoryview) -> bytes:
        """What is in a chunk.

        :raises Damaged: where it is not that chunk of the file, whole and as its author wrote it.
        """
        view = memoryview(stored)
        what = f"its chunk {place.number} does not hold"
        if len(view) < OVERHEAD:
            raise Damaged(what)
        bound = self._file_id + _PLACE.pack(*place)
        nonce, encrypted = bytes(view[:NONCE]), bytes(view[NONCE:-SIGNATURE])
        try:
            crypto_sign_open(bytes(view[-SIGNATURE:]) + _hash(bound, nonce, encrypted), self._public)
            return crypto_aead_xchacha20poly1305_ietf_decrypt(encrypted, bound, nonce, self._key)
        except (CryptoError, ValueError):
            raise Damaged(what) from None


def _hash(bound: bytes, nonce: bytes, encrypted: bytes) -> bytes:
    hash_ = hashlib.sha256(_DOMAIN + bound + nonce)
    hash_.update(encrypted)
    return hash_.digest()
