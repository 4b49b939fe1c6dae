"""Heads: what is refused because others on the way could read it differently, and what is read."""

from contextlib import suppress
from http import HTTPStatus

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipfsreg.web.http.head import BadRequest, Fields, Head, check_beginning, parse_head
from ipfsreg.web.http.limits import HEAD_MAX

REFUSED = [
    b"Content-Length: 5\r\nContent-Length: 5",
    b"Content-Length: 5\r\nContent-Length: 6",
    b"Content-Length: 5, 5",
    b"Content-Length: 5,6",
    b"Content-Length: +5",
    b"Content-Length: -5",
    b"Content-Length: 0x5",
    b"Content-Length: 5 5",
    b"Content-Length: 5_0",
    b"Content-Length: \xb2",
    b"Content-Length:",
    b"Content-Length: " + b"9" * 19,
    b"Content-Length: " + b"9" * 5000,
    b"Content-Length: 5\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nContent-Length: 5",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, gzip",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: chunked;x=y",
    b'Transfer-Encoding: "chunked"',
    b"Transfer-Encoding: \x0bchunked",
    b"Transfer-Encoding: chunked\x00",
    b"Transfer-Encoding:",
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding\t: chunked",
    b" Transfer-Encoding: chunked",
    b"Transfer-Encoding:\r\n chunked",
    b"X: y\r\n Transfer-Encoding: chunked",
    b"X: y\r\n\tz",
    b"X: y\nTransfer-Encoding: chunked",
    b"X: y\rTransfer-Encoding: chunked",
    b"X: y\r\r\nTransfer-Encoding: chunked",
    b"X: y\n",
    b"X: y\r",
    b"X: y\x00z",
    b"X: y\x01z",
    b"X: y\x7fz",
    b"X\x00: y",
    b"X\xff: y",
    b"X y: z",
    b"(X): y",
    b": y",
    b"no colon",
    b"Host: b",
]


@pytest.mark.parametrize("headers", REFUSED)
def test_what_could_be_read_in_two_ways_is_refused(headers: bytes) -> None:
    for line in (b"GET / HTTP/1.1", b"POST /v2/ HTTP/1.1"):
        with pytest.raises(BadRequest) as caught:
            parse_head(line + b"\r\nHost: a\r\n" + headers + b"\r\n\r\n")
        assert caught.value.status is HTTPStatus.BAD_REQUEST


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"GET",
        b"GET /",
        b"GET  / HTTP/1.1",
        b"GET /  HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b" GET / HTTP/1.1",
        b"GET\t/ HTTP/1.1",
        b"GET /\tx HTTP/1.1",
        b"GET /\x00 HTTP/1.1",
        b"GET /\x0b HTTP/1.1",
        b"GET /\x7f HTTP/1.1",
        b"GET / HTTP/1.1\rX: y",
        b"GET / HTTP/1.1\nX: y",
        b"get / HTTP/1.1",
        b"G-T / HTTP/1.1",
        b"G\xc4T / HTTP/1.1",
        b"GET / http/1.1",
        b"GET / HTTP/x.1",
        b"GET / HTTP/1,1",
        b"GET / HTTP/1.1.1",
        b"GET / HTTP/1.2",
        b"GET / HTTP/2.0",
        b"GET / HTTP/0.9",
        b"GET / XTTP/1.1",
    ],
)
def test_what_is_no_request_line_is_refused(line: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_head(line + b"\r\nHost: a\r\n\r\n")
    assert caught.value.status is HTTPStatus.BAD_REQUEST
    if b"\n" not in line:
        with pytest.raises(BadRequest):
            check_beginning(line + b"\r\nHost: a")


def test_a_client_of_1_0_has_no_chunks_and_needs_no_host() -> None:
    assert parse_head(b"GET / HTTP/1.0\r\n\r\n").fields.keep_alive is False
    with pytest.raises(BadRequest):
        parse_head(b"PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n")
    with pytest.raises(BadRequest):
        parse_head(b"GET / HTTP/1.1\r\n\r\n")


@pytest.mark.parametrize(
    ("sent", "head"),
    [
        (b"Content-Length: 5", {"length": 5}),
        (b"Content-Length: \t005 \t", {"length": 5}),
        (b"content-LENGTH:5", {"length": 5}),
        (b"Transfer-Encoding: Chunked", {"length": None}),
        (b"Connection: close", {"keep_alive": False}),
        (b"Connection: x, CLOSE ,y", {"keep_alive": False}),
        (b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 3", {"length": 3}),
        (b"Expect: 100-Continue", {"expects_continue": True}),
        (b"Expect: a pony", {"expects_continue": False}),
    ],
)
def test_a_head_is_read(sent: bytes, head: dict[str, object]) -> None:
    found = parse_head(b"PUT /a?b HTTP/1.1\r\nHost: a\r\n" + sent + b"\r\n\r\n")
    assert (found.method, found.target) == (b"PUT", b"/a?b")
    for name, value in head.items():
        assert getattr(found.fields, name) == value


def test_several_values_are_joined() -> None:
    found = parse_head(b"GET / HTTP/1.1\r\nHost: a\r\nAccept: x\r\nACCEPT: y\r\nAccept: \xff\r\n\r\n")
    assert found.fields.headers[b"accept"] == b"x, y, \xff"


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"http://a/v2/", b"/v2/"),
        (b"HTTPS://a:1/v2/?x=/y", b"/v2/?x=/y"),
        (b"http://a", b"/"),
        (b"http://a?x=/y", b"/?x=/y"),
        (b"ftp://a/", b"ftp://a/"),
        (b"/http://a/", b"/http://a/"),
        (b"//a/b", b"//a/b"),
        (b"*", b"*"),
    ],
)
def test_a_target_is_read_in_its_forms(target: bytes, path: bytes) -> None:
    assert parse_head(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n").target == path


def test_a_long_beginning_is_not_waited_for() -> None:
    with pytest.raises(BadRequest) as caught:
        check_beginning(b"GET /" + b"x" * HEAD_MAX)
    assert caught.value.status is HTTPStatus.REQUEST_URI_TOO_LONG
    with pytest.raises(BadRequest) as caught:
        check_beginning(b"GET / HTTP/1.1\r\nX: " + b"x" * HEAD_MAX)
    assert caught.value.status is HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    with pytest.raises(BadRequest) as caught:
        parse_head(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 501 + b"\r\n")
    assert caught.value.status is HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE


def test_fields_that_were_sent_before_are_not_read_again() -> None:
    known: dict[bytes, Fields] = {}
    fields = b"\r\nHost: a\r\nAuthorization: Bearer x\r\n\r\n"
    first = parse_head(b"GET /a HTTP/1.1" + fields, known=known)
    again = parse_head(b"PUT /b?c HTTP/1.1" + fields, known=known)
    assert (again.method, again.target) == (b"PUT", b"/b?c")
    assert again.fields is first.fields
    other = fields.replace(b"Bearer x", b"Bearer y")
    assert parse_head(b"GET /a HTTP/1.1" + other, known=known).fields is not first.fields
    old = parse_head(b"GET /a HTTP/1.0" + fields, known=known).fields
    assert (old.is_1_1, old.keep_alive) == (False, False)
    for number in range(100):
        parse_head(b"GET /a HTTP/1.1" + fields.replace(b"x", b"%d" % number), known=known)
        parse_head(b"GET /a HTTP/1.1" + fields.replace(b"x", b"x" * 5000), known=known)
    assert sum(map(len, known)) < 200


PIECES = [
    b"GET",
    b"PUT",
    b" ",
    b"  ",
    b"\t",
    b"/",
    b"/v2/",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"\r\n",
    b"\n",
    b"\r",
    b"\x00",
    b"\xff",
    b"Host: a\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length:",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding:",
    b"chunked",
    b"identity",
    b",",
    b":",
    b"5",
    b"0",
    b"x",
    b"Connection: close\r\n",
]
HEADS = st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join)


