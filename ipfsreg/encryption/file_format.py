"""An encrypted file: a header, a seal that a member signed, and chunks (docs/encryption.md)."""

import hashlib
import os
import struct
from dataclasses import dataclass, field

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
    crypto_sign_open,
)
from nacl.exceptions import CryptoError

from .chunks import (
    CHUNK,
    HEADER_SIZE,
    NONCE,
    SEAL_SIZE,
    STORED_CHUNK,
    ChunkReader,
    ChunkWriter,
    Damaged,
    Place,
    chunk_count,
    plain_size,
)
from .keyring import Keyring
from .member_key import MemberKey
from .names import names_of

MAGIC = b"\x89ipfsreg"
VERSION = 1

GENERATIONS_AHEAD = 100_000
"""By so many a generation may be newer than the newest that a reader knows; what names a later one is damaged."""

_SEAL_DOMAIN = b"ipfsreg seal 1\0\0"
_HEADER = struct.Struct(">8sBB6s32s16s")
_GENERATION = struct.Struct(">I")
_SEALED = struct.Struct(">32s32sQ32s64s")


class NotAWriter(Damaged):
    """A file is whole, and signed by somebody who might not write it, as far as the key ring tells."""


@dataclass(frozen=True, slots=True)
class Header:
    """The first 64 bytes. ``at_end`` says where the seal is: after the chunks, or before them."""

    file_id: bytes
    at_end: bool

    @classmethod
    def new(cls, *, at_end: bool) -> "Header":
        """That of a new file."""
        return cls(os.urandom(32), at_end)

    def encode(self) -> bytes:
        """As it is stored."""
        return _HEADER.pack(MAGIC, VERSION, int(self.at_end), bytes(6), self.file_id, bytes(16))

    @classmethod
    def decode(cls, stored: bytes) -> "Header":
        """Read one. :raises Damaged: where it is none."""
        if len(stored) < HEADER_SIZE:
            raise Damaged("its header is cut off")
        _, version, at_end, _, file_id, _ = _HEADER.unpack(stored[:HEADER_SIZE])
        header = cls(file_id, at_end == 1)
        if stored.startswith(MAGIC) and version != VERSION:
            raise Damaged(f"its format has version {version}, and this ipfsreg knows version {VERSION}")
        if header.encode() != stored[:HEADER_SIZE]:
            raise Damaged("its header does not hold: it is no encrypted file")
        return header

    @property
    def chunks_at(self) -> int:
        """Where the chunks begin."""
        return HEADER_SIZE if self.at_end else HEADER_SIZE + SEAL_SIZE

    def seal_at(self, stored: int) -> int:
        """Where the seal begins in a file of ``stored`` bytes."""
        return stored - SEAL_SIZE if self.at_end else HEADER_SIZE

    def writer(self, member: MemberKey) -> ChunkWriter:
        """What makes the chunks of this file, always with the same keys, if it is this member's."""
        return ChunkWriter(
            self.file_id,
            member.derive(b"ipfsreg-filekey", self.file_id),
            member.derive(b"ipfsreg-filesig", self.file_id),
        )


@dataclass(frozen=True, slots=True)
class Seal:
    """What a file's seal says. ``size`` is the content's in bytes, ``author`` a member's public key."""

    generation: int
    key: bytes = field(repr=False)
    public: bytes
    size: int
    author: bytes

    def reader(self, header: Header) -> ChunkReader:
        """What reads the chunks."""
        return ChunkReader(header.file_id, self.key, self.public)


def make_seal(keyring: Keyring, path: str, header: Header, key: bytes, public: bytes, size: int) -> bytes:
    """The seal of a file at a path, signed by the own key, for the present generation.

    ``key`` and ``public`` are those of its chunks, ``size`` is the content's in bytes.
    """
    assert keyring.member is not None, "only who has a key makes files"
    generation = _GENERATION.pack(keyring.generation)
    mac = names_of(keyring.name_key).mac(path)
    stored_header = header.encode()
    signature = keyring.member.sign(_signed(keyring, mac, stored_header, generation, key, public, size))
    plain = _SEALED.pack(key, public, size, keyring.member.public, signature)
    nonce = os.urandom(NONCE)
    content_key = keyring.content_key(keyring.generation)
    return (
        generation + nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(plain, stored_header + mac, nonce, content_key)
    )


