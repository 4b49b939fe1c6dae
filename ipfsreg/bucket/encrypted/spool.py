"""The spool of an encrypted bucket: its files have the final form already, but for the seal and the last chunk's mark.

So nothing plain is written to this disk. The keys of a file come from its id and the member's key, so nothing has to be
kept beside it for an upload that goes on after a restart.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt, crypto_aead_xchacha20poly1305_ietf_encrypt
from nacl.exceptions import CryptoError

from ipfsreg.bucket.errors import Corrupt, Unavailable
from ipfsreg.bucket.spool_format import Appender
from ipfsreg.encryption.chunks import (
    CHUNK,
    HEADER_SIZE,
    NONCE,
    OVERHEAD,
    SEAL_SIZE,
    STORED_CHUNK,
    ChunkWriter,
    Damaged,
    Place,
    chunk_count,
)
from ipfsreg.encryption.file_format import Header, make_seal
from ipfsreg.encryption.keyring import Keyring, KeyringSource
from ipfsreg.encryption.member_key import MemberKey
from ipfsreg.flow.durable import closing, write_all

from .access import for_writing
from .sealing import read_exactly

_SUFFIX = ".sealed"
_NOTE_BLOCK = 256


class SealedSpool:
    """See `SpoolFormat`. ``member`` gives the own key, which is on this disk; the bucket's may not be known yet.

    With ``at_end`` seals come after the chunks: for a storage that takes files while they grow. Such a storage does not
    keep the file itself, so the file is not synced.
    """

    suffix = _SUFFIX
    append_flags = os.O_RDWR
    bucket_finishes = True

    def __init__(self, member: Callable[[], MemberKey], keys: KeyringSource, *, at_end: bool) -> None:
        self._member = member
        self._keys = keys
        self._at_end = at_end
        self._chunks_at = Header(bytes(32), at_end).chunks_at

    def is_sealed(self, path: Path) -> bool:
        """Whether a file is one of this spool, by its name."""
        return path.name.endswith(_SUFFIX)

    def note(self, session: str, text: bytes) -> bytes:
        nonce = os.urandom(NONCE)
        padded = text.ljust(-(-len(text) // _NOTE_BLOCK) * _NOTE_BLOCK)
        return nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(padded, None, nonce, self._note_key(session))

    def read_note(self, session: str, note: bytes) -> bytes:
        try:
            key = self._note_key(session)
            return crypto_aead_xchacha20poly1305_ietf_decrypt(note[NONCE:], None, note[:NONCE], key)
        except (CryptoError, ValueError):
            raise ValueError("not a note of this member's") from None

    def begin(self, descriptor: int) -> None:
        """See `SpoolFormat`. :raises Unchangeable: where the member may only read."""
        with suppress(Unavailable):  # not known yet; `put_file` will tell
            for_writing(self._keys.current())
        write_all(descriptor, Header.new(at_end=self._at_end).encode().ljust(self._chunks_at, b"\0"), 0)

    def recover(self, descriptor: int) -> int:
        try:
            file = self._opened(descriptor)
        except Damaged as error:
            raise ValueError(str(error)) from None
        file.cut(file.length)
        return file.length

    def content_length(self, stored: int) -> int:
        return _content_length(stored - self._chunks_at)

    def cut(self, descriptor: int, length: int) -> None:
        try:
            self._opened(descriptor).cut(length)
        except Damaged as error:
            raise Corrupt(f"an unfinished upload was altered: {error}") from None

    def appender(self, descriptor: int, offset: int) -> Appender:
        try:
            return _SealingAppender(self._opened(descriptor), offset)
        except Damaged as error:
            raise Corrupt(f"an unfinished upload was altered: {error}") from None

    def read(self, descriptor: int, offset: int, length: int) -> bytes:
        try:
            file = self._opened(descriptor)
            first, last = offset // CHUNK, (offset + length - 1) // CHUNK
            content = b"".join(file.chunk(index) for index in range(first, last + 1))
        except Damaged as error:
            raise Corrupt(f"an unfinished upload was altered: {error}") from None
        return content[offset - first * CHUNK :][:length]

    def finish(self, source: Path, keyring: Keyring, path: str) -> None:
        """Mark the last chunk as the last one, and seal the file for its path; done a second time it changes nothing.

        :raises Damaged: where the end of the file does not hold.
        """
        with closing(os.open(source, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)) as descriptor:
            file = self._opened(descriptor)
            last = chunk_count(file.length) - 1
            file.put(Place(last, True), file.chunk(last))
            seal = make_seal(keyring, path, file.header, file.writer.key, file.writer.public, file.length)
            at = os.fstat(descriptor).st_size if self._at_end else HEADER_SIZE
            write_all(descriptor, seal, at)
            if not self._at_end:
                os.fsync(descriptor)

    def _opened(self, descriptor: int) -> "_SpoolFile":
        header = Header.decode(os.pread(descriptor, HEADER_SIZE, 0))
        if header.at_end != self._at_end:
            raise Damaged("it is for another kind of storage")
        return _SpoolFile(descriptor, header, header.writer(self._member()))

    def _note_key(self, session: str) -> bytes:
        return self._member().derive(b"ipfsreg-session", session.encode())


class _SpoolFile:
    """An open file of the spool, with as much content as holds at its end."""

    def __init__(self, descriptor: int, header: Header, writer: ChunkWriter) -> None:
        self.header = header
        self.writer = writer
        self._descriptor = descriptor
        self._reader = writer.reader()
        self._last = b""  # what is in the last chunk
        self.length = self._find_length()

    def chunk(self, index: int) -> bytes:
        """What is in a chunk, whether it is marked as the last one or not; nothing where there is none.

        :raises Damaged: where it does not hold.
        """
        length = min(CHUNK, self.length - index * CHUNK)
        if index == chunk_count(self.length) - 1:
            return self._last
        return self._decode(index, length) if length > 0 else b""

    def put(self, place: Place, plain: bytes) -> None:
        """Write a chunk. It is the end of the file then, unless it is a full one."""
        parts, at = self.writer.parts(place, plain), self._at(place.number)
        if os.pwritev(self._descriptor, parts, at) < len(plain) + OVERHEAD:
            write_all(self._descriptor, b"".join(parts), at)  # the disk may be full, which this will tell
        if len(plain) < CHUNK or place.final:
            os.ftruncate(self._descriptor, at + len(plain) + OVERHEAD)

    def cut(self, length: int) -> None:
        """Make the first ``length`` bytes of content all."""
        index, rest = divmod(length, CHUNK)
        if rest:
            self.put(Place(index, False), self.chunk(index)[:rest])
        else:
            os.ftruncate(self._descriptor, self._at(index))
        self._last = self.chunk(max(chunk_count(length) - 1, 0))[: length - (chunk_count(length) - 1) * CHUNK]
        self.length = length

    def _find_length(self) -> int:
        stored = os.fstat(self._descriptor).st_size - self.header.chunks_at
        whole = max(stored, 0) // STORED_CHUNK * CHUNK
        # One that was finished has its seal at its end. One that was being written when the power went may have
        # anything where its last chunk should be.
        finished = _content_length(stored - SEAL_SIZE) if self.header.at_end else 0
        for length in (_content_length(stored), finished, whole, whole - CHUNK):
            if length <= 0:
                continue
            last = chunk_count(length) - 1
            try:
                self._last = self._decode(last, length - last * CHUNK)
            except Damaged:
                continue
            return length
        if whole > CHUNK:
            raise Damaged("its end does not hold")
        return 0

    def _decode(self, index: int, length: int) -> bytes:
        stored = read_exactly(self._descriptor, self._at(index), length + OVERHEAD)
        try:
            return self._reader.decode(Place(index, False), stored)
        except Damaged:
            return self._reader.decode(Place(index, True), stored)

    def _at(self, index: int) -> int:
        return self.header.chunks_at + index * STORED_CHUNK


class _SealingAppender:
    """Keeps the last chunk back, full or not, until something comes after it."""

    is_slow = True

    def __init__(self, file: _SpoolFile, offset: int) -> None:
        self._file = file
        self._index = chunk_count(offset) - 1
        self._parts: list[bytes | memoryview] = [file.chunk(self._index)]
        self._length = len(self._parts[0])
        self.lasting = file.header.chunks_at + self._index * STORED_CHUNK

    def write(self, data: bytes | bytearray) -> None:
        rest = memoryview(data)
        while self._length + len(rest) > CHUNK:
            missing = CHUNK - self._length
            self._file.put(Place(self._index, False), b"".join([*self._parts, rest[:missing]]))
            self._parts, self._length, rest = [], 0, rest[missing:]
            self._index += 1
            self.lasting += STORED_CHUNK
        self._parts.append(rest)
        self._length += len(rest)

    def flush(self) -> None:
        if self._length:
            self._file.put(Place(self._index, False), b"".join(self._parts))


def _content_length(chunks: int) -> int:
    """How many bytes of content are in chunks that are ``chunks`` bytes long together, as far as that tells."""
    return max(chunks - -(-chunks // STORED_CHUNK) * OVERHEAD, 0)
