"""Unsigned LEB128 numbers, as multiformats, protobuf and CAR write them."""

MAX_LENGTH = 9
"""The longest in bytes that is read: 63 bits, as the unsigned-varint specification has it."""


def encode_varint(number: int) -> bytes:
    """The shortest form of a number that is not negative."""
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def decode_varint(data: bytes | bytearray | memoryview, offset: int = 0) -> tuple[int, int]:
    """Read a number; answers it and the offset behind it.

    :raises EOFError: where the data ends within it.
    :raises ValueError: where it is longer than `MAX_LENGTH`, or than it need be.
    """
    if offset < len(data) and data[offset] < 0x80:  # most of them, and there are very many
        return data[offset], offset + 1
    number = shift = 0
    for index in range(offset, min(offset + MAX_LENGTH, len(data))):
        byte = data[index]
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            if not byte and index > offset:
                raise ValueError("a number is longer than it need be")
            return number, index + 1
    if len(data) - offset >= MAX_LENGTH:
        raise ValueError("a number is too long")
    raise EOFError("the data ends within a number")
