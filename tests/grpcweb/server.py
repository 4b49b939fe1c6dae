"""A gRPC-Web server of both transports for tests: handlers are coroutines, habits are those of the Go wrapper.

Independent of the client's code on purpose. How faithful it is to the real wrapper is the business of the
golden vectors (`test_vectors`), which are replayed without it.
"""

from collections import deque
from collections.abc import Callable, Coroutine
from socket import IPPROTO_TCP, TCP_INFO
from typing import Any, Self

import h11
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Pong, Request, TextMessage
from zope.interface import implementer

reactor: Any = installed_reactor

Handler = Callable[["ServerCall"], Coroutine[Any, Any, None]]

READ_AHEAD = 128 * 1024

_TCP_ESTABLISHED = 1
"""Of the states in Linux' ``tcp_states.h``: no end has closed it."""


class ServerCall:
    """One call, as a handler sees it."""

    def __init__(self, peer: "Peer", path: str, transport: str, metadata: dict[str, str]) -> None:
        self.peer = peer
        self.path = path
        self.transport = transport
        self.metadata = metadata
        self.received = 0
        self.finished = False
        self.broken: Deferred[None] = Deferred()
        self._buffer = bytearray()
        self._messages: deque[bytes] = deque()
        self._waiting: Deferred[bytes | None] | None = None
        self._held = False
        self._discarding = False

    # For handlers.

    def receive(self) -> "Deferred[bytes | None]":
        """The next message, None at the end; never fires once the connection is broken."""
        waiting: Deferred[bytes | None] = Deferred()
        self._waiting = waiting
        self._advance()
        return waiting

    def hold(self) -> None:
        """Read nothing from the connection until `release`."""
        self._held = True
        self._settle()

    def release(self) -> None:
        self._held = False
        self._advance()

    def discard(self) -> None:
        """Read whatever comes, and forget it."""
        self._discarding = True
        if not self.peer.closed:
            self.peer.transport.resumeProducing()
            self.peer.transport.unregisterProducer()  # or Twisted would wait for it before it closes TLS

    async def send(self, payload: bytes) -> None:
        """Send one message, and wait until the connection takes more."""
        self.peer.answer(payload)
        await self.peer.writable()

    def status(self, code: int, message: str = "") -> None:
        self.peer.end(code, message)

    # For the peer.

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if self._discarding:
            return
        self._buffer += data
        self._advance()

    def request_finished(self) -> None:
        self.finished = True
        self._advance()

    def _advance(self) -> None:
        while len(self._buffer) >= 5 and not self._held:
            assert self._buffer[0] == 0, "the client's framing has slipped"
            length = int.from_bytes(self._buffer[1:5], "big")
            if len(self._buffer) < 5 + length:
                break
            self._messages.append(bytes(self._buffer[5 : 5 + length]))
            del self._buffer[: 5 + length]
        if self._waiting is not None and not self._held and (self._messages or self.finished):
            waiting, self._waiting = self._waiting, None
            waiting.callback(self._messages.popleft() if self._messages else None)
        self._settle()

    def _settle(self) -> None:
        waits = len(self._buffer) + sum(len(message) for message in self._messages)
        if self._held or (waits > READ_AHEAD and self._waiting is None):
            self.peer.transport.pauseProducing()
        elif not self.peer.closed:
            self.peer.transport.resumeProducing()


class Server:
    """Listens on a free port of 127.0.0.1.

    :param handlers: by path.
    :param old: behave as wrapper v0.13.0: no limit of websocket messages, no close message, nothing read
        after the client has finished.
    :param never_closes: leave the connection open after the status.
    """

    def __init__(
        self, handlers: dict[str, Handler], *, old: bool = False, never_closes: bool = False, tls: Any = None
    ) -> None:
        self.handlers = handlers
        self.old = old
        self.never_closes = never_closes
        self._tls = tls
        self._port: Any = None
        self.url = ""
        self.peers: set[Peer] = set()
        self.accepted = 0
        self.calls: list[ServerCall] = []
        self.failures: list[Failure] = []

    async def start(self) -> Self:
        factory = Factory.forProtocol(lambda: Peer(self))
        factory.noisy = False
        if self._tls is None:
            endpoint: Any = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
            port: Any = await endpoint.listen(factory)
        else:
            port = reactor.listenSSL(0, factory, self._tls, interface="127.0.0.1")
        self._port = port
        self.url = f"{'http' if self._tls is None else 'https'}://127.0.0.1:{port.getHost().port}"
        return self

    async def stop(self) -> None:
        port, self._port = self._port, None
        if port is None:
            return
        await port.stopListening()
        for peer in list(self.peers):
            peer.transport.abortConnection()
        await until(lambda: not self.peers)
        for failure in self.failures:
            failure.raiseException()


