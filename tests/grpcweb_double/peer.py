"""A plain client for the double's own tests: sends what it is told, message by message, and keeps what comes.

It has nothing of the product's client in it, and can do what no sane client does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

import h11
from google.protobuf.message import Message
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    Pong,
    Request,
    TextMessage,
)

from .wire import FrameParser, frame, header_lines

default_reactor: Any = reactor

M = TypeVar("M", bound=Message)

CONTENT_TYPE = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1"}
DATA = b"\x00"
FINISH = b"\x01"


class RawConnection(Protocol):
    """TCP, with all that came, and a Deferred for when enough of it has."""

    def __init__(self) -> None:
        self.closed = False
        self.reset = False
        self._waiters: list[tuple[Callable[[], bool], Deferred[None]]] = []

    def came(self) -> None:
        """Look whether what somebody waits for has come."""
        for waiter in list(self._waiters):
            if waiter[0]() or self.closed:
                self._waiters.remove(waiter)
                waiter[1].callback(None)

    async def until(self, condition: Callable[[], bool], seconds: float = 10) -> None:
        """Wait until a condition is true, or the connection closed.

        :raises TimeoutError: where neither comes.
        """
        if condition() or self.closed:
            return
        waiter: Deferred[None] = Deferred()
        self._waiters.append((condition, waiter))
        timeout = default_reactor.callLater(seconds, waiter.cancel)
        try:
            await waiter
        except CancelledError:
            raise TimeoutError(f"nothing came in {seconds} s") from None
        finally:
            if timeout.active():
                timeout.cancel()

    async def until_closed(self, seconds: float = 10) -> None:
        """Wait for the end of the connection."""
        await self.until(lambda: False, seconds)

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.closed = True
        self.reset = reason is None or reason.check("twisted.internet.error.ConnectionDone") is None
        self.came()

    def abort(self) -> None:
        """Break the connection."""
        assert self.transport is not None
        self.transport.abortConnection()  # type: ignore[attr-defined]


async def pause(seconds: float) -> None:
    """Let some time pass."""
    waiter: Deferred[None] = Deferred()
    default_reactor.callLater(seconds, waiter.callback, None)
    await waiter


async def eventually(condition: Callable[[], bool], seconds: float = 5) -> None:
    """Look again and again, for what no event tells.

    :raises TimeoutError: where the condition stays false.
    """
    for _ in range(int(seconds / 0.005)):
        if condition():
            return
        await pause(0.005)
    raise TimeoutError


async def connect(port: int, protocol: RawConnection) -> None:
    """Connect to a port of 127.0.0.1."""
    await connectProtocol(TCP4ClientEndpoint(default_reactor, "127.0.0.1", port), protocol)


class Websocket(RawConnection):
    """A websocket to one method."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        self._connection = WSConnection(ConnectionType.CLIENT)
        self._partial = bytearray()
        self.messages: list[bytes] = []
        self.pongs = 0
        self.accepted = False
        self.headers: dict[str, str] = {}
        self.close_code = 1006
        self.close_reason = ""

    def connectionMade(self) -> None:
        request = Request(host="127.0.0.1", target=self._path, subprotocols=["grpc-websockets"])
        self._write(self._connection.send(request))

    def _write(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    def dataReceived(self, data: bytes) -> None:
        self._connection.receive_data(data)
        for event in self._connection.events():
            if isinstance(event, AcceptConnection):
                self.accepted = event.subprotocol == "grpc-websockets"
            elif isinstance(event, BytesMessage):
                self._partial += bytes(event.data)
                if event.message_finished:
                    self.messages.append(bytes(self._partial))
                    self._partial = bytearray()
            elif isinstance(event, Pong):
                self.pongs += 1
            elif isinstance(event, CloseConnection):
                self.close_code, self.close_reason = event.code, event.reason or ""
                self._write(self._connection.send(event.response()))
                self.transport.loseConnection()  # type: ignore[union-attr]
        self.came()

    async def opened(self) -> None:
        """Wait for the upgrade."""
        await self.until(lambda: self.accepted)

    def send(self, message: bytes) -> None:
        """Send one binary websocket message."""
        self._write(self._connection.send(BytesMessage(message)))

    def send_text(self, message: str) -> None:
        """Send a text message, which no client should."""
        self._write(self._connection.send(TextMessage(message)))

    def ping(self) -> None:
        """Ask for a pong."""
        self._write(self._connection.send(Ping()))

    def close(self) -> None:
        """Close in order, as a client that gives up."""
        self._write(self._connection.send(CloseConnection(1000)))

    def send_message(self, message: Message | bytes) -> None:
        """Send one gRPC message."""
        payload = message if isinstance(message, bytes) else message.SerializeToString()
        self.send(DATA + frame(payload))

    def finish(self) -> None:
        """Half-close."""
        self.send(FINISH)

    def answer(self) -> "Answer":
        """What has come so far, read as gRPC."""
        return read_answer(b"".join(self.messages))


@dataclass(slots=True)
class Answer:
    """The messages and status of a call; status None where there was none."""

    messages: list[bytes] = field(default_factory=list)
    status: int | None = None
    text: str = ""

    def read(self, kind: type[M]) -> M:
        """The only message.

        :raises AssertionError: where the call failed, or there is not one message.
        """
        assert (self.status, len(self.messages)) == (0, 1), (self.status, self.text, len(self.messages))
        return kind.FromString(self.messages[0])

    def read_all(self, kind: type[M]) -> list[M]:
        """All messages."""
        return [kind.FromString(message) for message in self.messages]


def read_answer(stream: bytes, headers: Sequence[tuple[str, str]] = ()) -> Answer:
    """Take a stream of gRPC-Web frames apart."""
    answer = Answer()
    _note_status(answer, dict(headers))
    for flag, payload in FrameParser(1 << 31).feed(stream):
        if flag & 0x80:
            lines = [line.partition(": ") for line in payload.decode("latin-1").split("\r\n")]
            _note_status(answer, {name.lower(): value for name, _, value in lines})
        else:
            answer.messages.append(payload)
    return answer


def _note_status(answer: Answer, fields: dict[str, str]) -> None:
    if "grpc-status" in fields:
        answer.status = int(fields["grpc-status"])
        answer.text = unquote_to_bytes(fields.get("grpc-message", "")).decode()


async def open_call(port: int, path: str, metadata: dict[str, str]) -> Websocket:
    """A websocket with the metadata sent."""
    websocket = Websocket(path)
    await connect(port, websocket)
    await websocket.opened()
    websocket.send(header_lines({**metadata, **CONTENT_TYPE}))
    return websocket


async def call(port: int, path: str, metadata: dict[str, str], *messages: Message | bytes) -> Answer:
    """A whole call by websocket: messages, half-close, answer."""
    websocket = await open_call(port, path, metadata)
    for message in messages:
        websocket.send_message(message)
    websocket.finish()
    await websocket.until_closed()
    return websocket.answer()


class Http(RawConnection):
    """A connection for HTTP requests written by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.data = bytearray()

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        self.came()

    def write(self, data: bytes) -> None:
        """Send bytes."""
        assert self.transport is not None
        self.transport.write(data)


@dataclass(slots=True)
class HttpResponse:
    """A response; `complete` says whether its end was seen."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    complete: bool

    def header(self, name: str) -> str | None:
        """A header's value."""
        return next((value for known, value in self.headers if known.lower() == name.lower()), None)

    def answer(self) -> Answer:
        """The response read as gRPC-Web."""
        return read_answer(self.body, [(name.lower(), value) for name, value in self.headers])


def parse_response(data: bytes | bytearray) -> HttpResponse | None:
    """The first response in some bytes, as far as it has come; None where even the headers are not there."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="POST", target="/", headers=[("Host", "x"), ("Content-Length", "0")]))
    connection.send(h11.EndOfMessage())
    if data:
        connection.receive_data(bytes(data))
    response: HttpResponse | None = None
    pieces: list[bytes] = []
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Response):
            headers = [(name.decode(), value.decode("latin-1")) for name, value in event.headers.raw_items()]
            response = HttpResponse(event.status_code, headers, b"", False)
        elif isinstance(event, h11.Data) and response is not None:
            pieces.append(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage) and response is not None:
            response.complete, response.body = True, b"".join(pieces)
            return response
        elif event is h11.NEED_DATA or event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
            if response is not None:
                response.body = b"".join(pieces)
            return response


def post_head(path: str, fields: dict[str, str]) -> bytes:
    """The head of a POST request."""
    return f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode() + header_lines(fields) + b"\r\n"


async def post(port: int, path: str, metadata: dict[str, str], body: bytes) -> HttpResponse:
    """A POST on a connection of its own, closed afterwards.

    :raises AssertionError: where no response came.
    """
    http = Http()
    await connect(port, http)
    fields = {**CONTENT_TYPE, **metadata, "connection": "close", "content-length": str(len(body))}
    http.write(post_head(path, fields) + body)
    await http.until_closed()
    response = parse_response(http.data)
    assert response is not None
    return response
