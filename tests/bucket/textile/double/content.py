"""Where the double keeps the content of files: one temporary file, or nowhere."""

import os
import tempfile
from collections.abc import Iterator
from typing import Protocol

PIECE = 256 * 1024


class Content(Protocol):
    """The bytes of a file that has been stored."""

    size: int

    def read(self, offset: int, length: int) -> bytes:
        """Some of the bytes; fewer at the end.

        :raises ContentLostError: where they were not kept.
        """


class ContentLostError(Exception):
    """The content was not kept, as when an IPFS node has lost a block."""


class Discarded:
    """Content of which only the size is known."""

    __slots__ = ("size",)

    def __init__(self, size: int) -> None:
        self.size = size

    def read(self, offset: int, length: int) -> bytes:
        raise ContentLostError


class Synthetic:
    """Content of any size that takes no room: one block of bytes, over and over."""

    def __init__(self, size: int, block: bytes = bytes(range(256)) * 4099) -> None:
        self.size = size
        self._block = block

    def read(self, offset: int, length: int) -> bytes:
        length = max(0, min(length, self.size - offset))
        start = offset % len(self._block)
        data = self._block[start : start + length]
        while len(data) < length:
            data += self._block[: length - len(data)]
        return data


class Stored:
    """Content in the store's file, in one or more pieces."""

    __slots__ = ("_descriptor", "_extents", "size")

    def __init__(self, descriptor: int, extents: list[tuple[int, int]], size: int) -> None:
        self.size = size
        self._descriptor = descriptor
        self._extents = extents

    def read(self, offset: int, length: int) -> bytes:
        pieces = []
        for start, extent in self._extents:
            if offset >= extent:
                offset -= extent
                continue
            piece = os.pread(self._descriptor, min(length, extent - offset), start + offset)
            pieces.append(piece)
            offset, length = 0, length - len(piece)
            if not length:
                break
        return b"".join(pieces)


class ContentStore:
    """Takes content in. Room is given back only when the store is closed."""

    def __init__(self, keep: bool = True) -> None:
        self.keep = keep
        """Whether to keep content from now on, or its size only."""
        self._file = tempfile.TemporaryFile(prefix="textile-double-")  # noqa: SIM115 closed by close()
        self._end = 0

    def writer(self) -> "Writer":
        """For the content of one new file."""
        return Writer(self)

    def append(self, data: bytes) -> int:
        """Put bytes at the end of the file, and tell where they are."""
        start = self._end
        self._end += len(data)
        view = memoryview(data)
        while view:
            written = os.pwrite(self._file.fileno(), view, self._end - len(view))
            view = view[written:]
        return start

    def close(self) -> None:
        """Give the room back."""
        self._file.close()


class Writer:
    """Takes the content of one file, piece by piece; several may be at work at once."""

    def __init__(self, store: ContentStore) -> None:
        self._store = store
        self._extents: list[tuple[int, int]] = []
        self.size = 0

    def write(self, data: bytes) -> None:
        """Take a piece."""
        self.size += len(data)
        if not self._store.keep or not data:
            return
        start = self._store.append(data)
        if self._extents and sum(self._extents[-1]) == start:
            self._extents[-1] = (self._extents[-1][0], self._extents[-1][1] + len(data))
        else:
            self._extents.append((start, len(data)))

    def finish(self) -> Content:
        """What was written, as one content."""
        if not self._store.keep:
            return Discarded(self.size)
        return Stored(self._store._file.fileno(), self._extents, self.size)


def pieces(content: Content, size: int = PIECE) -> Iterator[bytes]:
    """The whole content in pieces.

    :raises ContentLostError: where it was not kept.
    """
    for offset in range(0, content.size, size):
        yield content.read(offset, size)