@implementer(IPushProducer)
class Peer(Protocol):
    """One connection."""

    transport: Any

    def __init__(self, server: Server) -> None:
        self.server = server
        self.call: ServerCall | None = None
        self.requests: list[h11.Request] = []
        self.websocket_messages: list[bytes] = []
        self.pings = 0
        self.handshake = b""
        self._pong: Deferred[bytes] | None = None
        self.close_code: int | None = None
        self.closed = False
        self._head: bytearray | None = bytearray()
        self._http: h11.Connection | None = None
        self._websocket: WSConnection | None = None
        self._path = ""
        self._message = bytearray()
        self._headers_sent = False
        self.is_paused = False
        self._wanted: list[Deferred[None]] = []

    # Twisted's side.

    def connectionMade(self) -> None:
        self.server.peers.add(self)
        self.server.accepted += 1
        self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, True)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.closed = True
        self.server.peers.discard(self)
        if self.call is not None and not self.call.broken.called:
            self.call.broken.callback(None)

    def is_connected(self) -> bool:
        """Whether the client still has the connection. A peer that neither reads nor writes does not notice its end."""
        tcp = getattr(self.transport, "transport", self.transport)  # below TLS, if any
        return bool(tcp.socket.getsockopt(IPPROTO_TCP, TCP_INFO, 1)[0] == _TCP_ESTABLISHED)

    def pauseProducing(self) -> None:
        self.is_paused = True

    def resumeProducing(self) -> None:
        self.is_paused = False
        wanted, self._wanted = self._wanted, []
        for deferred in wanted:
            deferred.callback(None)

    def stopProducing(self) -> None:
        pass

    def writable(self) -> "Deferred[None]":
        if not self.is_paused:
            return deferLater(reactor, 0, lambda: None)
        wanted: Deferred[None] = Deferred()
        self._wanted.append(wanted)
        return wanted

    def dataReceived(self, data: bytes) -> None:
        if self._head is not None:
            self._head += data
            if b"\r\n\r\n" not in self._head:
                return
            data, self._head = bytes(self._head), None
            self.handshake = data.partition(b"\r\n\r\n")[0]
            if b"upgrade: websocket" in data.lower():
                self._websocket = WSConnection(ConnectionType.SERVER)
            else:
                self._http = h11.Connection(h11.SERVER)
        if self._websocket is not None:
            self._websocket_received(data)
        elif self._http is not None:
            self._http.receive_data(data)
            self._http_events()

    def _begin(self, path: str, transport: str, metadata: dict[str, str]) -> None:
        self.call = ServerCall(self, path, transport, metadata)
        self.server.calls.append(self.call)
        handler = self.server.handlers[path.partition("?")[0]]
        handling: Deferred[None] = Deferred.fromCoroutine(handler(self.call))
        handling.addErrback(self.server.failures.append)

    # POST.

    def _http_events(self) -> None:
        assert self._http is not None
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return
            if isinstance(event, h11.Request):
                self.requests.append(event)
                self._headers_sent = False
                fields = {name.decode(): value.decode() for name, value in event.headers}
                self._begin(event.target.decode(), "post", fields)
            elif isinstance(event, h11.Data):
                assert self.call is not None
                self.call.data_received(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                assert self.call is not None
                self.call.request_finished()
            else:
                return

    def _post_head(self, *fields: tuple[str, str]) -> None:
        assert self._http is not None
        if not self._headers_sent:
            self._headers_sent = True
            headers = [("Content-Type", "application/grpc-web+proto"), *fields]
            self.transport.write(self._http.send(h11.Response(status_code=200, headers=headers)))

    # Websocket.

    def _websocket_received(self, data: bytes) -> None:
        assert self._websocket is not None
        if self.server.old and self.call is not None and self.call.finished:
            return
        self._websocket.receive_data(data)
        for event in self._websocket.events():
            if isinstance(event, Request):
                assert event.subprotocols == ["grpc-websockets"], "the wrapper would not take this for its own"
                assert event.extensions == []
                self._path = event.target
                self.transport.write(self._websocket.send(AcceptConnection(subprotocol="grpc-websockets")))
            elif isinstance(event, BytesMessage):
                self._message += event.data
                if event.message_finished:
                    message, self._message = bytes(self._message), bytearray()
                    self._websocket_message(message)
            elif isinstance(event, Ping):
                self.pings += 1
                self.transport.write(self._websocket.send(event.response()))
            elif isinstance(event, Pong):
                pong, self._pong = self._pong, None
                if pong is not None:
                    pong.callback(bytes(event.payload))
            elif isinstance(event, CloseConnection):
                self.close_code = int(event.code)
                if self._websocket.state is ConnectionState.REMOTE_CLOSING:
                    self.transport.write(self._websocket.send(event.response()))
                self.transport.unregisterProducer()
                self.transport.loseConnection()
            else:
                assert not isinstance(event, TextMessage)

    def _websocket_message(self, message: bytes) -> None:
        self.websocket_messages.append(message if len(message) <= 256 else message[:256])
        if not self.server.old and len(message) > 32768:
            self.close(1009, f"read limited at {32769} bytes")
        elif self.call is None:
            lines = message.decode("ascii").split("\r\n")[:-1]
            self._begin(self._path, "websocket", dict(line.split(": ", 1) for line in lines))
        elif message == b"\x01":
            self.call.request_finished()
        else:
            assert message[0] == 0
            self.call.data_received(message[1:])

    def _websocket_send(self, flag: int, payload: bytes) -> None:
        assert self._websocket is not None
        if self._websocket.state is ConnectionState.OPEN:
            self.transport.write(self._websocket.send(BytesMessage(data=prefix(flag, len(payload)))))
            self.transport.write(self._websocket.send(BytesMessage(data=payload)))

    def answer_at_once(self, payloads: list[bytes]) -> None:
        """Send several messages as one piece."""
        body = b"".join(prefix(0x00, len(payload)) + payload for payload in payloads)
        if self._websocket is not None:
            self._headers_sent = True
            self._websocket_send(0x80, b"Content-Type: application/grpc+proto\r\n")
            self.transport.write(self._websocket.send(BytesMessage(data=body)))
            return
        assert self._http is not None
        self._post_head()
        self.transport.write(self._http.send(h11.Data(data=body)))

    def ping(self, payload: bytes) -> "Deferred[bytes]":
        """Ping the client; fires with what its pong holds."""
        assert self._websocket is not None
        self.transport.write(self._websocket.send(Ping(payload=payload)))
        self._pong = Deferred()
        return self._pong

    def close(self, code: int, reason: str) -> None:
        """Close a websocket with a message that says why."""
        assert self._websocket is not None
        if self._websocket.state is ConnectionState.OPEN:
            self.transport.write(self._websocket.send(CloseConnection(code=code, reason=reason)))
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    # Answers.

    def answer(self, payload: bytes) -> None:
        if self._websocket is not None:
            if not self._headers_sent:
                self._headers_sent = True
                self._websocket_send(0x80, b"Content-Type: application/grpc+proto\r\nTrailer: Grpc-Status\r\n")
            self._websocket_send(0x00, payload)
            return
        assert self._http is not None
        self._post_head()
        for piece in (prefix(0x00, len(payload)), payload):
            self.transport.write(self._http.send(h11.Data(data=piece)))

    def end(self, code: int, message: str) -> None:
        if self.closed:
            return
        lines = (f"grpc-message: {message}\r\n" if message else "") + f"grpc-status: {code}\r\n"
        if self._websocket is not None:
            self._websocket_send(0x80, lines.encode())
            if self.server.never_closes:
                return
            if not self.server.old:
                self.close(1000, "request body closed")
                return
            self.transport.unregisterProducer()
            self.transport.loseConnection()
            return
        assert self._http is not None
        if self._headers_sent:
            trailers = lines.encode()
            self.transport.write(self._http.send(h11.Data(data=prefix(0x80, len(trailers)) + trailers)))
        else:
            text = [("Grpc-Message", message)] if message else []
            self._post_head(("Grpc-Status", str(code)), *text)
        if self.server.never_closes:
            return
        self.transport.write(self._http.send(h11.EndOfMessage()))
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            self._http_events()
        elif self._http.our_state in (h11.MUST_CLOSE, h11.CLOSED) or self._http.their_state is h11.SEND_BODY:
            self.transport.unregisterProducer()
            self.transport.loseConnection()


def prefix(flag: int, length: int) -> bytes:
    return bytes([flag]) + length.to_bytes(4, "big")


async def until(condition: Callable[[], Any], seconds: float = 5.0) -> None:
    """Wait for something to become true."""
    ends = reactor.seconds() + seconds
    while not condition():
        assert reactor.seconds() < ends, (reactor.getDelayedCalls(), reactor.getReaders(), reactor.getWriters())
        await deferLater(reactor, 0.005, lambda: None)
