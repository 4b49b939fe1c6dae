"""What `ipfsreg.web.request` relies on in Twisted beyond its public names.

Each of these fails where a new Twisted does it otherwise; then `request`, `body` and `channel` have to follow.
"""

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request
from twisted.web.server import Request as ServerRequest


class Recorded(Request):
    """A request that notes what its channel tells it."""

    def __init__(self, channel: HTTPChannel, *more: Any, **named: Any) -> None:
        super().__init__(channel, *more, **named)
        self.calls: list[tuple[Any, ...]] = []
        requests.append(self)

    def gotLength(self, length: int | None) -> None:
        super().gotLength(length)
        names = [getattr(self.channel, name, None) for name in ("_command", "_path", "_version")]
        self.calls.append(("gotLength", length, *names, written(self.channel)))
        self.requestHeaders.removeHeader(b"expect") if hide_expect else None

    def handleContentChunk(self, data: bytes) -> None:
        self.calls.append(("handleContentChunk", data))

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        self.calls.append(("requestReceived", command, path, version))


requests: list[Recorded] = []
hide_expect = False


def written(channel: HTTPChannel) -> bytes:
    """What the channel has sent so far."""
    transport = channel.transport
    assert isinstance(transport, StringTransport)
    return bytes(transport.value())


@pytest.fixture
def open_channel(monkeypatch: pytest.MonkeyPatch) -> Callable[..., HTTPChannel]:
    """Makes a channel that makes `Recorded` requests."""

    def make(*, without_expect: bool = False) -> HTTPChannel:
        monkeypatch.setitem(globals(), "hide_expect", without_expect)
        requests.clear()
        channel = HTTPChannel()
        channel.requestFactory = Recorded
        channel.timeOut = None
        channel.makeConnection(StringTransport())
        return channel

    return make


def test_a_channel_knows_its_request_when_it_tells_the_length(open_channel: Callable[..., HTTPChannel]) -> None:
    """`gotLength` comes once, after all headers and before the body, when these three private names are set."""
    channel = open_channel()
    channel.dataReceived(b"PATCH /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n")
    (request,) = requests
    assert request.calls == []
    channel.dataReceived(b"\r\n")
    assert request.calls == [("gotLength", 5, b"PATCH", b"/a?b=c", b"HTTP/1.1", b"")]
    assert request.requestHeaders.getRawHeaders(b"host") == [b"x"]
    channel.dataReceived(b"he")
    channel.dataReceived(b"llo")
    assert request.calls[1:] == [
        ("handleContentChunk", b"he"),
        ("handleContentChunk", b"llo"),
        ("requestReceived", b"PATCH", b"/a?b=c", b"HTTP/1.1"),
    ]


def test_the_length_is_none_for_a_chunked_body(open_channel: Callable[..., HTTPChannel]) -> None:
    channel = open_channel()
    channel.dataReceived(b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    (request,) = requests
    assert [call[:2] for call in request.calls] == [
        ("gotLength", None),
        ("handleContentChunk", b"hello"),
        ("requestReceived", b"PUT"),
    ]


@pytest.mark.parametrize("headers", [b"", b"Content-Length: 0\r\n"])
def test_the_length_is_0_where_there_is_no_body(open_channel: Callable[..., HTTPChannel], headers: bytes) -> None:
    channel = open_channel()
    channel.dataReceived(b"POST / HTTP/1.1\r\n" + headers + b"\r\n")
    (request,) = requests
    assert [call[:2] for call in request.calls] == [("gotLength", 0), ("requestReceived", b"POST")]


def test_100_continue_is_sent_after_the_length_was_told(open_channel: Callable[..., HTTPChannel]) -> None:
    """So a request that takes the Expect header away in `gotLength` decides itself."""
    headers = b"PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    channel = open_channel()
    channel.dataReceived(headers)
    assert written(channel) == b"HTTP/1.1 100 Continue\r\n\r\n"
    channel = open_channel(without_expect=True)
    channel.dataReceived(headers)
    assert written(channel) == b""


def test_a_channel_reads_on_when_a_request_is_done(open_channel: Callable[..., HTTPChannel]) -> None:
    """What we paused for a body is resumed, and the next request is parsed."""
    channel = open_channel()
    channel.dataReceived(b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n")
    assert len(requests) == 1
    transport: Any = channel.transport
    transport.pauseProducing()
    requests[0].method = b"GET"
    requests[0].clientproto = b"HTTP/1.1"
    requests[0].finish()
    assert transport.producerState == "producing"
    assert [request.calls[-1][2] for request in requests] == [b"/1", b"/2"]


def test_a_channel_is_told_by_its_transport_when_the_client_reads_slowly(
    open_channel: Callable[..., HTTPChannel],
) -> None:
    """The channel is its transport's push producer, so what we override is what is called."""
    channel = open_channel()
    transport: Any = channel.transport
    assert transport.producer is channel
    assert transport.streaming


def test_a_request_without_an_end_is_told_of_the_connections(open_channel: Callable[..., HTTPChannel]) -> None:
    channel = open_channel()
    channel.dataReceived(b"PUT / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhe")
    (request,) = requests
    failures: list[Failure] = []
    request.notifyFinish().addErrback(failures.append)
    channel.connectionLost(Failure(ConnectionDone()))
    assert request._disconnected
    assert request.channel is None
    assert len(failures) == 1


def test_bytes_that_come_are_told_to_the_time_out_by_a_name_that_we_override(
    open_channel: Callable[..., HTTPChannel], monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = open_channel()
    reset: list[bool] = []
    monkeypatch.setattr(channel, "resetTimeout", lambda: reset.append(True))
    channel.dataReceived(b"GET / HT")
    assert reset == [True]


def test_a_request_of_a_server_has_the_parts_of_its_path(open_channel: Callable[..., HTTPChannel]) -> None:
    """`postpath` holds the decoded segments, which `site` looks at before Klein does."""
    channel: Any = open_channel()
    channel.site = type("Site", (), {"_parsePOSTFormSubmission": True, "getResourceFor": lambda self, request: None})()
    request = ServerRequest(channel)
    request.path = b"/v2/%ff/x"
    request.render = lambda resource: None  # type: ignore[method-assign]
    request.process()
    assert request.postpath == [b"v2", b"\xff", b"x"]
