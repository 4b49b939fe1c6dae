"""Where a body ends: by its length, or by its last chunk (RFC 9112, 6 and 7)."""

import re
from collections.abc import Sequence
from enum import Enum, auto

_LINE_MAX = 256
_TRAILERS_MAX = 16 * 1024
_SIZE_DIGITS = 15
_HEX = b"0123456789abcdefABCDEF"
_EXTENSION = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")
_SMALL = 4096


class BadChunk(Exception):
    """A chunked body does not follow the grammar: nobody can say where it ends."""


class Sized:
    """A body of known length. ``pieces`` is in how many pieces the client sent what it was fed last."""

    pieces = 1

    def __init__(self, length: int) -> None:
        self._left = length

    def feed(self, data: bytes) -> tuple[Sequence[bytes], bytes | None]:
        """Take what came; answers the pieces of the body in it, and what follows the body, or None before its end."""
        left = self._left = self._left - len(data)
        if left > 0:
            return (data,), None
        if not left:
            return (data,), b""
        return (data[:left],), data[left:]


class _At(Enum):
    SIZE = auto()
    DATA = auto()
    DATA_END = auto()
    TRAILERS = auto()


class Chunked:
    """A body in chunks. What their extensions and the trailers say is thrown away."""

    def __init__(self) -> None:
        self._at = _At.SIZE
        self._left = 0
        self._line = b""
        self._trailers = 0
        self.pieces = 0

    def feed(self, data: bytes) -> tuple[Sequence[bytes], bytes | None]:
        """As `Sized.feed`.

        :raises BadChunk: where it is not in chunks.
        """
        if self._line:
            data, self._line = self._line + data, b""
        pieces: list[bytes] = []
        self.pieces = 0
        position, length = 0, len(data)
        while position < length:
            if self._at is _At.DATA:
                piece = data[position : position + self._left]
                pieces.append(piece)
                position += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._at = _At.DATA_END
                continue
            end = data.find(b"\r\n", position, position + _LINE_MAX)
            if end < 0:
                self._keep(data[position:])
                break
            line = data[position:end]
            position = end + 2
            if self._at is _At.SIZE:
                self._begin_chunk(line)
            elif self._at is _At.DATA_END:
                if line:
                    raise BadChunk("a chunk that is longer than it says")
                self._at = _At.SIZE
            elif not line:
                return _joined(pieces), data[position:]
            else:
                self._pass_over(line)
        return _joined(pieces), None

    def _begin_chunk(self, line: bytes) -> None:
        size, _, extension = line.partition(b";")
        if not size or len(size) > _SIZE_DIGITS or size.translate(None, _HEX):
            raise BadChunk("a chunk without a size")
        if _EXTENSION.fullmatch(extension) is None:
            raise BadChunk("a control character in a chunk's extension")
        self._left = int(size, 16)
        self.pieces += 1
        self._at = _At.DATA if self._left else _At.TRAILERS

    def _pass_over(self, trailer: bytes) -> None:
        self._trailers += len(trailer)
        if self._trailers > _TRAILERS_MAX or _TRAILER.fullmatch(trailer) is None:
            raise BadChunk("trailers that are none, or too many")

    def _keep(self, line: bytes) -> None:
        """Keep what came of a line, unless it can become none."""
        if len(line) >= _LINE_MAX or b"\n" in line or (self._at is _At.DATA_END and line != b"\r"):
            raise BadChunk("a line that does not end, or ends without CR")
        self._line = line


def _joined(pieces: list[bytes]) -> Sequence[bytes]:
    """Many small pieces as one: a small piece costs its reader as much as a large one."""
    if len(pieces) > 1 and sum(map(len, pieces)) < _SMALL * len(pieces):
        return (b"".join(pieces),)
    return pieces
