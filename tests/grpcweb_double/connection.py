"""One TCP connection to the double: HTTP/1.1 requests, or one websocket."""

from dataclasses import dataclass, field

import h11
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from wsproto.utilities import RemoteProtocolError

from .dispatcher import Dispatcher
from .faults import CallFaults
from .link import Link
from .post import PostExchange
from .recorder import Recorder
from .settings import MessageLimits, Wrapper
from .websocket import WebsocketExchange


@dataclass(slots=True)
class Front:
    """What each connection needs of its server."""

    clock: IReactorTime
    dispatcher: Dispatcher
    wrapper: Wrapper
    limits: MessageLimits
    faults: CallFaults
    recorder: Recorder
    connections: "set[Connection]" = field(default_factory=set)


class Connection(Protocol):
    """Parses HTTP with h11 and hands each request to its transport.

    See docs/protocols/grpc-web.md, "Requests and answers".
    """

    def __init__(self, front: Front) -> None:
        self.front = front
        self.link: Link
        self.http = h11.Connection(h11.SERVER)
        self._post: PostExchange | None = None
        self._websocket: WebsocketExchange | None = None

    def connectionMade(self) -> None:
        front = self.front
        front.connections.add(self)
        front.recorder.connections += 1
        front.recorder.open_connections += 1
        self.link = Link(front.clock, self.transport, front.faults.latency, self._received, self._cancel_call)

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.front.connections.discard(self)
        self.front.recorder.open_connections -= 1
        # First the call, then the link: a call that waits for room must find itself cancelled when it wakes.
        self.link.lost = True
        if self._websocket is not None:
            self._websocket.connection_lost()
        self._cancel_call()
        self.link.connection_lost()

    def _cancel_call(self) -> None:
        exchange = self._websocket or self._post
        if exchange is not None and exchange.call is not None:
            exchange.call.cancel()

    def dataReceived(self, data: bytes) -> None:
        self.link.arrived(data)

    def _received(self, data: bytes) -> None:
        if self._websocket is not None:
            self._websocket.data_received(data)
            return
        self.http.receive_data(data)
        self._pump()

    def _pump(self) -> None:
        try:
            self._handle_events()
        except (h11.RemoteProtocolError, RemoteProtocolError):
            self.link.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
            self.link.close()

    def _handle_events(self) -> None:
        while self._websocket is None:
            event = self.http.next_event()
            if event is h11.NEED_DATA:
                if self.http.they_are_waiting_for_100_continue:
                    self.http.send(h11.InformationalResponse(status_code=100, headers=[]))
                    self.link.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                return
            if event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                return
            if isinstance(event, h11.Request):
                self._begin(event)
            elif isinstance(event, h11.Data) and self._post is not None:
                self._post.body_received(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage) and self._post is not None:
                self._post.body_ended()
                # The answer may have been complete before the end of the request was read.
                if self.http.our_state is h11.DONE and self.http.their_state is h11.DONE:
                    self.http.start_next_cycle()

    def _begin(self, request: h11.Request) -> None:
        headers = [(name.decode().lower(), value.decode("latin-1")) for name, value in request.headers]
        single = dict(headers)
        self._post = None
        if (
            single.get("upgrade", "").lower() == "websocket"
            and single.get("sec-websocket-protocol") == "grpc-websockets"
        ):
            self._websocket = WebsocketExchange(self, request)
            self._websocket.accept(self.http.trailing_data[0])
            return
        self._post = PostExchange(self, request, headers)
        self._post.begin()

    def exchange_finished(self) -> None:
        """The answer to a request has been written: go on with the next one, or end the connection."""
        if self.http.our_state is not h11.DONE:
            self.link.close_gently()
        elif self.http.their_state is h11.DONE:
            self.http.start_next_cycle()
            self.front.clock.callLater(0, self._next_request)

    def _next_request(self) -> None:
        if not self.link.lost:
            self._pump()


class ConnectionFactory(Factory):
    """Makes connections for a listening port."""

    noisy = False

    def __init__(self, front: Front) -> None:
        self._front = front

    def buildProtocol(self, addr: object) -> Connection:
        connection = Connection(self._front)
        connection.factory = self
        return connection
