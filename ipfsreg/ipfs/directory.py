"""Directories: a block with a link for each name."""

from collections.abc import Iterable

from .dag_pb import Link, Node, encode_node
from .unixfs import DIRECTORY, UnixFS, encode_unixfs

_DATA = encode_unixfs(UnixFS(DIRECTORY))


def encode_directory(entries: Iterable[Link]) -> bytes:
    """The block of a directory with these entries, as `ipfs add` writes one that is not too large for one block."""
    return encode_node(Node(sorted(entries, key=lambda link: link.name.encode()), _DATA))
