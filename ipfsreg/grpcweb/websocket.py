"""gRPC-Web over a websocket, in the framing of the Go wrapper `improbable-eng/grpc-web`.

All messages are binary. The client's first one holds the metadata as lines of ``name: value``; the others
begin with a byte that says whether bytes of the request follow (0) or the request is finished (1). The server
sends the bytes of the answer, split into messages as it pleases.

This is wsproto (which Twisted's own websockets are made of) on a connection of our own. The client in
`twisted.web.websocket` cannot ask for a subprotocol, which the wrapper insists on; it gathers whole messages
however long, cannot pause receiving, and does not tell why the server closed.
"""

from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.python.failure import Failure
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.utilities import ProtocolError

from .errors import ConnectionBroken, UnexpectedAnswer, one_line
from .exchange import CallHead, ExchangeUser
from .socket_exchange import SocketExchange

SUBPROTOCOL = "grpc-websockets"

MESSAGE_SIZE = 32768
"""The longest websocket message that the wrapper reads since v0.14, counted without the websocket's framing."""

_DATA = b"\x00"
_FINISH = b"\x01"
_PIECE = MESSAGE_SIZE - len(_DATA)
_SENDABLE = (ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING)


class WebSocketExchange(SocketExchange):
    """One call as one websocket.

    Success is told by the status alone: older wrappers drop the connection (1006) after every call.

    :param head: its fields do not go into the HTTP request.
    :param ping_interval: after so many seconds without a byte in either direction a ping is sent, for the
        sake of proxies in between; None for never. Nothing waits for an answer to it: older wrappers do not
        read any more once the request is finished.
    """

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        user: ExchangeUser,
        reactor: IReactorTime,
        head: CallHead,
        ping_interval: float | None,
    ) -> None:
        super().__init__(endpoint, user)
        self._reactor = reactor
        self._websocket = WSConnection(ConnectionType.CLIENT)
        self._handshake = Request(host=head.host, target=head.target, subprotocols=[SUBPROTOCOL])
        self._fields = head.fields
        self._ping_interval = ping_interval
        self._ping_call: IDelayedCall | None = None
        self._last_moved = 0.0

    def begin(self) -> None:
        """Write the handshake."""
        self._send(self._handshake)

    def write(self, data: bytes) -> None:
        for start in range(0, len(data), _PIECE):
            self._send(BytesMessage(data=_DATA + data[start : start + _PIECE]))

    def finish(self) -> None:
        self._send(BytesMessage(data=_FINISH))

    def received(self, data: bytes) -> None:
        """Take apart what came."""
        self._last_moved = self._reactor.seconds()
        try:
            self._websocket.receive_data(data)
            for event in self._websocket.events():
                self._handle(event)
                if self.over:
                    break
        except ProtocolError:
            self.give_up(UnexpectedAnswer("the server does not speak websocket"))

    def say_goodbye(self) -> None:
        """A websocket is closed with a message."""
        self._stop_pings()
        if self._websocket.state in _SENDABLE:
            self.transport.write(self._websocket.send(CloseConnection(code=1000)))

    def abort(self) -> None:
        self._stop_pings()
        super().abort()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """See `IProtocol`."""
        self._stop_pings()
        super().connectionLost(reason)

    def _handle(self, event: Event) -> None:
        if isinstance(event, BytesMessage):
            self.user.data_received(event.data)
        elif isinstance(event, AcceptConnection):
            self._accepted()
        elif isinstance(event, Ping):
            self._send(event.response())
        elif isinstance(event, CloseConnection):
            reason = f" ({one_line(event.reason)})" if event.reason else ""
            # Polite clients answer; but no status will come, and answering gains nothing.
            self.give_up(ConnectionBroken(f"the server closed the websocket, code {int(event.code)}{reason}"))
        elif isinstance(event, RejectConnection):
            status = event.status_code
            self.give_up(UnexpectedAnswer(f"the server refuses the websocket: HTTP status {status}", status))
        elif isinstance(event, TextMessage):
            self.give_up(UnexpectedAnswer("the server sends text over the websocket"))

    def _accepted(self) -> None:
        block = "".join(f"{name}: {value}\r\n" for name, value in self._fields)
        self._send(BytesMessage(data=block.encode("ascii")))
        if self._ping_interval is not None:
            self._ping_call = self._reactor.callLater(self._ping_interval, self._ping_if_silent)
        self.user.opened()

    def _send(self, event: Event) -> None:
        if not self.over:
            self._last_moved = self._reactor.seconds()
            self.transport.write(self._websocket.send(event))

    def _ping_if_silent(self) -> None:
        self._ping_call = None
        if self._ping_interval is None or self.over:
            return
        silent = self._reactor.seconds() - self._last_moved
        # None is sent while this side does not read: if the server has closed already, the answer to a ping
        # would be a reset, and what was sent before it might be lost.
        if silent >= self._ping_interval and self.receiving and not self.sending_paused:
            self._send(Ping())
            silent = 0.0
        wait = max(self._ping_interval - silent, 0.001) if silent < self._ping_interval else self._ping_interval
        self._ping_call = self._reactor.callLater(wait, self._ping_if_silent)

    def _stop_pings(self) -> None:
        if self._ping_call is not None:
            self._ping_call.cancel()
            self._ping_call = None
