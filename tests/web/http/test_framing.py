"""Bodies in chunks: wherever the packets end, and whatever is in them."""

from contextlib import suppress

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipfsreg.web.http.framing import BadChunk, Chunked, Sized
from tests.web.client import chunk


def feed(framing: Sized | Chunked, packets: list[bytes]) -> tuple[bytes, bytes | None]:
    """Feed until the body ends; the body, and all that follows it."""
    content = b""
    for number, packet in enumerate(packets):
        pieces, rest = framing.feed(packet)
        content += b"".join(pieces)
        if rest is not None:
            return content, rest + b"".join(packets[number + 1 :])
    return content, None


def cut(data: bytes, lengths: list[int]) -> list[bytes]:
    """Data in packets of these lengths, again and again."""
    packets: list[bytes] = []
    while data:
        length = lengths[len(packets) % len(lengths)]
        packets.append(data[:length])
        data = data[length:]
    return packets


LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=5)


@given(st.lists(st.binary(min_size=1, max_size=30), max_size=8), st.binary(max_size=20), LENGTHS)
def test_packets_may_end_anywhere(chunks: list[bytes], after: bytes, lengths: list[int]) -> None:
    content = b"".join(chunks)
    sent = b"".join(chunk(each) for each in chunks) + b"0\r\n\r\n" + after
    assert feed(Chunked(), cut(sent, lengths)) == (content, after)
    if content:
        assert feed(Sized(len(content)), cut(content + after, lengths)) == (content, after)


@pytest.mark.parametrize(
    "sent",
    [
        b"5;name=value;x\r\nhello\r\n0;last\r\nTrailer: x\r\nOther:y\r\n\r\n",
        b'5;name="quoted; value"\r\nhello\r\n0\r\n\r\n',
        b"0005\r\nhello\r\n000\r\n\r\n",
    ],
)
def test_extensions_and_trailers_are_thrown_away(sent: bytes) -> None:
    assert feed(Chunked(), [sent + b"GET"]) == (b"hello", b"GET")
    assert feed(Chunked(), cut(sent + b"GET", [1])) == (b"hello", b"GET")


@pytest.mark.parametrize(
    "sent",
    [
        b"\r\n",
        b"no number\r\n",
        b"-5\r\nhello",
        b"+5\r\nhello",
        b"0x5\r\nhello",
        b"5_0\r\n",
        b" 5\r\nhello",
        b"5 \r\nhello",
        b"5 ;x\r\nhello",
        b"5\t\r\nhello",
        b"\xb2\r\n",
        b"1" * 16 + b"\r\n",
        b"5\nhello\r\n",
        b"5\rhello\r\n",
        b"5;x\ny\r\nhello\r\n",
        b"5;x\ry\r\nhello\r\n",
        b"5;x\x00y\r\nhello\r\n",
        b"5;" + b"x" * 300 + b"\r\nhello\r\n",
        b"5\r\nhello!\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"0\r\nno colon\r\n\r\n",
        b"0\r\n X: y\r\n\r\n",
        b"0\r\nX : y\r\n\r\n",
        b"0\r\nX: y\nZ: z\r\n\r\n",
        b"0\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
        b"0\n\r\n",
        b"0\r\n\n",
    ],
)
def test_what_is_not_in_chunks_is_refused(sent: bytes) -> None:
    for packets in ([sent], cut(sent, [1])):
        with pytest.raises(BadChunk):
            feed(Chunked(), packets)


@given(
    st.lists(st.sampled_from([b"5", b"0", b"\r\n", b"\n", b"\r", b"hello", b";x", b" ", b"X: y"]), max_size=14), LENGTHS
)
def test_what_is_taken_is_what_another_library_reads(pieces: list[bytes], lengths: list[int]) -> None:
    sent = b"".join(pieces)
    try:
        content, rest = feed(Chunked(), cut(sent, lengths) or [b""])
    except BadChunk:
        return
    peer = h11.Connection(h11.SERVER)
    peer.receive_data(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + sent)
    peer.next_event()
    read, ended = b"", False
    while not ended and (event := peer.next_event()) is not h11.NEED_DATA:
        if isinstance(event, h11.Data):
            read += bytes(event.data)
        else:
            assert isinstance(event, h11.EndOfMessage)
            ended = True
    assert (read, ended) == (content, rest is not None)
    if ended:
        assert peer.trailing_data[0] == rest


@given(st.binary(max_size=80), LENGTHS)
def test_whatever_comes_is_taken_or_refused(sent: bytes, lengths: list[int]) -> None:
    with suppress(BadChunk):
        feed(Chunked(), cut(sent, lengths) or [b""])


def test_small_chunks_come_as_one_piece() -> None:
    framing = Chunked()
    pieces, _ = framing.feed(b"1\r\nx\r\n" * 1000)
    assert [len(piece) for piece in pieces] == [1000]
    assert framing.pieces == 1000
    pieces, _ = framing.feed(chunk(b"y" * 5000) * 3)
    assert [len(piece) for piece in pieces] == [5000] * 3
