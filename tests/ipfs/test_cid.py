"""CIDs: the specification's forms, and texts and bytes that are none."""

import contextlib
import hashlib

import hypothesis.strategies as st
import multibase
import pytest
from hypothesis import given

from ipfsreg.ipfs.cid import (
    CID,
    DAG_PB,
    IDENTITY,
    RAW,
    SHA2_256,
    SHA2_512,
    TEXT_MAX,
    BlockDamaged,
    CIDInvalid,
    cid_of,
    decode_cid,
    parse_cid,
    raw_cid,
    verify_block,
)

EMPTY_RAW = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
EMPTY_DIRECTORY_0 = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"
EMPTY_DIRECTORY_1 = "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"

hashes = st.binary(min_size=32, max_size=32)
cids = st.one_of(
    hashes.map(lambda digest: CID(0, DAG_PB, SHA2_256, digest)),
    st.builds(CID, st.just(1), st.integers(0, 2**40), st.sampled_from([SHA2_256, 0x1E, 0xB220]), hashes),
    st.binary(max_size=40).map(lambda data: CID(1, RAW, IDENTITY, data)),
)


def test_known_cids() -> None:
    assert str(raw_cid(hashlib.sha256(b"").digest())) == EMPTY_RAW
    assert parse_cid(EMPTY_RAW) == raw_cid(hashlib.sha256(b"").digest())
    directory = bytes.fromhex("0a020801")
    assert str(cid_of(DAG_PB, directory)) == EMPTY_DIRECTORY_1
    assert str(CID(0, DAG_PB, SHA2_256, hashlib.sha256(directory).digest())) == EMPTY_DIRECTORY_0
    assert parse_cid(EMPTY_DIRECTORY_0).multihash == parse_cid(EMPTY_DIRECTORY_1).multihash
    assert parse_cid("bafkqaaa") == CID(1, RAW, IDENTITY, b"")


@given(cids)
def test_every_cid_is_read_as_it_was_written(cid: CID) -> None:
    assert parse_cid(str(cid)) == cid
    assert decode_cid(b"before" + cid.binary + b"after", 6) == (cid, 6 + len(cid.binary))


@pytest.mark.parametrize("base", ["base58btc", "base36", "base16", "base32upper", "base64url"])
def test_every_base_is_read(base: str) -> None:
    cid = parse_cid(EMPTY_RAW)
    assert parse_cid(multibase.encode(base, cid.binary).decode()) == cid


@pytest.mark.parametrize(
    "text",
    [
        "",
        "b",
        "latest",
        "bafkrei",
        EMPTY_RAW[:-1],
        EMPTY_RAW[1:],
        EMPTY_RAW + "aa",
        EMPTY_DIRECTORY_0[:-1],
        EMPTY_DIRECTORY_0[:-1] + "0",
        "z" + EMPTY_DIRECTORY_0,
        "Qm" + "é" * 44,
        "b" + "a" * TEXT_MAX,
        "f0255122000",
        "b" + "7" * 200,
    ],
)
def test_what_is_no_cid_is_refused(text: str) -> None:
    with pytest.raises(CIDInvalid):
        parse_cid(text)


@given(st.text(max_size=80))
def test_no_text_is_a_surprise(text: str) -> None:
    with contextlib.suppress(CIDInvalid):
        parse_cid(text)


@given(cids, st.data())
def test_no_bytes_are_a_surprise(cid: CID, data: st.DataObject) -> None:
    end = data.draw(st.integers(0, len(cid.binary) - 1))
    with pytest.raises(CIDInvalid):
        decode_cid(cid.binary[:end])


def test_blocks_are_compared_with_their_cids() -> None:
    block = b"a block"
    for cid in (
        cid_of(RAW, block),
        CID(0, DAG_PB, SHA2_256, hashlib.sha256(block).digest()),
        CID(1, RAW, SHA2_512, hashlib.sha512(block).digest()),
        CID(1, RAW, IDENTITY, block),
    ):
        verify_block(cid, block)
        with pytest.raises(BlockDamaged):
            verify_block(cid, block + b"!")
    for cid in (CID(1, RAW, 0x1E, b"1" * 32), CID(1, RAW, SHA2_256, hashlib.sha256(block).digest()[:20])):
        with pytest.raises(BlockDamaged):
            verify_block(cid, block)
