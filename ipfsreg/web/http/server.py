"""The server: all connections together, so that they can be brought to an end."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ServerFactory

from ipfsreg import __version__
from ipfsreg.flow.clock import MonotonicClock

from .connection import Connection
from .connection_limits import ConnectionBounds, ConnectionCount, Refusals, RefusedConnection
from .headers import CommonHeaders, encode
from .limits import HttpLimits
from .request import Request
from .unread import Unread

Handler = Callable[[Request], None]
"""Is called with each request when its headers have arrived, and sees to it that it gets an answer."""


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """How answers are written: those without a handler, of a ``media_type`` and with what ``refusal`` makes of a status
    and a message; and the ``headers`` that every answer has.
    """

    media_type: str
    refusal: Callable[[HTTPStatus, str], bytes]
    headers: Mapping[str, str] = field(default_factory=dict)


RETRY_SECONDS = 10
"""When a client for whom there was no connection may try again."""

_UNBOUNDED = ConnectionBounds()


class HttpServer(ServerFactory):
    """Answers requests with a handler.

    ``observers`` are called with each request that has its whole answer, and ``bounds`` say how many connections may
    be.
    """

    noisy = False

    def __init__(
        self,
        handler: Handler,
        reactor: Any,
        limits: HttpLimits,
        form: AnswerFormat,
        *,
        observers: Sequence[Callable[[Request], None]] = (),
        bounds: ConnectionBounds = _UNBOUNDED,
    ) -> None:
        self.reactor = reactor
        self.clock = MonotonicClock().seconds
        self.limits = limits
        self.unread = Unread()
        self.connections: dict[Connection, str] = {}
        """All of them, and what each is counted as."""
        self._handler = handler
        self._form = form
        self._headers = CommonHeaders(f"ipfsreg/{__version__}", form.headers)
        self._observers = observers
        self._all_gone: Deferred[None] | None = None
        self._count = ConnectionCount(bounds, self.clock)
        self._refused = Refusals(reactor, self.refusal)

    def buildProtocol(self, addr: IAddress | None) -> Connection | RefusedConnection:
        """See `IProtocolFactory`."""
        counted = self._count.take(addr)
        if counted is None:
            return self._refused.protocol()
        connection = Connection(self)
        self.connections[connection] = counted
        return connection

    @property
    def busy(self) -> int:
        """How many connections are in the middle of a request."""
        return sum(1 for connection in self.connections if connection.request is not None)

    @property
    def sending(self) -> bool:
        """Whether something may still be on its way to a client.

        A plain connection that was told to close is gone when the kernel has taken over all of it. One with TLS waits
        for its client to say goodbye, which is no reason to wait.
        """
        return any(each.request is not None or not each.secure for each in self.connections)

    def close_idle_connections(self) -> None:
        """Close each connection that is not in the middle of a request. What it was sent last still arrives."""
        for connection in list(self.connections):
            connection.close_if_idle()

    def close_connections(self) -> "Deferred[None]":
        """Close every connection, whatever it is at; fires when all are closed."""
        if not self.connections:
            return succeed(None)
        gone = self._all_gone = Deferred()
        for connection in list(self.connections):
            connection.drop()
        return gone

    # A connection's side.

    def handle(self, request: Request) -> None:
        """Answer a request."""
        if request.uri != b"*":
            self._handler(request)
        elif request.method == b"OPTIONS":  # the server as a whole (RFC 9110, 9.3.7)
            request.end()
        else:
            request.prepare(HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": "OPTIONS"})
            request.end()

    def common_headers(self) -> bytes:
        """The lines that every answer has."""
        return self._headers.at(time.time())

    def refusal(self, status: HTTPStatus, message: str) -> bytes:
        """The whole answer to what is not a request, or to who is one too many (503)."""
        content = self._form.refusal(status, message)
        own = {"Content-Type": self._form.media_type, "Content-Length": len(content), "Connection": "close"}
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            own["Retry-After"] = RETRY_SECONDS
        status_line = f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode()
        return b"".join((status_line, self.common_headers(), encode(own.items()), b"\r\n", content))

    def answered(self, request: Request) -> None:
        """A request has its answer."""
        for observer in self._observers:
            observer(request)

    def lost(self, connection: Connection) -> None:
        """A connection is no more."""
        self._count.release(self.connections.pop(connection))
        if self._all_gone is not None and not self.connections:
            gone, self._all_gone = self._all_gone, None
            gone.callback(None)
