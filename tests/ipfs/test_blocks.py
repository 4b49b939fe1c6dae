"""dag-pb and UnixFS: what is written can be read, is what others write, and no bytes are a surprise."""

import contextlib

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ipfsreg.ipfs.cid import DAG_PB, RAW, SHA2_256, cid_of, parse_cid
from ipfsreg.ipfs.dag_pb import BlockInvalid, PBLink, PBNode, decode_node, encode_node
from ipfsreg.ipfs.unixfs import DIRECTORY, FILE, UnixFS, decode_unixfs, encode_unixfs
from ipfsreg.ipfs.varint import decode_varint, encode_varint

from .test_cid import cids

links = st.builds(PBLink, cids, st.text(max_size=20), st.integers(0, 2**62))
nodes = st.builds(PBNode, st.lists(links, max_size=5), st.binary(min_size=1, max_size=50))
messages = st.builds(
    UnixFS,
    st.integers(0, 5),
    st.binary(max_size=40),
    st.none() | st.integers(0, 2**62),
    st.lists(st.integers(0, 2**62), max_size=5),
    st.none() | st.integers(0, 2**62),
    st.none() | st.integers(0, 2**62),
)


@given(nodes)
def test_blocks_are_read_as_they_were_written(node: PBNode) -> None:
    assert decode_node(encode_node(node)) == node


@given(messages)
def test_messages_are_read_as_they_were_written(message: UnixFS) -> None:
    assert decode_unixfs(encode_unixfs(message)) == message


@given(st.binary(max_size=100))
def test_no_bytes_are_a_surprise(data: bytes) -> None:
    for decode in (decode_node, decode_unixfs):
        with contextlib.suppress(BlockInvalid):
            decode(data)


@given(nodes, st.data())
def test_a_block_cut_short_is_another_or_none(node: PBNode, data: st.DataObject) -> None:
    block = encode_node(node)
    with contextlib.suppress(BlockInvalid):
        assert decode_node(block[: data.draw(st.integers(0, len(block) - 1))]) != node


def test_a_directory_as_kubo_writes_it() -> None:
    root = parse_cid("bafybeighmzuokpuzyho2ninhgybpych6atkhbn2o57c3hlyer2hntezxly")
    text = cid_of(RAW, b"hello world")
    entries = [PBLink(root, "a.bin", 155), PBLink(text, "b.txt", 11)]
    block = encode_node(PBNode(entries, encode_unixfs(UnixFS(DIRECTORY))))
    assert len(block) == 103
    assert str(cid_of(DAG_PB, block)) == "bafybeibvhy4kbm7gn6zqp5ajdteatp5e7rx74ha6lslrtkrdoqfmn5e4ty"
    assert decode_node(block).links == entries


def test_a_file_of_version_0_in_one_block() -> None:
    block = encode_node(PBNode([], encode_unixfs(UnixFS(FILE, b"hell", 4))))
    assert block.hex() == "0a0a08021204" + b"hell".hex() + "1804"
    cid = parse_cid("Qmcj6EDzQzToWAtVN148auZAz2MaETAZPFj3qcD6MUNdhX")
    assert (cid.hash_code, cid.hash) == (SHA2_256, cid_of(DAG_PB, block).hash)


@given(st.integers(0, 2**63 - 1))
def test_numbers(number: int) -> None:
    encoded = encode_varint(number)
    assert decode_varint(b"\xff" + encoded + b"\xff", 1) == (number, 1 + len(encoded))
    for end in range(len(encoded)):
        with pytest.raises(EOFError):
            decode_varint(encoded[:end])


@pytest.mark.parametrize("encoded", ["8000", "ff8000", "ff" * 9 + "01", "80" * 10])
def test_numbers_in_a_form_that_is_not_allowed(encoded: str) -> None:
    with pytest.raises(ValueError, match="number is"):
        decode_varint(bytes.fromhex(encoded))
