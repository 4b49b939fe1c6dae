"""gRPC-Web as HTTP POST, with the habits of Go's HTTP server.

See docs/protocols/grpc-web.md, "Requests and answers" and "Streams by POST".
"""

import base64
import binascii
from collections.abc import Callable
from email.utils import formatdate
from typing import TYPE_CHECKING

import h11
from twisted.internet.defer import Deferred

from .call import UNAVAILABLE, Call, RpcError
from .wire import TRAILERS, frame, header_lines, percent_encode, status_fields

if TYPE_CHECKING:
    from .connection import Connection

UNREAD_BODY_LIMIT = 256 * 1024
"""Go reads up to so many bytes of an unread body away before it writes the first byte of an answer."""


class PostExchange:
    """One request and its answer. Also answers what is no gRPC-Web request at all."""

    def __init__(self, connection: "Connection", request: h11.Request, headers: list[tuple[str, str]]) -> None:
        self._connection = connection
        self._link = connection.link
        self._method = request.method
        self._path = request.target.decode("latin-1").partition("?")[0]
        self.metadata: dict[str, str] = {}
        for name, value in headers:
            known = self.metadata.get(name)
            self.metadata[name] = value if known is None else f"{known}, {value}"
        self._content_type = self.metadata.get("content-type", "")
        self._text = self._content_type.startswith("application/grpc-web-text")
        self._length = int(self.metadata["content-length"]) if "content-length" in self.metadata else None
        kept = connection.front.faults.proxy_keeps_connections
        self._close = "close" in self.metadata.get("connection", "").lower() and not kept
        self._received = 0
        self._body_ended = False
        self._base64 = b""
        self._started = False
        self._discard: int | None = None
        self._held: list[Callable[[], None]] = []
        self.call: Call | None = None

    def begin(self) -> None:
        """Start the call, or answer at once what is none."""
        if self._method == b"OPTIONS" and "x-grpc-web" in self.metadata.get("access-control-request-headers", ""):
            self._answer_preflight()
        elif self._method == b"POST" and self._content_type.startswith("application/grpc-web"):
            dispatcher = self._connection.front.dispatcher
            self.call = dispatcher.begin(self._path, self.metadata, "post", self)
            self._link.watch(self.call.plan)
            dispatcher.run(self.call)

    # The request's body.

    def body_received(self, data: bytes) -> None:
        """Take a piece of the body."""
        self._received += len(data)
        if self._discard is not None:
            lost = min(self._discard, len(data))
            self._discard -= lost
            data = data[lost:]
            if self._discard:
                return
            # There was more than Go wanted to read away: it gives the connection up after this answer.
            self._close = True
            self._stop_discarding()
        if self.call is None or not data:
            return
        if not self._text:
            self.call.data_received(data)
            return
        self._base64 += data
        whole = len(self._base64) // 4 * 4
        encoded, self._base64 = self._base64[:whole], self._base64[whole:]
        try:
            self.call.data_received(base64.b64decode(encoded, validate=True))
        except binascii.Error:
            self.call.fail(RpcError(UNAVAILABLE, "illegal base64 data"))

    def body_ended(self) -> None:
        """The whole body has come."""
        self._body_ended = True
        if self.call is None:
            if self._method != b"OPTIONS":
                self._answer_nothing()
            return
        if self._discard is not None:
            self.call.fail(RpcError(UNAVAILABLE, "http: invalid Read on closed Body"))
            self._stop_discarding()
        else:
            self.call.ended()

    # The answer: the responder of the call.

    def message(self, payload: bytes) -> None:
        """Send one message."""
        self._do(lambda: self._start(None))
        self._do(lambda: self._chunk(frame(payload)))

    def finish(self, code: int, text: str) -> None:
        """Send the status: in the headers where there was no message, else in a trailer frame."""
        if self._started:
            self._do(lambda: self._chunk(frame(header_lines(status_fields(code, text)), TRAILERS)))
        else:
            self._do(lambda: self._start((code, text)))
        self._do(self._end)

    def end_without_status(self) -> None:
        """End the body, with no status anywhere."""
        self._do(lambda: self._start(None))
        self._do(self._end)

    def writable(self) -> "Deferred[None] | None":
        """None, or what to wait for."""
        return self._link.writable()

    def _do(self, write: Callable[[], None]) -> None:
        if self._link.lost:
            return
        if not self._started:
            self._started = True
            self._consider_discarding()
        if self._discard is None:
            write()
        else:
            self._held.append(write)

    def _consider_discarding(self) -> None:
        """What Go does with an unread body on a connection that is to be kept.

        See docs/protocols/grpc-web.md, "Streams by POST".
        """
        unread = None if self._length is None else self._length - self._received
        if self._close or self._body_ended or unread == 0:
            return
        if unread is not None and unread >= UNREAD_BODY_LIMIT:
            self._close = True
            return
        self._discard = UNREAD_BODY_LIMIT + 1

    def _stop_discarding(self) -> None:
        self._discard = None
        held, self._held = self._held, []
        for write in held:
            write()

    def _start(self, status: tuple[int, str] | None) -> None:
        if self._connection.http.our_state is not h11.SEND_RESPONSE:
            return
        exposed = ["Content-Type", "Vary", "Date", "grpc-status", "grpc-message"]
        fields = {"Content-Type": self._content_type, "Vary": "Origin"}
        if status is not None:
            code, text = status
            if text:
                fields["Grpc-Message"] = percent_encode(text)
            fields["Grpc-Status"] = str(code)
            exposed[3:3] = [name for name in ("Grpc-Message", "Grpc-Status") if name in fields]
        self._head({"Access-Control-Expose-Headers": ", ".join(exposed), **fields}, chunked=True)

    def _head(self, fields: dict[str, str], *, chunked: bool) -> None:
        fields["Date"] = formatdate(self._connection.front.faults.now(), usegmt=True)
        if self._close:
            fields["Connection"] = "close"
        fields |= {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": "0"}
        self._connection.http.send(h11.Response(status_code=200, headers=list(fields.items())))
        # Written by hand because h11 puts some names in lower case; the real server's are as here.
        self._link.write(b"HTTP/1.1 200 OK\r\n" + header_lines(fields) + b"\r\n")

    def _chunk(self, data: bytes) -> None:
        if self._text:
            data = base64.b64encode(data)
        self._link.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def _end(self) -> None:
        self._connection.http.send(h11.EndOfMessage())
        self._link.write(b"0\r\n\r\n")
        self._connection.exchange_finished()

    # What is no call.

    def _answer_nothing(self) -> None:
        """Any other request gets a 200 with nothing in it (docs/protocols/grpc-web.md, "Requests and answers")."""
        self._head({}, chunked=False)
        self._connection.http.send(h11.EndOfMessage())
        self._connection.exchange_finished()

    def _answer_preflight(self) -> None:
        allowed = self.metadata["access-control-request-headers"]
        self._head(
            {
                "Access-Control-Allow-Headers": allowed,
                "Access-Control-Allow-Methods": "POST",
                "Access-Control-Allow-Origin": self.metadata.get("origin", "*"),
                "Vary": "Origin",
            },
            chunked=False,
        )
        self._connection.http.send(h11.EndOfMessage())
        self._connection.exchange_finished()
