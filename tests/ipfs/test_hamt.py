"""Sharded directories: the same entries make the same blocks, whatever came before, and what is no shard is told."""

from collections.abc import Awaitable, Iterable
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from typing import Any, TypeVar
from unittest.mock import patch

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from ipfsreg.ipfs import hamt
from ipfsreg.ipfs.cid import CID, DAG_PB, cid_of, parse_cid, raw_cid
from ipfsreg.ipfs.dag_pb import BlockInvalid, PBLink, PBNode, decode_node, encode_node
from ipfsreg.ipfs.hamt import FAN_OUT, LOADS, THRESHOLD, HashExhausted, changed, entries, find, is_large, shard_of
from ipfsreg.ipfs.unixfs import FILE, HAMT_SHARD, UnixFS, encode_directory, encode_unixfs

from .blocks import Blocks

T = TypeVar("T")


class Shards(Blocks):
    """Shards by CID. A block is taken only when all child shards that it leads to are there."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[CID] = []

    def keep(self, node: PBNode, blocks: Iterable[hamt.Block]) -> PBNode:
        for cid, block in [*blocks, (cid_of(DAG_PB, encode_node(node)), encode_node(node))]:
            assert all(link.cid in self.blocks for link in decode_node(block).links if len(link.name) == 2)
            assert self.put(DAG_PB, block) == cid
        return node

    async def load(self, cid: CID) -> PBNode:
        self.loaded.append(cid)
        return decode_node(self.get(cid))


def value(awaited: Awaitable[T]) -> T:
    """What something awaits that has to wait for nothing."""
    results: list[Any] = []

    async def wait() -> T:
        return await awaited

    Deferred.fromCoroutine(wait()).addBoth(results.append)
    (result,) = results
    if hasattr(result, "raiseException"):
        result.raiseException()
    assert not isinstance(result, Deferred)
    return result  # type: ignore[no-any-return]


def entry(name: str, content: int = 0) -> PBLink:
    return PBLink(raw_cid(sha256(b"%d" % content).digest()), name, content)


def in_order(links: Iterable[PBLink]) -> list[PBLink]:
    return sorted(links, key=lambda link: link.name.encode())


def distinct(names: Iterable[str], bits: int) -> list[str]:
    """The names that remain distinct with a hash of so many bits a byte."""
    return list({_weak(name, bits): name for name in names}.values())


def _weak(name: str, bits: int, full: Any = hamt._hash) -> bytes:
    return bytes(byte & (1 << bits) - 1 for byte in full(name))


def weak_hashes(bits: int) -> Any:
    """Names collide in most bytes of their hashes, so that directories of some entries are deep."""
    return patch.object(hamt, "_hash", lambda name: _weak(name, bits))


NAMES = [*map(str, range(150)), "ß", "名", "a b", "00", "FF", "x" * 200]
DEEP, FLATTER = distinct(NAMES, 1), distinct(NAMES, 2)


def test_the_example_of_the_specification() -> None:
    file = parse_cid("bafybeigcisqd7m5nf3qmuvjdbakl5bdnh4ocrmacaqkpuh77qjvggmt2sa")
    node, blocks = shard_of(PBLink(file, f"{number}.txt", 1271) for number in range(1, 1001))
    root = encode_node(node)
    assert len(root) == 12046
    assert str(cid_of(DAG_PB, root)) == "bafybeidbclfqleg2uojchspzd4bob56dqetqjsj27gy2cq3klkkgxtpn4i"
    assert node.links[0].name == "00"
    assert str(node.links[0].cid) == "bafybeiaebmuestgbpqhkkbrwl2qtjtvs3whkmp2trkbkimuod4yv7oygni"
    assert node.links[0].size == 2693
    children = {cid: decode_node(block) for cid, block in blocks}
    assert [link.name for link in children[node.links[0].cid].links] == ["6E470.txt", "FF742.txt"]


@given(st.sampled_from([(1, DEEP), (2, FLATTER), (8, NAMES)]), st.data())
def test_any_changes_make_what_the_result_makes(which: tuple[int, list[str]], data: st.DataObject) -> None:
    bits, names = which
    contents = st.none() | st.integers(0, 2)
    batches = st.lists(st.dictionaries(st.sampled_from(names), contents, max_size=12), max_size=6)
    shards = Shards()
    model = {name: entry(name) for name in data.draw(st.sets(st.sampled_from(names)))}
    with weak_hashes(bits):
        node, made = shard_of(model.values())
        shards.keep(node, made)
        for batch in data.draw(batches):
            changes = {name: None if content is None else entry(name, content) for name, content in batch.items()}
            before, had = model, {cid for cid, _ in made}
            model = {name: link for name, link in ({**model, **changes}).items() if link is not None}
            after, new = value(changed(shards.load, node, changes))
            node, made = shard_of(model.values())
            assert after == (node if model else None)
            assert {cid for cid, _ in new} == {cid for cid, _ in made} - had
            assert len(new) == len({cid for cid, _ in new})
            if model == before:
                assert not new
            shards.keep(node, new)
            assert value(entries(shards.load, node)) == in_order(model.values())
            for name in names:
                assert value(find(shards.load, node, name)) == model.get(name)


def test_names_that_really_collide() -> None:
    by_hash: dict[bytes, list[str]] = {}
    for number in range(20_000):
        by_hash.setdefault(hamt._hash(str(number))[:3], []).append(str(number))
    names = max(by_hash.values(), key=len)
    assert len(names) > 1  # 24 bits are the same: three shards with a place each above the one that has them apart
    shards, links = Shards(), [entry(name) for name in names]
    node = shards.keep(*shard_of(links))
    assert len(node.links) == 1
    assert value(entries(shards.load, node)) == in_order(links)
    assert value(find(shards.load, node, names[0])) == entry(names[0])
    assert value(find(shards.load, node, "another")) is None
    gone: dict[str, PBLink | None] = dict.fromkeys(names[1:])
    after, new = value(changed(shards.load, node, gone))
    assert new == []
    assert after is not None
    assert [link.name[2:] for link in after.links] == [names[0]]


def test_only_what_changes_is_loaded() -> None:
    shards = Shards()
    node = shards.keep(*shard_of(entry(str(number)) for number in range(5000)))
    assert value(find(shards.load, node, "77")) == entry("77")
    assert len(shards.loaded) <= 2
    shards.loaded.clear()
    after, new = value(changed(shards.load, node, {"77": entry("other", 1), "none": None}))
    assert after is not None
    assert len(shards.loaded) <= 4
    assert len(new) <= 2
    shards.keep(after, new)
    assert value(find(shards.load, after, "77")) == entry("77", 1)


def test_what_changes_nothing_leaves_the_node() -> None:
    """Also one that others made in another form, here with a mode."""
    shards = Shards()
    node = shards.keep(*shard_of(map(entry, NAMES)))
    node = replace(node, data=node.data + bytes.fromhex("38ed03"))
    assert value(changed(shards.load, node, {"0": entry("0"), "none": None}))[0] is node
    assert value(changed(shards.load, node, {})) == (node, [])
    assert value(entries(shards.load, node)) == in_order(map(entry, NAMES))


def test_whether_a_directory_is_large() -> None:
    names = [sha256(b"%d" % number).hexdigest() for number in range(6000)]
    size = len(entry(names[0]).cid.binary) + len(names[0])
    limit, rest = divmod(THRESHOLD, size)
    filler = entry("x" * (size + rest - len(entry("").cid.binary)))
    at = [*map(entry, names[: limit - 1]), filler]
    assert hamt.estimated_size(at) == THRESHOLD
    for links, large in ((at, False), ([*at[:-1], replace(filler, name=filler.name + "x")], True)):
        shards = Shards()
        assert value(is_large(shards.load, shards.keep(*shard_of(links)))) is large
    shards = Shards()
    assert value(is_large(shards.load, shards.keep(*shard_of(map(entry, names)))))
    assert len(shards.loaded) < len(shards.blocks) * 0.6


@pytest_twisted.ensureDeferred
async def test_several_shards_are_loaded_at_a_time_but_not_all() -> None:
    links = [entry(str(number)) for number in range(2000)]
    shards, under_way, most = Shards(), 0, 0
    node = shards.keep(*shard_of(links))

    async def load(cid: CID) -> PBNode:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await deferLater(reactor, 0, lambda: None)
        under_way -= 1
        return await shards.load(cid)

    assert await entries(load, node) == in_order(links)
    after, _ = await changed(load, node, {link.name: None for link in links[:1990]})
    assert after == shard_of(links[1990:])[0]
    assert most == LOADS


@pytest_twisted.ensureDeferred
async def test_what_loading_raises_goes_through() -> None:
    shards = Shards()
    node = shards.keep(*shard_of(entry(str(number)) for number in range(2000)))
    (missing,) = {link.cid for link in node.links if link.name == f"{hamt._hash('7')[0]:02X}"}
    del shards.blocks[missing]
    for ask in (entries, is_large):
        with pytest.raises(KeyError):
            await ask(shards.load, node)
    with pytest.raises(KeyError):
        await find(shards.load, node, "7")
    with pytest.raises(KeyError):
        await changed(shards.load, node, {"7": None, "8": None})


def test_names_with_the_same_hash_cannot_be_together() -> None:
    shards = Shards()
    with patch.object(hamt, "_hash", lambda name: name[:1].encode() * 8):
        node = shards.keep(*shard_of(map(entry, ("a1", "b1"))))
        with pytest.raises(HashExhausted, match="'a1' and 'a2'") as raised:
            value(changed(shards.load, node, {"a2": entry("a2")}))
        assert raised.value.names == ("a1", "a2")
        with pytest.raises(HashExhausted):
            shard_of(map(entry, ("a1", "a2")))
        after, _ = value(changed(shards.load, node, {"a2": entry("a2"), "a1": None}))
        assert after == shard_of(map(entry, ("a2", "b1")))[0]


def test_hashes_that_differ_in_the_last_byte_alone() -> None:
    shards = Shards()
    with patch.object(hamt, "_hash", lambda name: bytes(7) + name[-1:].encode()):
        node, blocks = shard_of(map(entry, ("1", "2")))
        shards.keep(node, blocks)
        assert len(blocks) == 7
        assert value(entries(shards.load, node)) == [entry("1"), entry("2")]
        assert value(find(shards.load, node, "2")) == entry("2")
        assert value(find(shards.load, node, "12")) is None
        assert value(changed(shards.load, node, {"2": None}))[0] == shard_of([entry("1")])[0]


def test_an_entry_has_a_name() -> None:
    shards = Shards()
    node = shards.keep(*shard_of([entry("1")]))
    with pytest.raises(ValueError, match="has a name"):
        shard_of([entry("")])
    with pytest.raises(ValueError, match="has a name"):
        value(changed(shards.load, node, {"": entry("1")}))
    assert value(find(shards.load, node, "")) is None


def test_which_nodes_are_shards() -> None:
    assert hamt.is_shard(shard_of([])[0])
    assert not hamt.is_shard(decode_node(encode_directory([entry("1")])))
    with pytest.raises(BlockInvalid):
        hamt.is_shard(PBNode([], b""))


# A name whose first two places have letters among their hexadecimal digits.
NAME = next(name for name in map(str, range(10_000)) if all(f"{place:02X}".isalpha() for place in hamt._hash(name)[:2]))
PLACE, NEXT_PLACE, *_ = hamt._hash(NAME)


def message_of(places: Iterable[int]) -> UnixFS:
    return UnixFS(HAMT_SHARD, sum(1 << place for place in places).to_bytes(32, "big"), None, (), 0x22, FAN_OUT)


def shard(links: dict[int, PBLink]) -> PBNode:
    """A shard with links as they are, right in everything else."""
    return PBNode(list(links.values()), encode_unixfs(message_of(links)))


def at(place: int, link: PBLink) -> PBLink:
    """A link as a shard has it."""
    return replace(link, name=f"{place:02X}{link.name}")


def to(place: int, cid: CID) -> PBLink:
    """A link to a child shard."""
    return at(place, PBLink(cid, "", 0))


def bad_shards(place: int) -> dict[str, PBNode]:
    """Shards with one entry, NAME, whose place is given, and something wrong."""
    good, link = message_of([place]), at(place, entry(NAME))

    def said(**wrong: Any) -> PBNode:
        return PBNode([link], encode_unixfs(replace(good, **wrong)))

    def named(name: str) -> PBNode:
        return shard({place: replace(link, name=name)})

    return {
        "no shard": said(kind=FILE),
        "another fan-out": said(fan_out=512),
        "no fan-out": said(fan_out=None),
        "another hash": said(hash_type=0x12),
        "no hash": said(hash_type=None),
        "more bits than links": said(data=message_of([place, place ^ 1]).data),
        "more links than bits": PBNode([link, link], encode_unixfs(good)),
        "a bitfield that is too long": said(data=b"\0" + good.data),
        "another place": named(f"{place ^ 1:02X}{NAME}"),
        "small letters": named(f"{place:02x}{NAME}"),
        "no place": named(f"zz{NAME}"),
        "half a place": named(f"{place:02X}"[:1]),
        "no name": named(""),
        "no message": PBNode([link], b""),
        "no protobuf": PBNode([link], b"\xff"),
    }


def test_a_good_one_for_comparison() -> None:
    shards = Shards()
    child = shards.put(DAG_PB, encode_node(shard({NEXT_PLACE: at(NEXT_PLACE, entry(NAME))})))
    for node in (shard({PLACE: at(PLACE, entry(NAME))}), shard({PLACE: to(PLACE, child)})):
        assert value(entries(shards.load, node)) == [entry(NAME)]
        assert value(find(shards.load, node, NAME)) == entry(NAME)
        assert value(changed(shards.load, node, {NAME: entry(NAME, 1)})) == shard_of([entry(NAME, 1)])


@pytest.mark.parametrize("bad", bad_shards(0))
def test_what_is_no_shard(bad: str) -> None:
    """At the root, and as a child."""
    shards = Shards()
    child = shards.put(DAG_PB, encode_node(bad_shards(NEXT_PLACE)[bad]))
    for node in (bad_shards(PLACE)[bad], shard({PLACE: to(PLACE, child)})):
        for ask in (
            lambda node: find(shards.load, node, NAME),
            lambda node: entries(shards.load, node),
            lambda node: changed(shards.load, node, {NAME: None}),
            lambda node: is_large(shards.load, node),
        ):
            with pytest.raises(BlockInvalid):
                value(ask(node))


def test_a_name_where_its_hash_does_not_lead() -> None:
    """It would be listed, but not be found."""
    shards = Shards()
    stray = next(str(number) for number in range(1000) if hamt._hash(str(number))[0] != PLACE)
    node = shard({PLACE: at(PLACE, entry(stray))})
    with pytest.raises(BlockInvalid, match="place is not there"):
        value(entries(shards.load, node))
    with pytest.raises(BlockInvalid, match="place is not there"):
        value(changed(shards.load, node, {NAME: entry(NAME)}))


def test_more_levels_than_there_can_be() -> None:
    shards = Shards()
    node = shard_of([entry(NAME)])[0]
    for place in reversed(hamt._hash(NAME)):
        node = shard({place: to(place, shards.put(DAG_PB, encode_node(node)))})
    with pytest.raises(BlockInvalid, match="more levels"):
        value(find(shards.load, node, NAME))
    with pytest.raises(BlockInvalid, match="more levels"):
        value(entries(shards.load, node))
    with pytest.raises(BlockInvalid, match="more levels"):
        value(changed(shards.load, node, {NAME: None}))


@pytest.mark.parametrize("last", [shard({}), shard({PLACE: at(PLACE, entry(NAME))})], ids=["nothing", "an entry"])
def test_few_blocks_cannot_make_endless_directories(last: PBNode) -> None:
    """All 256 places of a shard lead to the same child, and so on."""
    shards, node = Shards(), last
    for _ in range(6):
        below = shards.put(DAG_PB, encode_node(node))
        node = shard({place: to(place, below) for place in range(FAN_OUT)})
    with pytest.raises(BlockInvalid):
        value(entries(shards.load, node))
    assert len(shards.loaded) <= 6 * LOADS


fields = st.sampled_from([None, 0, 0x22, FAN_OUT])
messages = st.builds(UnixFS, st.just(HAMT_SHARD), st.binary(max_size=34), st.none(), st.just([]), fields, fields)


def named_shards(names: list[str], children: set[int]) -> PBNode:
    """A shard of names that are in their places, and of children that cannot be loaded."""
    links = {hamt._hash(name)[0]: entry(name) for name in names} | dict.fromkeys(children, entry(""))
    return shard({place: at(place, links[place]) for place in sorted(links)})


nodes = st.builds(PBNode, st.lists(st.builds(entry, st.text(max_size=3)), max_size=4), messages.map(encode_unixfs))
nodes |= st.builds(named_shards, st.lists(st.sampled_from(NAMES)), st.sets(st.integers(0, FAN_OUT - 1), max_size=3))


@given(nodes, st.sampled_from(NAMES))
def test_no_node_is_a_surprise(node: PBNode, name: str) -> None:
    shards = Shards()
    with suppress(BlockInvalid, KeyError):
        value(find(shards.load, node, name))
    with suppress(BlockInvalid, KeyError):
        assert len(value(entries(shards.load, node))) == len(node.links)
    with suppress(BlockInvalid, KeyError):
        value(changed(shards.load, node, {name: entry(name, 1)}))
