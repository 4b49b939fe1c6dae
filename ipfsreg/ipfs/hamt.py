"""Sharded directories (HAMT): those whose names are too many for one block, as a tree of blocks with 256 places each.

A name's place in the root is the first byte of the name's hash, in a block below it the second byte, and so on. A place
has an entry, or a link to a child shard where two names or more share it: so the same entries make the same blocks,
whatever came and went before, and they are those that Kubo makes.

The rules are https://specs.ipfs.tech/unixfs/#dag-pb-hamtdirectory, but for the bitfield, which says there that it is
little-endian: Kubo, and all who read its directories, have the highest place first, and no zero bytes before it.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Container, Iterable, Iterator, Mapping
from contextlib import aclosing
from typing import TypeAlias, TypeVar

import mmh3

from ipfsreg.flow.gather import gather

from .cid import CID, DAG_PB, cid_of
from .dag_pb import BlockInvalid, PBLink, PBNode, encode_node
from .unixfs import HAMT_SHARD, UnixFS, decode_unixfs, encode_unixfs

Load: TypeAlias = Callable[[CID], Awaitable[PBNode]]
"""The node of a CID. It is asked again for what it was asked before; whatever it raises goes through.

One that has every answer at once keeps the reactor busy for as long as the call takes, some 5 ms for each thousand
entries gone through: it should let the reactor have a turn now and then.
"""

Block: TypeAlias = tuple[CID, bytes]
"""A new block."""

FAN_OUT = 256
"""How many places a shard has."""

THRESHOLD = 262_144
"""Kubo shards a directory whose `estimated_size` is more (before 0.40: not less), and takes it back when it is not.