@given(st.lists(st.sampled_from(range(4)), max_size=8), st.data())
def test_what_was_sent_before_changes_nothing(order: list[int], data: st.DataObject) -> None:
    heads = [b"GET / HTTP/1.%d\r\n%b\r\n\r\n" % (number % 2, data.draw(HEADS)) for number in range(4)]
    known: dict[bytes, Fields] = {}
    for number in order:
        text = heads[number][: heads[number].find(b"\r\n\r\n") + 4]
        assert outcome(text, known) == outcome(text, None)


def outcome(text: bytes, known: dict[bytes, Fields] | None) -> Head | str:
    try:
        return parse_head(text, known=known)
    except BadRequest as error:
        return error.message


@given(HEADS | st.binary(max_size=60))
def test_whatever_comes_is_a_head_or_refused(middle: bytes) -> None:
    for beginning in (b"", b"PUT / HTTP/1.1\r\nHost: a\r\n"):
        with suppress(BadRequest):
            parse_head(beginning + middle + b"\r\n\r\n")


@given(HEADS)
def test_what_is_taken_is_what_another_library_reads(middle: bytes) -> None:
    """Else the two could be made to see two requests where there is one."""
    data = b"PUT / HTTP/1.1\r\nHost: a\r\n" + middle.removesuffix(b"\r\n")
    data = data[: data.find(b"\r\n\r\n")] if b"\r\n\r\n" in data else data
    try:
        head = parse_head(data + b"\r\n\r\n")
    except BadRequest:
        return
    assert length_by_h11(data + b"\r\n\r\n") == head.fields.length


def length_by_h11(data: bytes) -> int | None:
    """The length of the body, as h11 has it; None for chunks."""
    peer = h11.Connection(h11.SERVER)
    peer.receive_data(data)
    event = peer.next_event()
    assert isinstance(event, h11.Request)
    length: int | None = 0
    for name, value in event.headers:
        if name == b"content-length":
            length = int(value)
        elif name == b"transfer-encoding":
            length = None
    return length
