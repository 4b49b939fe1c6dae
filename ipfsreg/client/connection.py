"""One connection to a server: a request, its answer, and the next request (HTTP/1.1, RFC 9112).

llhttp reads heads and chunks; a body whose length is known goes by it. Twisted's own client takes several times the
processor time for a small request, and a copy of many images is made of small requests.
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionClosed, ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from ipfsreg.flow.streams import ConsumerGone, Pieces, write_pieces

HEAD_MAX = 64 * 1024
"""Bytes of an answer's head, with the interim answers (1xx) before it, and of what may be between two chunks. Servers
take no longer ones themselves."""

_END = b"\r\n\r\n"
_READ_AT_ONCE = 256 * 1024
_BODILESS = frozenset({204, 304})


class BadAnswer(Exception):
    """What came is no answer of HTTP/1.1, or its headers have no end."""


class Ended(Exception):
    """The server ended the connection. ``unanswered`` says that nothing of an answer had come."""

    def __init__(self, *, unanswered: bool) -> None:
        super().__init__("the connection was closed")
        self.unanswered = unanswered


def encode_head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    """The head of a request. :raises ValueError: where something in it would end a line."""
    lines = [f"{method} {target} HTTP/1.1", *[f"{name}: {value}" for name, value in headers.items()], "", ""]
    text = "\r\n".join(lines)
    if not text.count("\r") == text.count("\n") == len(lines) - 1 or "\0" in text or " " in target:
        raise ValueError("a header that would be two")
    return text.encode("latin-1")


class Incoming(Pieces):
    """The body of an answer. It fails with `Ended` or `BadAnswer`."""

    def __init__(self) -> None:
        super().__init__()
        self.came = 0
        """How many bytes came."""
        self.is_whole = False
        """Whether no more will come."""

    def write(self, data: bytes) -> None:
        self.came += len(data)
        super().write(data)

    def end(self, result: object = None) -> None:
        self.is_whole = result is None
        super().end(result)


@dataclass(slots=True)
class Response:
    """An answer. ``headers`` have the values of each by its name in lower case."""

    status: int
    headers: Mapping[bytes, list[bytes]]
    body: Incoming


class _Parsed:
    """What llhttp finds."""

    def __init__(self) -> None:
        self.headers: dict[bytes, list[bytes]] = {}
        self.in_head = True
        self.pieces: list[bytes] = []
        self.ended = False
        self.goes_on = False
        """Whether more came after the end."""

    def on_message_begin(self) -> None:
        self.goes_on = self.ended

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.in_head:  # not after the last chunk
            self.headers.setdefault(name.lower(), []).append(value)

    def on_headers_complete(self) -> None:
        self.in_head = False

    def on_body(self, body: bytes) -> None:
        if not self.ended:
            self.pieces.append(body)

    def on_message_complete(self) -> None:
        self.ended = True


@implementer(IPushProducer)
class Connection(Protocol):
    """``free`` is called with it whenever the next request may be sent."""

    transport: Any

    def __init__(self, free: "Callable[[Connection], object]") -> None:
        self.lost: Deferred[None] = Deferred()
        self._paused = False
        self._free = free
        self._keep = True
        self._wants_body = True
        self._answered: Deferred[Response] | None = None
        self._sending: Deferred[None] | None = None
        self._head = bytearray()
        self._interim = 0
        self._body: Incoming | None = None
        self._left: int | None = None  # bytes of the body; None where its end says how many
        self._chunks: tuple[HttpResponseParser, _Parsed] | None = None
        self._between = 0

    def ask(self, head: bytes, content: bytes | AsyncGenerator[bytes, None]) -> "Deferred[Response]":
        """Send a request. Fires when the head of its answer is there; to cancel it is to end the connection.

        It fails with `Ended`, `BadAnswer`, why TLS failed, or what the content's iterator fails with.
        """
        self._head.clear()
        self._interim = 0
        self._wants_body = not head.startswith(b"HEAD ")
        answered: Deferred[Response] = Deferred(self._cancelled)
        self._answered = answered
        if isinstance(content, bytes):
            self.transport.write(head + content)
        else:
            self.transport.write(head)
            self._sending = sending = Deferred.fromCoroutine(write_pieces(self.transport, content))
            sending.addCallbacks(self._sent, self._not_sent)
        return answered

    def abort(self) -> None:
        """End the connection at once."""
        self._keep = False
        self.transport.abortConnection()

    def connectionMade(self) -> None:
        if hasattr(self.transport, "setTcpNoDelay"):
            self.transport.setTcpNoDelay(True)
        self.transport.bufferSize = _READ_AT_ONCE

    def dataReceived(self, data: bytes) -> None:
        try:
            if self._body is not None:
                self._receive(self._body, data)
            elif self._answered is not None:
                self._receive_head(data)
            else:  # nobody asked
                self.abort()
        except (HttpParserError, HttpParserUpgrade, BadAnswer) as error:
            self._fail(Failure(BadAnswer(str(error))))
            self.abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._keep = False
        if self._body is not None and self._chunks is None and self._left is None and reason.check(ConnectionDone):
            self._finish(self._body)
        elif reason.check(ConnectionClosed):
            self._fail(Failure(Ended(unanswered=not self._head and not self._interim)))
        else:
            self._fail(reason)
        self.lost.callback(None)

    def pauseProducing(self) -> None:
        self._paused = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        self._paused = False
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """The rest of the body is not wanted."""
        self._body = None
        self.abort()

    def _receive_head(self, data: bytes) -> None:
        answered = self._answered
        assert answered is not None
        searched = max(0, len(self._head) - len(_END) + 1)
        self._head += data
        while True:
            end = self._head.find(_END, searched) + len(_END)
            is_there = end >= len(_END)
            if self._interim + (end if is_there else len(self._head)) > HEAD_MAX:
                raise BadAnswer(f"headers of more than {HEAD_MAX} bytes")
            if not b"HTTP/".startswith(self._head[:16].lstrip(b"\r\n")[:5]):
                raise BadAnswer("not the head of an answer")
            if not is_there:
                return
            parsed = _Parsed()
            parser = HttpResponseParser(parsed)
            parser.feed_data(memoryview(self._head)[:end])
            if parsed.in_head:
                raise BadAnswer("not the head of an answer")
            status = parser.get_status_code()
            is_1_1 = self._head.startswith(b"HTTP/1.1")
            del self._head[:end]
            if status >= 200:
                break
            self._interim, searched = self._interim + end, 0
        rest, headers = bytes(self._head), parsed.headers
        self._frame(status, parser, parsed)
        closes = b"close" in b",".join(headers.get(b"connection", ())).lower()
        self._keep = self._keep and is_1_1 and not closes
        if self._sending is not None:  # it has heard enough; `Transport` tells whether that can be
            self._keep = False
            self._sending.cancel()
        self._answered = None
        self._body = body = Incoming()
        body.registerProducer(self, True)
        try:
            self._receive(body, rest)
        finally:
            answered.callback(Response(status, headers, body))

    def _frame(self, status: int, parser: HttpResponseParser, parsed: _Parsed) -> None:
        """Find where the body will end (RFC 9112, section 6.3)."""
        codings, lengths = parsed.headers.get(b"transfer-encoding"), parsed.headers.get(b"content-length")
        self._left, self._chunks, self._between = None, None, 0
        if not self._wants_body or status in _BODILESS:
            self._left = 0
        elif codings is not None:
            if codings[-1].lower().endswith(b"chunked"):
                self._chunks = parser, parsed
        elif lengths is not None:
            self._left = int(lengths[0])  # llhttp has seen that it is a number, and the only one

    def _receive(self, body: Incoming, data: bytes) -> None:
        if self._chunks is not None:
            self._receive_chunks(*self._chunks, body, data)
            return
        if self._left is None:
            body.write(data)
            return
        if len(data) > self._left:  # nobody asked for the rest
            self._keep = False
            data = data[: self._left]
        self._left -= len(data)
        if data:
            body.write(data)
        if not self._left:
            self._finish(body)

    def _receive_chunks(self, parser: HttpResponseParser, parsed: _Parsed, body: Incoming, data: bytes) -> None:
        try:
            parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            if not parsed.ended:
                raise
            parsed.goes_on = True
        if parsed.goes_on:  # nobody asked for the rest
            self._keep = False
        self._between = 0 if parsed.pieces else self._between + len(data)
        if self._between > HEAD_MAX:
            raise BadAnswer(f"more than {HEAD_MAX} bytes between two chunks")
        for piece in parsed.pieces:
            body.write(piece)
        parsed.pieces.clear()
        if parsed.ended:
            self._finish(body)

    def _finish(self, body: Incoming) -> None:
        self._body = None
        body.unregisterProducer()
        body.end()
        if not self._keep:
            self.abort()
            return
        if self._paused:
            self.resumeProducing()
        self._free(self)

    def _fail(self, failure: Failure) -> None:
        self._keep = False
        answered, self._answered = self._answered, None
        body, self._body = self._body, None
        if self._sending is not None:
            self._sending.cancel()
        if answered is not None:
            answered.errback(failure)
        if body is not None:
            body.unregisterProducer()
            body.end(failure)

    def _cancelled(self, answered: "Deferred[Response]") -> None:
        self._answered = None
        if self._sending is not None:
            self._sending.cancel()
        self.abort()

    def _sent(self, _: None) -> None:
        self._sending = None

    def _not_sent(self, failure: Failure) -> None:
        self._sending = None
        if not failure.check(ConsumerGone, CancelledError):
            self._fail(failure)
            self.abort()
