"""An open file of an encrypted bucket."""

import errno
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred
from zope.interface import implementer

from ipfsreg.bucket.errors import Corrupt, bucket_error
from ipfsreg.bucket.file_reader import OpenWhileRead
from ipfsreg.bucket.interface import IReader
from ipfsreg.encryption.chunks import (
    CHUNK,
    HEADER_SIZE,
    SEAL_SIZE,
    STORED_CHUNK,
    ChunkReader,
    Damaged,
    Place,
    chunk_count,
    chunks_size,
)
from ipfsreg.encryption.file_format import Header, Seal, check_size, open_seal
from ipfsreg.encryption.keyring import Keyring
from ipfsreg.flow.workers import Workers

from .access import named
from .first_read import FirstRead, next_of
from .sealing import read_exactly

_AT_ONCE = 2
"""So many chunks of a file on this disk are read and decrypted at a time."""


async def open_encrypted(stored: IReader, keyring: Keyring, path: str, workers: Workers) -> "EncryptedReader":
    """Read the header and the seal of the open file at a true path; ``stored`` is closed where they do not hold."""
    if stored.size is None:
        stored = FirstRead(stored)
    try:
        with named(path, keyring):
            header, seal = await read_head(stored, keyring, path)
    except BaseException:
        stored.close()
        raise
    return EncryptedReader(stored, header, seal, path, workers)


async def read_head(stored: IReader, keyring: Keyring, path: str) -> tuple[Header, Seal]:
    """The header and the seal of an open file. :raises Damaged: :raises UnknownGeneration:"""
    if stored.size is not None and stored.size < HEADER_SIZE + SEAL_SIZE:
        raise Damaged(f"it is {stored.size} bytes long, which no encrypted file is")
    # Nearly all seals are in front: one read.
    length = HEADER_SIZE + SEAL_SIZE
    front = await (stored.head(length) if isinstance(stored, FirstRead) else _read(stored, 0, length))
    header = Header.decode(front)
    if not header.at_end:
        sealed = front[HEADER_SIZE:]
    elif stored.size is None:
        raise Damaged("its seal is at its end, and the storage does not tell where that is")
    else:
        sealed = await _read(stored, stored.size - SEAL_SIZE, SEAL_SIZE)
    seal = open_seal(keyring, path, header, sealed)
    if stored.size is not None:
        check_size(seal, stored.size)
    return header, seal


async def _read(stored: IReader, offset: int, length: int) -> bytes:
    async with aclosing(stored.pieces(offset, length)) as pieces:
        return b"".join([piece async for piece in pieces])


@dataclass(slots=True)
class Decrypted:
    """Chunks, and what is wrong with the one after them. (Python 3.11's ``anext`` fails where a tuple is awaited.)"""

    chunks: list[bytes] = field(default_factory=list)
    refusal: Corrupt | None = None


