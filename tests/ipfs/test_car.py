"""CAR files: the vector that another library reads, every way to cut one in pieces, and what is none."""

import contextlib
import hashlib
import itertools

import cbor2
import hypothesis.strategies as st
import pytest
from hypothesis import given

from ipfsreg.ipfs.car import BLOCK_MAX, HEADER_MAX, CARInvalid, CARReader, encode_header, section_head
from ipfsreg.ipfs.cid import CID, RAW, cid_of, verify_block
from ipfsreg.ipfs.file_dag import Profile
from ipfsreg.ipfs.varint import encode_varint

from .files import file_dag
from .test_cid import cids

Blocks = list[tuple[CID, bytes]]


def make_car(roots: list[CID], blocks: Blocks) -> bytes:
    return encode_header(roots) + b"".join(section_head(cid, len(block)) + block for cid, block in blocks)


def read_car(car: bytes, *cuts: int) -> tuple[list[CID], Blocks]:
    reader = CARReader()
    bounds = [0, *sorted(cuts), len(car)]
    found = [block for begin, end in itertools.pairwise(bounds) for block in reader.feed(car[begin:end])]
    reader.finish()
    return list(reader.roots), found


cars = st.tuples(st.lists(cids, max_size=3), st.lists(st.tuples(cids, st.binary(max_size=40)), max_size=4))


def test_as_others_read_it() -> None:
    data = b"hello world"
    dag = file_dag(data, Profile(4, 174))
    blocks = []
    for place in dag.walk(dag.root):
        first, end = dag.range_at(place)
        blocks.append((dag.cid_at(place), dag.block(place) if place.level else data[first:end]))
    car = make_car([dag.cid], blocks)
    assert len(car) == 363
    assert hashlib.sha256(car).hexdigest() == "027036ae181f255f7fcbe34c9c1c3e83b2d80f698d5c5d7f0579fcd7969cb5ed"
    assert car.startswith(bytes.fromhex("3aa265726f6f747381d82a58250001701220c76668"))
    assert read_car(car) == ([dag.cid], blocks)


@given(cars, st.data())
def test_it_may_come_in_any_pieces(car: tuple[list[CID], Blocks], data: st.DataObject) -> None:
    encoded = make_car(*car)
    cuts = data.draw(st.lists(st.integers(0, len(encoded)), max_size=6))
    assert read_car(encoded, *cuts) == car


@given(cars, st.data())
def test_one_that_ends_too_early_is_never_taken_for_whole(car: tuple[list[CID], Blocks], data: st.DataObject) -> None:
    encoded = make_car(*car)
    end = data.draw(st.integers(0, len(encoded) - 1))
    try:
        roots, blocks = read_car(encoded[:end])
    except CARInvalid:
        return
    assert roots == car[0]
    assert blocks == car[1][: len(blocks)]  # it ended between two blocks, which the format cannot tell
    assert len(blocks) < len(car[1])


@given(st.binary(max_size=100))
def test_no_bytes_are_a_surprise(data: bytes) -> None:
    for encoded in (data, encode_varint(len(data)) + data, encode_header([]) + data):
        with contextlib.suppress(CARInvalid):
            read_car(encoded)


@pytest.mark.parametrize(
    ("header", "what"),
    [
        ({"roots": [], "version": 2}, "not a CAR of version 1"),
        ([1], "not a CAR of version 1"),
        ({"roots": [], "version": 1 << 40_000}, "not a CAR of version 1$"),
        ({"roots": [], "version": -(1 << 40_000)}, "not a CAR of version 1$"),
        ({"roots": [1 << 40_000], "version": 1}, "not a CID"),
        ({"version": 1}, "no roots"),
        ({"roots": ["text"], "version": 1}, "not a CID"),
        ({"roots": [cbor2.CBORTag(42, b"\1no")], "version": 1}, "not a CID"),
        ({"roots": [cbor2.CBORTag(42, b"\0\1\x55\x12\x20short")], "version": 1}, "shorter"),
        ({"roots": [cbor2.CBORTag(42, b"\0" + cid_of(RAW, b"").binary + b"!")], "version": 1}, "not a CID"),
    ],
)
def test_headers_that_are_none(header: object, what: str) -> None:
    data = cbor2.dumps(header)
    with pytest.raises(CARInvalid, match=what):
        read_car(encode_varint(len(data)) + data)


ANYTHING = st.recursive(
    st.one_of(st.none(), st.integers(), st.integers().map(lambda n: n << 20_000), st.floats(), st.text(), st.binary()),
    lambda inner: st.one_of(
        st.lists(inner),
        st.dictionaries(st.text(), inner),
        st.builds(cbor2.CBORTag, st.sampled_from([0, 1, 4, 5, 28, 29, 30, 35, 36, 42, 258, 260]), inner),
    ),
)


@given(ANYTHING, ANYTHING)
def test_any_header_is_read_or_refused(roots: object, version: object) -> None:
    data = cbor2.dumps({"roots": roots, "version": version})
    with contextlib.suppress(CARInvalid):
        read_car(encode_varint(len(data)) + data)
    data = cbor2.dumps({"roots": [roots], "version": 1})
    with contextlib.suppress(CARInvalid):
        read_car(encode_varint(len(data)) + data)


def test_deeply_nested_headers_are_refused() -> None:
    data = b"\x81" * 60_000
    with pytest.raises(CARInvalid, match="not CBOR"):
        read_car(encode_varint(len(data)) + data)


def test_lengths_are_bounded_before_anything_is_kept() -> None:
    reader = CARReader()
    with pytest.raises(CARInvalid, match="longer than it may be"):
        list(reader.feed(encode_varint(HEADER_MAX + 1)))
    reader = CARReader()
    list(reader.feed(encode_header([])))
    with pytest.raises(CARInvalid, match="longer than it may be"):
        list(reader.feed(encode_varint(2 * BLOCK_MAX)))


def test_a_block_of_the_greatest_length() -> None:
    block = bytes(BLOCK_MAX)
    cid = cid_of(RAW, block)
    _, blocks = read_car(make_car([cid], [(cid, block)]), 100, 1000, BLOCK_MAX)
    assert blocks == [(cid, block)]
    verify_block(*blocks[0])
