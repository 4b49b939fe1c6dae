"""CAR version 2: a version 1 with a frame around it (https://ipld.io/specs/transport/car/carv2/)."""

import struct

from .car import CARInvalid

_PRAGMA = bytes.fromhex("0aa16776657273696f6e02")
_HEADER = struct.Struct("<16sQQQ")  # characteristics, data offset, data size, index offset
_FRAME = len(_PRAGMA) + _HEADER.size


class PayloadReader:
    """Takes the CAR of version 1 out of a file of either version that comes in pieces."""

    def __init__(self) -> None:
        self._begin = b""
        self._skip = 0
        self._left: int | None = None  # of the payload; None where all that comes belongs to it
        self._known = False

    def feed(self, piece: bytes) -> bytes:
        """Take a piece in; answers what of it belongs to the CAR of version 1.

        :raises CARInvalid: where the frame is none.
        """
        if not self._known:
            self._begin += piece
            if len(self._begin) < _FRAME and _PRAGMA.startswith(self._begin[: len(_PRAGMA)]):
                return b""
            piece, self._begin, self._known = self._begin, b"", True
            if piece.startswith(_PRAGMA):
                _, offset, self._left, _ = _HEADER.unpack_from(piece, len(_PRAGMA))
                if offset < _FRAME:
                    raise CARInvalid("a CAR of version 2 whose data begins within its header")
                self._skip = offset
        skipped = min(self._skip, len(piece))
        self._skip -= skipped
        piece = piece[skipped:]
        if self._left is not None:
            piece = piece[: self._left]
            self._left -= len(piece)
        return piece

    def finish(self) -> bytes:
        """That was all; answers what is left.

        :raises CARInvalid: where more should have come.
        """
        if self._left or self._skip or self._begin.startswith(_PRAGMA):
            raise CARInvalid("the CAR ends too early")
        return self._begin
