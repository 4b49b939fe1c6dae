"""Files of this disk on their way into an encrypted bucket. Blocking: for threads."""

import os
from contextlib import suppress
from pathlib import Path

from ipfsreg.encryption.chunks import CHUNK, SEAL_SIZE, ChunkWriter, Place, chunk_count
from ipfsreg.encryption.file_format import Header, make_seal
from ipfsreg.encryption.keyring import Keyring
from ipfsreg.flow.durable import write_all

PIECE = 16 * CHUNK
"""How much of a file is encrypted by one call."""


class SealedCopy:
    """An encrypted copy of a plain file, made in calls of some milliseconds each: `step` until it says False."""

    def __init__(self, source: Path, copy: Path, keyring: Keyring, path: str) -> None:
        assert keyring.member is not None
        self._plain = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._copy = new_file(copy)
        except BaseException:
            os.close(self._plain)
            raise
        self._size = os.fstat(self._plain).st_size
        header = Header.new(at_end=False)
        self._writer: ChunkWriter = header.writer(keyring.member)
        seal = make_seal(keyring, path, header, self._writer.key, self._writer.public, self._size)
        self._waiting = header.encode() + seal
        self._done = 0

    def step(self) -> bool:
        """Encrypt some more; False where that was all, and the copy is on the disk."""
        count = chunk_count(self._size)
        parts = [self._waiting]
        for _ in range(PIECE // CHUNK):
            parts += self._writer.parts(Place(self._done, self._done == count - 1), self._next())
            self._done += 1
            if self._done == count:
                break
        self._waiting = b""
        write_all(self._copy, b"".join(parts))
        if self._done == count:
            os.fsync(self._copy)
        return self._done < count

    def close(self) -> None:
        """Close both files."""
        os.close(self._plain)
        os.close(self._copy)

    def _next(self) -> bytes:
        begin = self._done * CHUNK
        plain = read_exactly(self._plain, begin, min(CHUNK, self._size - begin))
        if len(plain) != min(CHUNK, self._size - begin):
            raise OSError("a file became shorter while it was read")
        return plain


def new_file(path: Path) -> int:
    """A descriptor of a file that was not there, and is for this user alone; its directory is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def seal_between(seal: bytes, at: int, offset: int, piece: bytes) -> bytes:
    """A piece of a stored file that begins at ``offset``, with another seal in the file's place ``at`` for it."""
    begin, end = max(at - offset, 0), min(at + SEAL_SIZE - offset, len(piece))
    if begin >= end:
        return piece
    return piece[:begin] + seal[offset + begin - at : offset + end - at] + piece[end:]


def read_exactly(descriptor: int, offset: int, length: int) -> bytes:
    """Bytes of a file; fewer where it ends before."""
    parts = []
    while length and (part := os.pread(descriptor, length, offset)):
        parts.append(part)
        offset += len(part)
        length -= len(part)
    return b"".join(parts)


def remove_copies(directory: Path) -> None:
    """Remove what a daemon that was killed has left in the directory for files that are moved."""
    with suppress(FileNotFoundError):
        for each in os.scandir(directory):
            os.unlink(each.path)
