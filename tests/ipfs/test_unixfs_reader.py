"""Files and directories out of blocks, of every form there is."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipfsreg.ipfs import unixfs_reader
from ipfsreg.ipfs.cid import CID, DAG_PB, RAW
from ipfsreg.ipfs.dag_pb import BlockInvalid, PBLink, PBNode, encode_node
from ipfsreg.ipfs.file_dag import Profile
from ipfsreg.ipfs.unixfs import FILE, UnixFS, encode_unixfs
from ipfsreg.ipfs.unixfs_reader import LinkMissing, file_size, read_directory, read_file

from .blocks import Blocks
from .files import content, file_dag


@st.composite
def files(draw: st.DrawFn) -> tuple[Blocks, CID, bytes]:
    """A file of any shape: bytes in inner nodes, leaves of both kinds, some empty, at any depth."""
    blocks = Blocks()

    def node(depth: int) -> tuple[CID, bytes]:
        data = draw(st.binary(max_size=6))
        kind = draw(st.sampled_from(["raw", "leaf", "inner"])) if depth else "inner"
        if kind == "raw" or depth > 3:
            return blocks.raw(data), data
        if kind == "leaf":
            return blocks.leaf(data), data
        below = [node(depth + 1) for _ in range(draw(st.integers(0, 3)))]
        whole = data + b"".join(each for _, each in below)
        return blocks.file([(cid, len(each)) for cid, each in below], data), whole

    cid, whole = node(0)
    return blocks, cid, whole


@given(files(), st.data())
def test_any_part_of_any_file(file: tuple[Blocks, CID, bytes], data: st.DataObject) -> None:
    blocks, cid, whole = file
    assert file_size(blocks.get, cid) == len(whole)
    first = data.draw(st.integers(0, len(whole)))
    length = data.draw(st.integers(0, len(whole) - first))
    assert b"".join(read_file(blocks.get, cid, first, length)) == whole[first : first + length]
    with pytest.raises(BlockInvalid, match="ends before"):
        list(read_file(blocks.get, cid, first, len(whole) - first + 1))


@given(st.integers(0, 400), st.integers(0, 400))
def test_our_own_files(length: int, first: int) -> None:
    whole, blocks = content(length), Blocks()
    dag = file_dag(whole, Profile(chunk=4, links=3))
    for place in dag.walk(dag.root):
        begin, end = dag.range_at(place)
        blocks.put(DAG_PB if place.level else RAW, dag.block(place) if place.level else whole[begin:end])
    first = min(first, length)
    assert b"".join(read_file(blocks.get, dag.cid, first, length - first)) == whole[first:]


def test_a_part_is_found_without_reading_what_comes_before() -> None:
    blocks = Blocks()
    parts = [(blocks.raw(bytes([number])), 1) for number in range(4)]
    root = blocks.file(parts)
    for cid, _ in (*parts[:2], parts[3]):
        del blocks.blocks[cid]
    assert b"".join(read_file(blocks.get, root, 2, 1)) == b"\2"


def test_lengths_that_are_not_true() -> None:
    blocks = Blocks()
    short = blocks.file([(blocks.raw(b"abc"), 5)])
    with pytest.raises(BlockInvalid, match="length that the block above"):
        list(read_file(blocks.get, short, 0, 5))
    node = PBNode([PBLink(blocks.raw(b"abc"), "", 3)], encode_unixfs(UnixFS(FILE)))
    with pytest.raises(BlockInvalid, match="how long its parts are"):
        file_size(blocks.get, blocks.put(DAG_PB, encode_node(node)))


def test_a_file_that_is_made_of_itself_many_times_is_read_no_further_than_asked_for() -> None:
    blocks = Blocks()
    cid, size = blocks.raw(b"x" * 100), 100
    for _ in range(50):  # 100 · 2^50 bytes
        cid, size = blocks.file([(cid, size), (cid, size)]), size * 2
    assert file_size(blocks.get, cid) == 100 * 2**50
    assert sum(map(len, read_file(blocks.get, cid, 2**50, 1000))) == 1000
    nothing = blocks.raw(b"")
    for _ in range(50):
        nothing = blocks.file([(nothing, 0), (nothing, 0)])
    with pytest.raises(BlockInvalid):
        list(read_file(blocks.get, nothing, 0, 1))


def test_the_work_for_a_file_is_bounded_by_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two thousand links to one long chain of blocks, at whose end there is a byte."""
    monkeypatch.setattr(unixfs_reader, "LINKS_FREE", 5000)
    blocks, asked = Blocks(), []
    chain = blocks.raw(b"x")
    for _ in range(200):
        chain = blocks.file([(chain, 1)])
    bomb = blocks.file([(chain, 1)] * 2000)

    def get(cid: CID) -> bytes:
        asked.append(cid)
        return blocks.get(cid)

    with pytest.raises(BlockInvalid, match="too many blocks"):
        list(read_file(get, bomb, 0, 2000))
    assert len(asked) <= 5000
    # Parts as small as no chunker makes them are read all the same.
    small = blocks.file([(blocks.raw(bytes(64)), 64)] * 20_000)
    monkeypatch.setattr(unixfs_reader, "LINKS_FREE", 20_001)
    assert sum(map(len, read_file(blocks.get, small, 0, 64 * 20_000))) == 64 * 20_000


def test_the_work_for_a_directory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards without names, which lead to ever more of them, or many times to the same one."""
    monkeypatch.setattr(unixfs_reader, "SHARDS_MAX", 500)
    blocks, asked = Blocks(), []
    root = blocks.raw(b"")

    def get(cid: CID) -> bytes:
        asked.append(cid)
        return blocks.get(cid)

    wide = blocks.shard(
        [
            ("", blocks.shard([("", blocks.directory(**{f"{number}-{place}": root})) for place in range(40)]))
            for number in range(40)
        ]
    )
    with pytest.raises(BlockInvalid, match="more entries than are read"):
        read_directory(get, wide)
    assert len(asked) <= 500
    asked.clear()
    below = blocks.shard([("name", blocks.raw(b""))])
    for _ in range(7):
        below = blocks.shard([("", below)] * 200)
    with pytest.raises(BlockInvalid, match="same shard twice"):
        read_directory(get, below)
    assert len(asked) == 1


def test_directories_sharded_or_not() -> None:
    blocks = Blocks()
    one, two, three = (blocks.raw(bytes([number])) for number in range(3))
    assert read_directory(blocks.get, blocks.directory(a=one, b=two)) == {"a": one, "b": two}
    below = blocks.shard([("c", three)])
    assert read_directory(blocks.get, blocks.shard([("a", one), ("", below), ("b", two)])) == {
        "a": one,
        "b": two,
        "c": three,
    }
    for other in (one, blocks.leaf(b"x")):
        with pytest.raises(LinkMissing):
            read_directory(blocks.get, other)
    with pytest.raises(LinkMissing):
        file_size(blocks.get, below)
    with pytest.raises(LinkMissing):
        file_size(blocks.get, blocks.put(0x71, b"\xa0"))  # dag-cbor


@given(st.binary(max_size=200))
def test_a_block_of_anything_is_read_or_refused(block: bytes) -> None:
    blocks = Blocks()
    cid = blocks.put(DAG_PB, block)
    for read in (lambda: file_size(blocks.get, cid), lambda: read_directory(blocks.get, cid)):
        with suppress(BlockInvalid, LinkMissing, KeyError):
            read()
