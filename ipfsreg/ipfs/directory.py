"""Directories: a block with a link for each name."""

from collections.abc import Iterable

from .dag_pb import Link, Node, encode_node
from .unixfs import DIRECTORY, UnixFS, encode_unixfs

_DATA = encode_unixfs(UnixFS(DIRECTORY))


def directory_node(entries: Iterable[Link]) -> Node:
    """A directory with these entries, as `ipfs add` makes one that is not too large for one block."""
    return Node(sorted(entries, key=lambda link: link.name.encode()), _DATA)


def encode_directory(entries: Iterable[Link]) -> bytes:
    """The block of such a directory."""
    return encode_node(directory_node(entries))
