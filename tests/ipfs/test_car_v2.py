"""The CAR of version 1 within one of version 2."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipfsreg.ipfs.car import CARInvalid, PayloadReader

PRAGMA = bytes.fromhex("0aa16776657273696f6e02")


def version_2(payload: bytes, gap: int = 0, index: bytes = b"", **wrong: int) -> bytes:
    offset = wrong.get("offset", 51 + gap)
    return PRAGMA + b"\0" * 16 + struct.pack("<QQQ", offset, len(payload), 0) + b"\0" * gap + payload + index


def read(file: bytes, size: int) -> bytes:
    reader = PayloadReader()
    pieces = [reader.feed(file[begin : begin + size]) for begin in range(0, len(file), size)]
    return b"".join([*pieces, reader.finish()])


@given(st.binary(max_size=200), st.integers(0, 40), st.binary(max_size=60), st.integers(1, 80))
def test_the_frame_is_taken_off(payload: bytes, gap: int, index: bytes, size: int) -> None:
    assert read(version_2(payload, gap, index), size) == payload


@given(st.binary(max_size=200), st.integers(1, 80))
def test_version_1_goes_through(payload: bytes, size: int) -> None:
    if payload.startswith(PRAGMA):
        return
    assert read(payload, size) == payload


@given(st.integers(11, 150))
def test_one_that_ends_too_early(length: int) -> None:
    with pytest.raises(CARInvalid, match="too early"):
        read(version_2(b"x" * 100)[:length], 7)


def test_data_within_the_header() -> None:
    with pytest.raises(CARInvalid, match="within its header"):
        read(version_2(b"x", offset=20), 100)
