"""An open file of an encrypted bucket."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from twisted.internet.defer import Deferred
from zope.interface import implementer

from ipfsreg.bucket.errors import Corrupt
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
from .first_read import FirstRead


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
        self._workers = workers

    async def pieces(self, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        """See `IReader.pieces`; `Corrupt` where a chunk is not as its author wrote it."""
        if length <= 0:
            return
        if offset >= self.size:
            raise Corrupt(f"{self._path} is shorter than it should be")
        end = min(offset + length, self.size)
        first, last = offset // CHUNK, (end - 1) // CHUNK
        # One chunk is decrypted in a thread while the next one is read.
        decrypting: Deferred[bytes] | None = None
        index = first
        async with aclosing(self._stored_chunks(first, last)) as stored_chunks:
            try:
                async for stored in stored_chunks:
                    ahead = self._workers.run(self._decode, index, stored)
                    plain, decrypting = decrypting, ahead
                    if plain is not None:
                        yield _part(await plain, index - 1, offset, end)
                    index += 1
                if decrypting is not None:
                    plain, decrypting = decrypting, None
                    yield _part(await plain, index - 1, offset, end)
            finally:
                if decrypting is not None:
                    decrypting.addErrback(lambda _: None)  # nobody wants it any more
        if offset + length > self.size:
            raise Corrupt(f"{self._path} is shorter than it should be")

    async def _stored_chunks(self, first: int, last: int) -> AsyncGenerator[bytes, None]:
        """The chunks of these numbers as they are stored."""
        total = chunks_size(self.size)
        begin, end = first * STORED_CHUNK, min((last + 1) * STORED_CHUNK, total)
        left = end - begin
        # Where nobody knows how long the stored file is, one asks for more than there should be.
        beyond = int(end == total and self._stored.size is None)
        waiting = bytearray()
        async with aclosing(self._stored.pieces(self._chunks_at + begin, left + beyond)) as pieces:
            try:
                async for piece in pieces:
                    waiting += piece
                    while left and len(waiting) >= min(left, STORED_CHUNK):
                        size = min(left, STORED_CHUNK)
                        if left == size and beyond:
                            break
                        left -= size
                        chunk = bytes(memoryview(waiting)[:size])
                        del waiting[:size]
                        yield chunk
            except Corrupt as error:
                if not beyond or len(waiting) < left:
                    raise Corrupt(f"{self._path}: {error}") from error
        if left != len(waiting):
            why = "it is longer than its seal says" if len(waiting) > left else "it is cut off"
            raise Corrupt(f"{self._path} was altered or damaged where it is stored: {why}")
        if left:
            yield bytes(waiting)

    def _decode(self, index: int, stored: bytes) -> bytes:
        # In a thread.
        try:
            return self._chunks.decode(Place(index, index == chunk_count(self.size) - 1), stored)
        except Damaged as error:
            raise Corrupt(f"{self._path} was altered or damaged where it is stored: {error}") from None

    def close(self) -> None:
        """See `IReader.close`."""
        self._stored.close()


def _part(plain: bytes, index: int, offset: int, end: int) -> bytes:
    """What of a chunk is in a range."""
    at = index * CHUNK
    return plain if at >= offset and at + len(plain) <= end else plain[max(offset - at, 0) : end - at]
