"""Where the bytes of a push come from, a piece at a time."""

import os
from pathlib import Path
from typing import Protocol

from ipfsreg.flow.workers import Workers

from .file_reader import READ_PIECE


class Source(Protocol):
    """Content that can be read again from its beginning, should a push have to be repeated."""

    size: int
    """Its length in bytes."""

    in_memory: bytes | None
    """The content, where that is in memory."""

    async def read(self, offset: int) -> bytes:
        """Some bytes from ``offset``; none at the end."""


class MemorySource:
    """A `Source` of bytes in memory."""

    def __init__(self, content: bytes) -> None:
        self.in_memory: bytes | None = content
        self.size = len(content)

    async def read(self, offset: int) -> bytes:
        return (self.in_memory or b"")[offset : offset + READ_PIECE]


class FileSource:
    """A `Source` that is a file of this disk, read in a thread, at most ``piece`` bytes at a time."""

    in_memory: bytes | None = None

    def __init__(self, path: Path, size: int, workers: Workers, piece: int = READ_PIECE) -> None:
        self._path = path
        self.size = size
        self._workers = workers
        self._piece = piece

    @classmethod
    async def of(cls, path: Path, workers: Workers, piece: int = READ_PIECE) -> "FileSource":
        """A file of this disk, with the length that it has now."""
        return cls(path, (await workers.run(path.stat)).st_size, workers, piece)

    async def read(self, offset: int) -> bytes:
        return await self._workers.run(_read, self._path, offset, self._piece)


def _read(path: Path, offset: int, piece: int) -> bytes:
    with path.open("rb", buffering=0) as file:
        return os.pread(file.fileno(), piece, offset)
