"""The DAG of a file, known by the hashes of its leaves: balanced, raw leaves, CIDv1, sha2-256.

The form is regular, so 32 bytes a leaf say all: a node's place tells which bytes of the file are below it, and an
inner node's block is made again from its children whenever it is wanted.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from .cid import CID, DAG_PB, RAW, SHA2_256
from .dag_pb import encode_field, encode_link
from .unixfs import FILE, UnixFS, encode_unixfs

HASH = 32
"""The length of a sha256 in bytes."""


@dataclass(frozen=True, slots=True)
class Profile:
    """How a file becomes a DAG: the length of a leaf in bytes, and how many children a node has at most."""

    chunk: int = 1024 * 1024
    links: int = 1024


PROFILE = Profile()
"""``unixfs-v1-2025`` (IPIP-499)."""


@dataclass(frozen=True, slots=True, order=True)
class BlockPlace:
    """Where a node is: ``level`` 0 are the leaves, ``number`` counts from 0 within the level."""

    level: int
    number: int


class FileDag:
    """The DAG of a file of ``size`` bytes whose leaves have the sha256 hashes ``leaves``, one after the other.

    :raises ValueError: where their number does not go with the size.
    """

    def __init__(self, leaves: bytes, size: int, profile: Profile = PROFILE) -> None:
        if len(leaves) != HASH * max(-(-size // profile.chunk), 1):
            raise ValueError(f"{len(leaves)} bytes of hashes do not go with {size} bytes of content")
        self.leaves = leaves
        self.size = size
        self.profile = profile
        self._hashes = [leaves]
        self._totals: list[list[int]] = []  # of each inner level: the length of all blocks at and below a node
        while len(self._hashes[-1]) > HASH:
            self._add_level()

    @property
    def root(self) -> BlockPlace:
        """The node that stands for the file."""
        return BlockPlace(len(self._hashes) - 1, 0)

    @property
    def cid(self) -> CID:
        """The file's CID."""
        return self.cid_at(self.root)

    def count(self, level: int) -> int:
        """How many nodes a level has."""
        return len(self._hashes[level]) // HASH

    def hash_at(self, place: BlockPlace) -> bytes:
        """The sha256 of a node's block."""
        return self._hashes[place.level][place.number * HASH : (place.number + 1) * HASH]

    def cid_at(self, place: BlockPlace) -> CID:
        """A node's CID."""
        return CID(1, DAG_PB if place.level else RAW, SHA2_256, self.hash_at(place))

    def range_at(self, place: BlockPlace) -> tuple[int, int]:
        """Which bytes of the file are below a node: the first, and the one past the last."""
        return range_of(place, self.size, self.profile)

    def children(self, place: BlockPlace) -> Iterator[BlockPlace]:
        """The nodes that a node links to, in order. A leaf has none."""
        if place.level:
            first = place.number * self.profile.links
            for number in range(first, min(first + self.profile.links, self.count(place.level - 1))):
                yield BlockPlace(place.level - 1, number)

    def block(self, place: BlockPlace) -> bytes:
        """The block of an inner node. One with all its links takes a millisecond."""
        links, sizes = [], []
        known, before, behind = -1, b"", b""
        for child in self.children(place):
            total = self._total(child)
            if total != known:  # all but the last are alike but for the hash
                no_hash = CID(1, DAG_PB if child.level else RAW, SHA2_256, bytes(HASH))
                before, _, behind = encode_link(no_hash.binary, b"", total).partition(no_hash.hash)
                known = total
            links.append(before + self.hash_at(child) + behind)
            first, end = self.range_at(child)
            sizes.append(end - first)
        return b"".join(links) + encode_field(1, encode_unixfs(UnixFS(FILE, size=sum(sizes), block_sizes=sizes)))

    def inner_nodes(self) -> Iterator[BlockPlace]:
        """Every node that is not a leaf."""
        for level in range(1, len(self._hashes)):
            for number in range(self.count(level)):
                yield BlockPlace(level, number)

    def walk(self, top: BlockPlace, first: int = 0, end: int | None = None) -> Iterator[BlockPlace]:
        """A node and those below it, depth first, that have bytes of the file from ``first`` to before ``end``."""
        stack = [top]
        while stack:
            place = stack.pop()
            yield place
            below = [(each, *self.range_at(each)) for each in self.children(place)]
            wanted = [each for each, begin, past in below if past > first and (end is None or begin < end)]
            stack += reversed(wanted)

    def block_size(self, place: BlockPlace) -> int:
        """The length of a node's block in bytes."""
        if not place.level:
            first, end = self.range_at(place)
            return end - first
        return self._total(place) - sum(self._total(each) for each in self.children(place))

    def _total(self, place: BlockPlace) -> int:
        if not place.level:
            first, end = self.range_at(place)
            return end - first
        return self._totals[place.level - 1][place.number]

    def _add_level(self) -> None:
        level = len(self._hashes)
        hashes, totals = bytearray(), []
        for number in range(-(-self.count(level - 1) // self.profile.links)):
            block = self.block(BlockPlace(level, number))
            hashes += hashlib.sha256(block).digest()
            totals.append(len(block) + sum(self._total(each) for each in self.children(BlockPlace(level, number))))
        self._hashes.append(bytes(hashes))
        self._totals.append(totals)


def range_of(place: BlockPlace, size: int, profile: Profile = PROFILE) -> tuple[int, int]:
    """Which bytes of a file of ``size`` bytes are below a node: the first, and the one past the last."""
    span = profile.chunk * profile.links**place.level
    return min(place.number * span, size), min((place.number + 1) * span, size)
