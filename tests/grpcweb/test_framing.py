"""Frames survive any split of the stream; what is no frame is refused at once."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipfsreg.grpcweb.errors import MessageTooLarge, UnexpectedAnswer
from ipfsreg.grpcweb.framing import MESSAGE, TRAILERS, TRAILERS_LIMIT, Frame, FrameParser, frame


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """A string in pieces, some of them empty."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


frames = st.lists(st.builds(Frame, st.sampled_from([MESSAGE, TRAILERS]), st.binary(max_size=60)), max_size=8)
places = st.lists(st.integers(min_value=0), max_size=20)


@given(frames, places)
def test_any_split_of_the_stream(sent: list[Frame], cuts: list[int]) -> None:
    stream = b"".join(bytes([flag]) + len(payload).to_bytes(4, "big") + payload for flag, payload in sent)
    parser, received = FrameParser(), []
    for piece in cut(stream, cuts):
        parser.feed(piece)
        while (found := parser.next()) is not None:
            received.append(found)
    assert received == sent


def test_a_message_on_the_wire() -> None:
    assert frame(bytes.fromhex("0a0141")) == bytes.fromhex("00000000030a0141")
    assert frame(b"") == bytes(5)


def test_a_message_above_the_limit_is_refused_before_it_comes() -> None:
    parser = FrameParser(100)
    parser.feed(frame(bytes(100)))
    assert parser.next() == Frame(MESSAGE, bytes(100))
    parser.feed(frame(bytes(101))[:5])
    with pytest.raises(MessageTooLarge, match="101 bytes in one frame, 100 are allowed"):
        parser.next()


def test_trailers_have_a_limit_of_their_own() -> None:
    parser = FrameParser(10)
    parser.feed(b"\x80" + TRAILERS_LIMIT.to_bytes(4, "big") + bytes(TRAILERS_LIMIT))
    assert parser.next() == Frame(TRAILERS, bytes(TRAILERS_LIMIT))
    parser.feed(b"\x80" + (TRAILERS_LIMIT + 1).to_bytes(4, "big"))
    with pytest.raises(MessageTooLarge):
        parser.next()


@pytest.mark.parametrize("flag", [0x01, 0x69, 0x81])  # compressed, text, compressed trailers
def test_other_flags_are_refused_at_the_first_byte(flag: int) -> None:
    parser = FrameParser()
    parser.feed(bytes([flag]))
    with pytest.raises(UnexpectedAnswer, match=f"{flag:#04x}"):
        parser.next()
