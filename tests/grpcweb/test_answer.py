"""Answers as bytes: any split, the first status, and what is no answer."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipfsreg.grpcweb.answer import AnswerReader
from ipfsreg.grpcweb.errors import UnexpectedAnswer
from ipfsreg.grpcweb.metadata import Metadata
from ipfsreg.grpcweb.status import GrpcStatus

from .test_framing import cut, places

BINARY = Metadata.received([(b"Content-Type", b"application/grpc-web+proto")])
TEXT = Metadata.received([(b"Content-Type", b"application/grpc-web-text")])
HEADERS = b"Content-Type: application/grpc+proto\r\nTrailer: Grpc-Status\r\n"


def piece(flag: int, payload: bytes) -> bytes:
    return bytes([flag]) + len(payload).to_bytes(4, "big") + payload


def read(reader: AnswerReader, pieces: list[bytes]) -> list[bytes]:
    messages = []
    for part in pieces:
        reader.feed(part)
        while (message := reader.next()) is not None:
            messages.append(message)
    return messages


@given(st.lists(st.binary(max_size=40), max_size=6), st.sampled_from(GrpcStatus), places, st.booleans(), st.booleans())
def test_any_split_of_an_answer(
    messages: list[bytes], code: GrpcStatus, cuts: list[int], websocket: bool, text: bool
) -> None:
    parts = [piece(0x00, message) for message in messages]
    parts.append(piece(0x80, b"grpc-status: %d\r\n" % code))
    reader = AnswerReader(1000)
    if websocket:
        parts.insert(0, piece(0x80, HEADERS))
    elif text:
        reader.head(200, TEXT)
        parts = [base64.b64encode(part) for part in parts]
    else:
        reader.head(200, BINARY)
    assert read(reader, cut(b"".join(parts), cuts)) == messages
    assert reader.status is not None
    assert reader.status.code is code


def test_nothing_after_the_first_status_counts() -> None:
    reader = AnswerReader(1000)
    body = piece(0x80, b"grpc-status: 9\r\n") + piece(0x00, b"late") + piece(0x80, b"grpc-status: 0\r\n") + b"!"
    assert read(reader, [body]) == []
    assert read(reader, [piece(0x00, b"later"), b"<html>"]) == []
    assert reader.status is not None
    assert reader.status.code is GrpcStatus.FAILED_PRECONDITION


def test_a_status_in_the_head_ends_the_call_whatever_else_it_says() -> None:
    reader = AnswerReader(1000)
    reader.head(503, Metadata.received([(b"Grpc-Status", b"14"), (b"Content-Type", b"text/html")]))
    assert reader.status is not None
    assert reader.status.code is GrpcStatus.UNAVAILABLE
    assert read(reader, [b"<html>"]) == []


def test_a_complaint_of_the_server_without_framing() -> None:
    reader = AnswerReader(1000)
    with pytest.raises(UnexpectedAnswer, match="content type"):
        read(reader, [piece(0x80, b"Content-Type: text/plain; charset=utf-8\r\n")])
