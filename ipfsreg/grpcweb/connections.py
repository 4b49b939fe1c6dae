"""Connections to a server, none of which outlives its use."""

from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI
from twisted.web.iweb import IAgentEndpointFactory, IPolicyForHTTPS
from zope.interface import implementer

CLOSE_SECONDS = 2.0
"""How long a connection that was closed in good order may take to be gone."""


@implementer(IAgentEndpointFactory)
class Connections:
    """Makes endpoints, for Twisted's Agent and for our own exchanges, and knows what they connected.

    ``loseConnection`` alone waits for as long as the peer likes: to read what is still to be written, and with
    TLS to say goodbye as well. On these connections it waits `CLOSE_SECONDS`.

    :param reactor: Twisted's reactor.
    :param tls_policy: which certificates to trust for ``https``.
    """

    def __init__(self, reactor: Any, tls_policy: IPolicyForHTTPS) -> None:
        self._reactor = reactor
        self._tls_policy = tls_policy
        self._open: dict[_Connection, Deferred[None]] = {}
        self._endpoints: dict[tuple[bytes, bytes, int], _Endpoint] = {}

    def __len__(self) -> int:
        return len(self._open)

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """See `IAgentEndpointFactory`. Scheme ``http`` or ``https``. Each server's endpoint is made once."""
        place = (uri.scheme, uri.host, uri.port)
        if place not in self._endpoints:
            self._endpoints[place] = self._endpoint(uri)
        return self._endpoints[place]

    def _endpoint(self, uri: URI) -> "_Endpoint":
        endpoint: Any = HostnameEndpoint(self._reactor, uri.host.decode("ascii"), uri.port)
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(self._tls_policy.creatorForNetloc(uri.host, uri.port), endpoint)
        return _Endpoint(endpoint, self, self._reactor)

    def abort_all(self) -> "Deferred[Any]":
        """Abort every connection; fires when all of them are gone."""
        gone = DeferredList(list(self._open.values()))
        for connection in list(self._open):
            connection.abortConnection()
        return gone

    def made(self, connection: "_Connection") -> None:
        """A connection was made."""
        self._open[connection] = Deferred()

    def lost(self, connection: "_Connection") -> None:
        """A connection was lost."""
        self._open.pop(connection).callback(None)


@implementer(IStreamClientEndpoint)
class _Endpoint:
    def __init__(self, endpoint: IStreamClientEndpoint, connections: Connections, reactor: IReactorTime) -> None:
        self._endpoint = endpoint
        self._connections = connections
        self._reactor = reactor

    def connect(self, protocolFactory: IProtocolFactory) -> "Deferred[IProtocol]":
        factory = _Factory(protocolFactory, self._connections, self._reactor)
        connecting: Deferred[Any] = self._endpoint.connect(factory)
        return connecting.addCallback(lambda connection: connection.wrappedProtocol)


class _Factory(WrappingFactory["_Connection"]):
    noisy = False

    def __init__(self, wrapped: IProtocolFactory, connections: Connections, reactor: IReactorTime) -> None:
        super().__init__(wrapped)
        self.connections = connections
        self.reactor = reactor

    def buildProtocol(self, addr: Any) -> "_Connection":
        return _Connection(self, self.wrappedFactory.buildProtocol(addr))


class _Connection(ProtocolWrapper):
    factory: _Factory
    _closing: IDelayedCall | None = None

    def connectionMade(self) -> None:
        self.factory.connections.made(self)

    def loseConnection(self) -> None:
        super().loseConnection()
        if self._closing is None and self.connected:
            self._closing = self.factory.reactor.callLater(CLOSE_SECONDS, self.abortConnection)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        self.connected = 0
        self.factory.connections.lost(self)
        super().connectionLost(reason)
