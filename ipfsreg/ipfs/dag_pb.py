"""dag-pb, the format of blocks with links (https://ipld.io/specs/codecs/dag-pb/spec/)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from .cid import CID, CIDInvalid, decode_cid
from .varint import decode_varint, encode_varint

_VARINT, _BYTES = 0, 2


class BlockInvalid(ValueError):
    """Bytes that are no block of the format that they should have."""


@dataclass(frozen=True, slots=True)
class PBLink:
    """A link: ``size`` is the length of all the blocks it leads to, in bytes (Tsize)."""

    cid: CID
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class PBNode:
    """A block: its links, and bytes that mean something to a format above this one."""

    links: Sequence[PBLink]
    data: bytes


def encode_field(number: int, content: bytes) -> bytes:
    """A protobuf field of bytes, or of an embedded message."""
    return bytes((number << 3 | _BYTES,)) + encode_varint(len(content)) + content


@lru_cache(maxsize=1000)
def encode_number(number: int, value: int) -> bytes:
    """A protobuf field with a varint."""
    return bytes((number << 3 | _VARINT,)) + encode_varint(value)


def encode_link(cid: bytes, name: bytes, size: int) -> bytes:
    """A link as it is in a block; the name is written even where it is empty."""
    return encode_field(2, encode_field(1, cid) + encode_field(2, name) + encode_number(3, size))


def encode_node(node: PBNode) -> bytes:
    """The canonical bytes of a block: all links, in the order given, and then the data."""
    links = [encode_link(link.cid.binary, link.name.encode(), link.size) for link in node.links]
    return b"".join([*links, encode_field(1, node.data)])


def decode_fields(data: bytes | memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a protobuf message in their order: numbers and bytes, which is all that these formats have.

    :raises BlockInvalid: where it is none.
    """
    view, offset = memoryview(data), 0
    try:
        while offset < len(view):
            key, offset = decode_varint(view, offset)
            length, offset = decode_varint(view, offset)  # or the number itself
            if key & 7 == _VARINT:
                yield key >> 3, length
            elif key & 7 == _BYTES and length <= len(view) - offset:
                yield key >> 3, view[offset : offset + length]
                offset += length
            else:
                raise BlockInvalid("a field has a form that does not belong here")
    except (EOFError, ValueError) as error:
        raise BlockInvalid(str(error)) from None


def decode_node(block: bytes | memoryview) -> PBNode:
    """Read a block.

    :raises BlockInvalid: where it is none.
    """
    links, content = [], b""
    for number, value in decode_fields(block):
        if not isinstance(value, memoryview):
            raise BlockInvalid("a dag-pb block has no numbers of its own")
        if number == 2:
            links.append(_decode_link(value))
        elif number == 1:
            content = bytes(value)
    return PBNode(links, content)


def _decode_link(data: memoryview) -> PBLink:
    cid, name, size = None, "", 0
    for number, value in decode_fields(data):
        if number == 1 and isinstance(value, memoryview):
            try:
                cid, end = decode_cid(value)
            except CIDInvalid as error:
                raise BlockInvalid(str(error)) from None
            if end != len(value):
                raise BlockInvalid("there is more than a CID in a link")
        elif number == 2 and isinstance(value, memoryview):
            name = bytes(value).decode("utf-8", "replace")
        elif number == 3 and isinstance(value, int):
            size = value
    if cid is None:
        raise BlockInvalid("a link has no CID")
    return PBLink(cid, name, size)
