"""Trap 17 of the Textile protocol: grpc-web-text bodies are several padded base64 pieces."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipfsreg.grpcweb.errors import UnexpectedAnswer
from ipfsreg.grpcweb.text import TextDecoder

from .test_framing import cut, places


@given(st.lists(st.binary(max_size=40), max_size=8), places)
def test_trap_17_grpc_web_text_bodies_are_several_padded_base64_pieces(pieces: list[bytes], cuts: list[int]) -> None:
    text = b"".join(base64.b64encode(piece) for piece in pieces)
    decoder = TextDecoder()
    assert b"".join(decoder.decode(part) for part in cut(text, cuts)) == b"".join(pieces)


def test_the_real_wrappers_answer() -> None:
    decoded = TextDecoder().decode(b"AAAAAAMKAUE=gAAAABBncnBjLXN0YXR1czogMA0K")
    assert decoded == bytes.fromhex("00000000030a0141") + b"\x80\x00\x00\x00\x10grpc-status: 0\r\n"


@pytest.mark.parametrize("text", [b"<htm", b"A===", b"AA=A", b"====", b"AA\r\n"])
def test_what_is_not_base64(text: bytes) -> None:
    with pytest.raises(UnexpectedAnswer, match="base64"):
        TextDecoder().decode(text)
