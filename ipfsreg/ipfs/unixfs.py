"""UnixFS: files and directories in the data of dag-pb blocks (https://specs.ipfs.tech/unixfs/)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .dag_pb import BlockInvalid, PBLink, PBNode, decode_fields, encode_field, encode_node, encode_number

RAW_LEAF, DIRECTORY, FILE, METADATA, SYMLINK, HAMT_SHARD = range(6)


@dataclass(frozen=True, slots=True)
class UnixFS:
    """What a block says of its file or directory.

    ``data`` are the bytes of the file that are in the block itself, ``size`` is the length of the whole file below it
    (None: not said), and ``block_sizes`` are the lengths of the parts below its links. A shard of a directory has a
    bitfield as ``data``; ``hash_type`` is the multihash function that places its names, ``fan_out`` how many places
    there are.
    """

    kind: int
    data: bytes = b""
    size: int | None = None
    block_sizes: Sequence[int] = ()
    hash_type: int | None = None
    fan_out: int | None = None


def encode_unixfs(node: UnixFS) -> bytes:
    """The message, with its fields in the order that all implementations write."""
    fields = [encode_number(1, node.kind)]
    if node.data:
        fields.append(encode_field(2, node.data))
    if node.size is not None:
        fields.append(encode_number(3, node.size))
    fields += [encode_number(4, size) for size in node.block_sizes]
    if node.hash_type is not None:
        fields.append(encode_number(5, node.hash_type))
    if node.fan_out is not None:
        fields.append(encode_number(6, node.fan_out))
    return b"".join(fields)


def decode_unixfs(data: bytes) -> UnixFS:
    """Read the message.

    :raises BlockInvalid: where it is none.
    """
    content, block_sizes = b"", []
    numbers: dict[int, int] = {}
    for field, value in decode_fields(data):
        if isinstance(value, memoryview):
            content = bytes(value) if field == 2 else content
        elif field == 4:
            block_sizes.append(value)
        else:
            numbers[field] = value
    if 1 not in numbers:
        raise BlockInvalid("a UnixFS message does not say what it is")
    return UnixFS(numbers[1], content, numbers.get(3), block_sizes, numbers.get(5), numbers.get(6))


def directory_node(entries: Iterable[PBLink]) -> PBNode:
    """A directory with these entries, as `ipfs add` makes one that is not too large for one block."""
    return PBNode(sorted(entries, key=lambda link: link.name.encode()), encode_unixfs(UnixFS(DIRECTORY)))


def encode_directory(entries: Iterable[PBLink]) -> bytes:
    """The block of such a directory."""
    return encode_node(directory_node(entries))
