"""Accept headers: what is preferred, and that hostile ones cost nothing."""

import time

import pytest

from ipfsreg.web.gateway.accept import MediaRange, accepted, preferred
from ipfsreg.web.http.head import parse_head
from ipfsreg.web.http.request import Request


def asking(value: bytes) -> Request:
    """A request with this Accept header."""
    head = parse_head(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    head.fields.headers[b"accept"] = value
    return Request(None, head)  # type: ignore[arg-type]  # the connection is not asked for anything


@pytest.mark.parametrize(
    ("value", "best"),
    [
        (b"", "a/json"),
        (b"a/lines", "a/lines"),
        (b"A/Lines ; x=y", "a/lines"),
        (b"a/json;q=0.5, a/lines;q=0.7", "a/lines"),
        (b"a/json;q=0, a/lines;q=0.1", "a/lines"),
        (b"a/json;q=0", "a/json"),
        (b"*/*, a/lines", "a/lines"),
        (b"a/*;q=0.5, a/lines;q=0.4", "a/json"),
        (b"b/*", "a/json"),
        (b"a/lines;q=junk", "a/json"),
        (b"a/lines;q=nan", "a/json"),
        (b"\xff, a/lines", "a/lines"),
        (b"a/lines, a/json", "a/lines"),
    ],
)
def test_the_best_of_what_is_offered_is_chosen(value: bytes, best: str) -> None:
    assert preferred(asking(value), ["a/json", "a/lines"]) == best


def test_parameters_are_read() -> None:
    request = asking(b'a/car; version=1;Order="dfs";flag, a/raw;q=0.9, a/none;q=0')
    assert accepted(request) == [
        MediaRange("a/car", {"version": "1", "order": "dfs"}, 1.0),
        MediaRange("a/raw", {}, 0.9),
    ]


@pytest.mark.parametrize(
    "value", [b"a" + b" " * 16_000 + b"b", b"," * 16_000, b";" * 16_000, b"a;" * 8000, b"a;b=," * 3000, b'"' * 16_000]
)
def test_a_hostile_header_takes_no_time(value: bytes) -> None:
    request = asking(value)
    begin = time.process_time()
    for _ in range(10):
        accepted(request)
    assert time.process_time() - begin < 0.1
