"""The framing of gRPC-Web: a flag byte, four bytes of length (big-endian), a payload."""

import struct
from typing import NamedTuple

from .errors import MessageTooLarge, UnexpectedAnswer

MESSAGE = 0x00
TRAILERS = 0x80

MESSAGE_LIMIT = 4 * 1024 * 1024
"""The longest message taken from a server unless told otherwise, in bytes; gRPC's own default."""

TRAILERS_LIMIT = 64 * 1024

_PREFIX = struct.Struct("!BI")


class Frame(NamedTuple):
    """One frame: `MESSAGE` or `TRAILERS`, and what it holds."""

    flag: int
    payload: bytes


def frame(payload: bytes) -> bytes:
    """A message as it goes over the wire."""
    return _PREFIX.pack(MESSAGE, len(payload)) + payload


class FrameParser:
    """Takes a stream of bytes apart into frames, whatever pieces it comes in.

    It holds what was fed and not taken: one frame at most, and what came with its end, where every complete
    frame is taken before more is fed.
    """

    def __init__(self, message_limit: int = MESSAGE_LIMIT) -> None:
        self._limits = {MESSAGE: message_limit, TRAILERS: TRAILERS_LIMIT}
        self._buffer = bytearray()

    def feed(self, data: bytes | bytearray) -> None:
        """Add bytes."""
        self._buffer += data

    def next(self) -> Frame | None:
        """The next complete frame, or None where more bytes are needed.

        :raises MessageTooLarge: for a message above the limit, as soon as its length is known.
        :raises UnexpectedAnswer: for bytes that do not begin a frame. Nothing can be read after either.
        """
        if len(self._buffer) < _PREFIX.size:
            if self._buffer:
                self._limit(self._buffer[0])
            return None
        flag, length = _PREFIX.unpack_from(self._buffer)
        limit = self._limit(flag)
        if length > limit:
            raise MessageTooLarge(f"the server sends {length} bytes in one frame, {limit} are allowed")
        end = _PREFIX.size + length
        if len(self._buffer) < end:
            return None
        payload = bytes(memoryview(self._buffer)[_PREFIX.size : end])
        del self._buffer[:end]
        return Frame(flag, payload)

    def _limit(self, flag: int) -> int:
        if flag not in self._limits:
            raise UnexpectedAnswer(f"the answer is not in gRPC-Web's framing (flag {flag:#04x})")
        return self._limits[flag]