def generation_of(seal: bytes) -> int:
    """The generation whose key opens a seal."""
    if len(seal) != SEAL_SIZE:
        raise Damaged("its seal is cut off")
    return int(_GENERATION.unpack_from(seal)[0])


def open_seal(keyring: Keyring, path: str, header: Header, seal: bytes) -> Seal:
    """Read the seal of the file at a path.

    :raises Damaged: where it is not that of this file at this path, signed by who might write it then; `NotAWriter`
        where only its author is wrong.
    :raises UnknownGeneration: where its key is not in the key ring.
    """
    generation = generation_of(seal)
    if not 0 < generation <= keyring.generation + GENERATIONS_AHEAD:
        raise Damaged(f"its seal names generation {generation}, which cannot be")
    mac = names_of(keyring.name_key).mac(path)
    stored_header = header.encode()
    nonce, encrypted = seal[4 : 4 + NONCE], seal[4 + NONCE :]
    try:
        plain = crypto_aead_xchacha20poly1305_ietf_decrypt(
            encrypted, stored_header + mac, nonce, keyring.content_key(generation)
        )
    except CryptoError:
        raise Damaged("its seal does not hold: it was altered, or belongs to another path") from None
    key, public, size, author, signature = _SEALED.unpack(plain)
    signed = _signed(keyring, mac, stored_header, seal[:4], key, public, size)
    try:
        crypto_sign_open(signature + signed, author)
    except (CryptoError, ValueError):
        raise Damaged("its seal is not signed by the member that it names") from None
    if not keyring.may_have_written(author, generation):
        raise NotAWriter(f"its seal is signed by {author.hex()}, who might not write in generation {generation}")
    return Seal(generation, key, public, size, author)


def encode_file(keyring: Keyring, path: str, content: bytes) -> bytes:
    """A whole file in memory, as it is stored at a path: the seal is in front."""
    assert keyring.member is not None, "only who has a key makes files"
    header = Header.new(at_end=False)
    writer = header.writer(keyring.member)
    parts = [header.encode(), make_seal(keyring, path, header, writer.key, writer.public, len(content))]
    count = chunk_count(len(content))
    for index in range(count):
        parts += writer.parts(Place(index, index == count - 1), content[index * CHUNK : (index + 1) * CHUNK])
    return b"".join(parts)


def decode_file(keyring: Keyring, path: str, stored: bytes) -> bytes:
    """The content of a whole file in memory.

    :raises Damaged: where anything of it does not hold. :raises UnknownGeneration: as `open_seal` does.
    """
    header = Header.decode(stored)
    at = header.seal_at(len(stored))
    seal = open_seal(keyring, path, header, stored[max(at, 0) : max(at, 0) + SEAL_SIZE])
    check_size(seal, len(stored))
    reader, view, count = seal.reader(header), memoryview(stored), chunk_count(seal.size)
    end = len(stored) - SEAL_SIZE if header.at_end else len(stored)
    parts = []
    for index in range(count):
        begin = header.chunks_at + index * STORED_CHUNK
        parts.append(reader.decode(Place(index, index == count - 1), view[begin : min(begin + STORED_CHUNK, end)]))
    return b"".join(parts)


def check_size(seal: Seal, stored: int) -> None:
    """See that a file has the length that its seal says. :raises Damaged:"""
    if plain_size(stored) != seal.size:
        raise Damaged(f"it holds {plain_size(stored)} bytes, and its seal says {seal.size}")


def _signed(
    keyring: Keyring, mac: bytes, header: bytes, generation: bytes, key: bytes, public: bytes, size: int
) -> bytes:
    parts = (_SEAL_DOMAIN, keyring.bucket_id, mac, header, generation, hashlib.sha256(key).digest(), public)
    return b"".join(parts) + size.to_bytes(8)
