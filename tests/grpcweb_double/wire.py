"""The framing of gRPC and gRPC-Web, and bits of protobuf's, as bytes.

See docs/protocols/grpc-web.md, "Requests and answers".

Independent of the product's own code on purpose: a double that shared it would share its mistakes.
"""

from collections.abc import Iterator, Mapping

MESSAGE = 0x00
TRAILERS = 0x80


def frame(payload: bytes, flag: int = MESSAGE) -> bytes:
    """One frame: flag, length, payload."""
    return prefix(len(payload), flag) + payload


def prefix(length: int, flag: int = MESSAGE) -> bytes:
    """The five bytes before a payload."""
    return bytes([flag]) + length.to_bytes(4, "big")


def percent_encode(text: str) -> str:
    """Write a grpc-message: printable ASCII but ``%`` as it is, all else as ``%XX`` of its UTF-8 bytes."""
    return "".join(chr(byte) if 0x20 <= byte <= 0x7E and byte != 0x25 else f"%{byte:02X}" for byte in text.encode())


def header_lines(fields: Mapping[str, str]) -> bytes:
    """A block of ``name: value`` lines, in the mapping's order."""
    return "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode("latin-1")


def status_fields(code: int, text: str) -> dict[str, str]:
    """The trailers of a call, in the alphabetical order that the real wrapper writes them in."""
    fields = {"grpc-message": percent_encode(text)} if text else {}
    return fields | {"grpc-status": str(code)}


class MessageTooLargeError(Exception):
    """A frame announced more than the limit."""

    def __init__(self, length: int) -> None:
        super().__init__(f"a message of {length} bytes")
        self.length = length


class FrameParser:
    """Takes a byte stream apart into frames, whatever pieces it comes in."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()

    @property
    def inside(self) -> bool:
        """Whether the stream stands in the middle of a frame."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Take bytes in, and give the flag and payload of each frame that is complete now.

        :raises MessageTooLargeError: as soon as such a frame begins; what follows cannot be read any more.
        """
        self._buffer += data
        position = 0
        try:
            while len(self._buffer) - position >= 5:
                length = int.from_bytes(self._buffer[position + 1 : position + 5], "big")
                if length > self._limit:
                    raise MessageTooLargeError(length)
                end = position + 5 + length
                if len(self._buffer) < end:
                    return
                flag, payload = self._buffer[position], bytes(memoryview(self._buffer)[position + 5 : end])
                position = end
                yield flag, payload
        finally:
            del self._buffer[:position]


def varint(value: int) -> bytes:
    """A protobuf varint of a number that is not negative."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def field(number: int, payload: bytes) -> bytes:
    """A length-delimited protobuf field.

    Protobuf messages may be joined from parts (a later part is merged into an earlier one), which is how
    large answers are put together here without being parsed and written again each time.
    """
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def varint_length(value: int) -> int:
    """How many bytes `varint` makes of a number."""
    return 1 if value < 0x80 else (value.bit_length() + 6) // 7