It takes back what is up to two bytes larger, for it counts the prefix of the entry that it removes (seen of 0.42).
"""

LOADS = 16
"""How many shards are loaded at a time."""

_MURMUR3 = 0x22  # murmur3-x64-64, in the table of multihashes
_DEPTH = 8  # bytes of a hash, and levels of shards: below the last there is nothing to place names by

_PREFIXES = [f"{index:02X}" for index in range(FAN_OUT)]

_Slots: TypeAlias = dict[int, PBLink]  # what a shard has by place: an entry, or a child shard, which has no name
_T = TypeVar("_T")


class HashExhausted(ValueError):
    """Two names have the same 64 bits of hash, so that no sharded directory can have both, here or in Kubo.

    It does not happen by chance, but who wants to can find such names; ``names`` are the two.
    """

    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"a sharded directory cannot have both {one!r} and {other!r}, whose hashes are the same")
        self.names = (one, other)


def is_shard(node: PBNode) -> bool:
    """Whether a directory's node is that of a sharded one.

    :raises BlockInvalid: where it is not UnixFS.
    """
    return decode_unixfs(node.data).kind == HAMT_SHARD


def estimated_size(entries: Iterable[PBLink]) -> int:
    """What Kubo compares with the `THRESHOLD`: the bytes of all names and CIDs."""
    return sum(len(link.name.encode()) + len(link.cid.binary) for link in entries)


async def is_large(load: Load, node: PBNode) -> bool:
    """Whether a sharded directory's `estimated_size` is more than the `THRESHOLD`.

    It loads no more shards than it takes to see that, all of them only where it is not.

    :raises BlockInvalid: where a block is not what it should be.
    """
    size = 0
    async with aclosing(_walk(load, node)) as shards:
        async for values in shards:
            size += estimated_size(values)
            if size > THRESHOLD:
                return True
    return False


async def find(load: Load, node: PBNode, name: str) -> PBLink | None:
    """The entry of a name, with its name; None where there is none.

    :raises BlockInvalid: where what was looked at of the blocks on the way is not what it should be.
    """
    for place in _hash(name):
        bits = _bitfield(node)
        if not bits >> place & 1:
            return None
        link = node.links[(bits & (1 << place) - 1).bit_count()]
        found = _unprefixed(link, place)
        if found:
            return PBLink(link.cid, found, link.size) if found == name else None
        node = await load(link.cid)
    raise BlockInvalid("a sharded directory has more levels than a hash has bytes")


async def entries(load: Load, node: PBNode) -> list[PBLink]:
    """All entries, sorted by the bytes of their names.

    :raises BlockInvalid: where a block is not what it should be.
    """
    found: list[PBLink] = []
    async with aclosing(_walk(load, node)) as shards:
        async for values in shards:
            found += values
    return sorted(found, key=lambda link: link.name.encode())


async def changed(load: Load, node: PBNode, changes: Mapping[str, PBLink | None]) -> tuple[PBNode | None, list[Block]]:
    """The directory's node after entries are set, or, with None, removed; and the child shards that are new to it.

    A change's key is the entry's name, whatever the link's is. The node is None where nothing is left, else still that
    of a sharded directory, and the one given where nothing changes. Its own block is not among the new ones, in which
    children come before their parents. A mode or a time that the directory had is not kept.

    :raises BlockInvalid: where a block is not what it should be.
    :raises HashExhausted: where two names cannot be in one directory.
    :raises ValueError: where a name is empty.
    """
    blocks: list[Block] = []
    before = _slots(node, b"")
    _check_names(changes)
    after = await _changed(load, before, changes, b"", blocks)
    if not after:
        return None, []
    return (node, []) if after == before else (_node(after), blocks)


def shard_of(entries: Iterable[PBLink]) -> tuple[PBNode, list[Block]]:
    """The node of a sharded directory with these entries, and its child shards, children before their parents.

    It takes some milliseconds for each thousand. Of entries with the same name the last counts.

    :raises HashExhausted: where two names cannot be in one directory.
    :raises ValueError: where a name is empty.
    """
    blocks: list[Block] = []
    values = {link.name: link for link in entries}
    _check_names(values)
    return _node(_built(values, 0, blocks)), blocks


def _hash(name: str) -> bytes:
    first, _ = mmh3.mmh3_x64_128_utupledigest(name.encode())
    return first.to_bytes(_DEPTH, "big")


def _check_names(names: Container[str]) -> None:
    if "" in names:  # in a shard, what has no name is a child
        raise ValueError("an entry of a directory has a name")


def _bitfield(node: PBNode) -> int:
    message = decode_unixfs(node.data)
    if (message.kind, message.hash_type, message.fan_out) != (HAMT_SHARD, _MURMUR3, FAN_OUT):
        raise BlockInvalid(f"not a shard of a directory with {FAN_OUT} places and murmur3-x64-64")
    bits = int.from_bytes(message.data, "big")
    if len(message.data) > FAN_OUT // 8 or bits.bit_count() != len(node.links):
        raise BlockInvalid("the bitfield of a shard does not go with its links")
    return bits


def _places(bits: int) -> Iterator[int]:
    while bits:
        yield (bits & -bits).bit_length() - 1
        bits &= bits - 1


def _unprefixed(link: PBLink, place: int) -> str:
    if not link.name.startswith(_PREFIXES[place]):
        raise BlockInvalid(f"a link in a shard does not begin with its place, {_PREFIXES[place]}")
    return link.name[2:]


def _slots(node: PBNode, path: bytes) -> _Slots:
    """What a shard has, checked in full; ``path`` are the places that led to it."""
    bits = _bitfield(node)
    if path and not bits:  # with these, a few blocks could make a directory that takes forever to walk
        raise BlockInvalid("a child shard has no entries")
    slots = {}
    for place, link in zip(_places(bits), node.links, strict=True):
        name = _unprefixed(link, place)
        if name and not _hash(name).startswith(path + bytes((place,))):
            raise BlockInvalid(f"a shard has the name {name!r}, whose place is not there")
        if not name and len(path) == _DEPTH - 1:
            raise BlockInvalid("a sharded directory has more levels than a hash has bytes")
        slots[place] = PBLink(link.cid, name, link.size)
    return slots


def _node(slots: _Slots) -> PBNode:
    bits, links = 0, []
    for place, link in sorted(slots.items()):
        bits |= 1 << place
        links.append(PBLink(link.cid, _PREFIXES[place] + link.name, link.size))
    bitfield = bits.to_bytes((bits.bit_length() + 7) // 8, "big")
    return PBNode(links, encode_unixfs(UnixFS(HAMT_SHARD, bitfield, hash_type=_MURMUR3, fan_out=FAN_OUT)))


async def _walk(load: Load, node: PBNode) -> AsyncGenerator[list[PBLink], None]:
    """The entries of each shard."""
    slots = _slots(node, b"")
    yield [link for link in slots.values() if link.name]
    below = [(bytes((place,)), link.cid) for place, link in slots.items() if not link.name]
    while below:
        some = below[-LOADS:]
        del below[-LOADS:]
        for (path, _), child in zip(some, await gather(load, [cid for _, cid in some], LOADS), strict=True):
            slots = _slots(child, path)
            yield [link for link in slots.values() if link.name]
            below += [(path + bytes((place,)), link.cid) for place, link in slots.items() if not link.name]


async def _changed(
    load: Load, slots: _Slots, changes: Mapping[str, PBLink | None], path: bytes, blocks: list[Block]
) -> _Slots:
    """A shard's slots after changes to names that have their place in it; ``blocks`` takes the shards new below it."""
    after, below = dict(slots), {}
    for place, here in _by_place(changes, len(path)).items():
        link = slots.get(place)
        if link is not None and not link.name:
            below[place] = here
            continue
        values = {link.name: link, **here} if link else here
        after.pop(place, None)
        if kept := {name: link for name, link in values.items() if link is not None}:
            after[place] = _standing_for(kept, len(path) + 1, blocks)
    children = await gather(load, [slots[place].cid for place in below], LOADS)
    for place, child in zip(below, children, strict=True):
        inside = path + bytes((place,))
        old = _slots(child, inside)
        new = await _changed(load, old, below[place], inside, blocks)
        if new != old:
            del after[place]
            if len(new) == 1 and (only := next(iter(new.values()))).name:
                after[place] = only
            elif new:
                after[place] = _child(new, blocks)
    return after


def _built(values: Mapping[str, PBLink], depth: int, blocks: list[Block]) -> _Slots:
    """The slots of a shard with these entries, so many levels down; ``blocks`` takes the shards below it."""
    if depth == _DEPTH:
        raise HashExhausted(*list(values)[:2])
    return {place: _standing_for(here, depth + 1, blocks) for place, here in _by_place(values, depth).items()}


def _standing_for(values: Mapping[str, PBLink], depth: int, blocks: list[Block]) -> PBLink:
    """What the place of these entries has: the entry, or a shard of them that is so many levels down."""
    if len(values) > 1:
        return _child(_built(values, depth, blocks), blocks)
    ((name, link),) = values.items()
    return PBLink(link.cid, name, link.size)


def _child(slots: _Slots, blocks: list[Block]) -> PBLink:
    block = encode_node(_node(slots))
    blocks.append((cid_of(DAG_PB, block), block))
    return PBLink(blocks[-1][0], "", len(block) + sum(link.size for link in slots.values()))


def _by_place(named: Mapping[str, _T], depth: int) -> dict[int, dict[str, _T]]:
    places: dict[int, dict[str, _T]] = {}
    for name, each in named.items():
        places.setdefault(_hash(name)[depth], {})[name] = each
    return places