@implementer(IReader)
class EncryptedReader:
    """Decrypts the chunks that a range touches; nothing of a chunk is passed on before all of it was found right."""

    file = None

    def __init__(self, stored: IReader, header: Header, seal: Seal, path: str, workers: Workers) -> None:
        self.size = seal.size
        self._stored = stored
        self._chunks_at = header.chunks_at
        self._chunks: ChunkReader = seal.reader(header)
        self._path = path
        self._open = OpenWhileRead(workers, stored.close)

    async def pieces(self, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        """See `IReader.pieces`; `Corrupt` where a chunk is not as its author wrote it."""
        if length <= 0:
            return
        if offset >= self.size:
            raise Corrupt(f"{self._path} is shorter than it should be")
        end = min(offset + length, self.size)
        first, last = offset // CHUNK, (end - 1) // CHUNK
        jobs = self._jobs_on_file(first, last) if self._stored.file is not None else self._jobs(first, last)
        # Some chunks are decrypted in a thread while those before them are passed on, or those after them are read.
        at, decrypting = first * CHUNK, None
        async with aclosing(jobs):
            try:
                while (ahead := await next_of(jobs)) is not None or decrypting is not None:
                    ready, decrypting = decrypting, ahead
                    found = Decrypted() if ready is None else await ready
                    for plain in found.chunks:
                        begin, at = at, at + len(plain)
                        whole = begin >= offset and at <= end
                        yield plain if whole else plain[max(offset - begin, 0) : end - begin]
                    if found.refusal is not None:
                        raise found.refusal
            finally:
                if decrypting is not None:
                    decrypting.addErrback(lambda _: None)  # nobody wants it any more
        if offset + length > self.size:
            raise Corrupt(f"{self._path} is shorter than it should be")

    async def _jobs_on_file(self, first: int, last: int) -> "AsyncGenerator[Deferred[Decrypted], None]":
        """The chunks of these numbers, some at a time, on their way: read and decrypted in one go."""
        for index in range(first, last + 1, _AT_ONCE):
            yield self._open.run(self._read_and_decode, range(index, min(index + _AT_ONCE, last + 1)))

    async def _jobs(self, first: int, last: int) -> "AsyncGenerator[Deferred[Decrypted], None]":
        """The same of a storage that is elsewhere."""
        index = first
        async with aclosing(self._stored_chunks(first, last)) as chunks:
            async for stored in chunks:
                yield self._open.run(self._decode, range(index, index + 1), [stored])
                index += 1

    async def _stored_chunks(self, first: int, last: int) -> AsyncGenerator[bytearray, None]:
        """The chunks of these numbers as they are stored."""
        total = chunks_size(self.size)
        begin, end = first * STORED_CHUNK, min((last + 1) * STORED_CHUNK, total)
        left = end - begin
        # Where nobody knows how long the stored file is, one asks for more than there should be.
        beyond = int(end == total and self._stored.size is None)
        chunk = bytearray()
        async with aclosing(self._stored.pieces(self._chunks_at + begin, left + beyond)) as pieces:
            try:
                async for piece in pieces:
                    rest = memoryview(piece)
                    # Nothing of the last chunk is passed on before it is certain that it is the last one.
                    while left > STORED_CHUNK and len(chunk) + len(rest) >= STORED_CHUNK:
                        missing = STORED_CHUNK - len(chunk)
                        chunk += rest[:missing]
                        yield chunk
                        chunk, rest = bytearray(), rest[missing:]
                        left -= STORED_CHUNK
                    chunk += rest
            except Corrupt as error:
                if not beyond or len(chunk) < left:
                    raise Corrupt(f"{self._path}: {error}") from error
        if len(chunk) != left:
            why = "it is longer than its seal says" if len(chunk) > left else "it is cut off"
            raise Corrupt(f"{self._path} was altered or damaged where it is stored: {why}")
        yield chunk

    def _read_and_decode(self, numbers: range) -> Decrypted:
        # In a thread.
        assert self._stored.file is not None
        descriptor, end = self._stored.file.fileno(), self._chunks_at + chunks_size(self.size)
        stored: list[bytes | bytearray] = []
        for number in numbers:
            begin = self._chunks_at + number * STORED_CHUNK
            try:
                stored.append(read_exactly(descriptor, begin, min(STORED_CHUNK, end - begin)))
            except OSError as error:
                if error.errno == errno.EIO:  # a bad spot of the disk, and no outage
                    raise Corrupt(f"{self._path} cannot be read: {error}") from error
                raise bucket_error(error, self._path) from error
        return self._decode(numbers, stored)

    def _decode(self, numbers: range, stored: Sequence[bytes | bytearray]) -> Decrypted:
        # In a thread.
        last, found = chunk_count(self.size) - 1, Decrypted()
        for number, chunk in zip(numbers, stored, strict=True):
            try:
                found.chunks.append(self._chunks.decode(Place(number, number == last), chunk))
            except Damaged as error:
                found.refusal = Corrupt(f"{self._path} was altered or damaged where it is stored: {error}")
                break
        return found

    def close(self) -> None:
        self._open.close()
