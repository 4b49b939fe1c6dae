"""gRPC-Web as an HTTP/1.1 POST whose answer is read while the request is still being written.

Twisted's Agent cannot do that: it tells of the answer's head only once the request is written (or the answer
complete). So this is h11, the HTTP/1.1 state machine, on a connection of our own.

The request carries ``Connection: close``, always. On a connection that is to be kept, Go's HTTP server throws
up to 256 KiB of the request's body away when the handler writes first, and what it reads afterwards is not in
the framing any more.
"""

import h11
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure

from .errors import CallError, ConnectionBroken, UnexpectedAnswer
from .exchange import CallHead, ExchangeUser
from .metadata import Metadata
from .socket_exchange import SocketExchange

NO_STATUS = "the answer ended without a gRPC status"


class DuplexPostExchange(SocketExchange):
    """One call as one POST on one connection."""

    def __init__(self, endpoint: IStreamClientEndpoint, user: ExchangeUser, head: CallHead) -> None:
        super().__init__(endpoint, user)
        self._http = h11.Connection(h11.CLIENT)
        self._head = head

    def begin(self) -> None:
        """Write the head."""
        own = [("Host", self._head.host), ("Connection", "close"), ("Transfer-Encoding", "chunked")]
        request = h11.Request(method="POST", target=self._head.target, headers=[*own, *self._head.fields])
        self.transport.write(self._http.send(request))
        self.user.opened()

    def write(self, data: bytes) -> None:
        if not self.over:
            pieces = self._http.send_with_data_passthrough(h11.Data(data=data))
            self.transport.writeSequence(pieces)

    def finish(self) -> None:
        if not self.over:
            self.transport.write(self._http.send(h11.EndOfMessage()))

    def received(self, data: bytes) -> None:
        """Take apart what came."""
        try:
            self._http.receive_data(data)
            while not self.over:
                event = self._http.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    break
                self._handle(event)
        except h11.RemoteProtocolError:
            # Its text may quote what was received.
            self.give_up(UnexpectedAnswer("the answer is not HTTP"))

    def reason(self, reason: Failure) -> CallError:
        """A body of unknown length ends with the connection, without a status in it."""
        if self._http.their_state is h11.SEND_BODY:
            return ConnectionBroken(f"{NO_STATUS}: {super().reason(reason)}")
        return super().reason(reason)

    def _handle(self, event: object) -> None:
        if isinstance(event, h11.Response):
            self.user.head_received(event.status_code, Metadata.received(event.headers))
        elif isinstance(event, h11.Data):
            self.user.data_received(event.data)
        elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
            self.give_up(ConnectionBroken(NO_STATUS))
