"""Where an Agent connects to, with a bound to the head of an answer, for which Twisted's client has none."""

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.client import URI, BrowserLikePolicyForHTTPS
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

HEAD_MAX = 256 * 1024
"""Bytes of the longest head of an answer. Where it is longer, the connection is given up."""

_INTERIM = b"HTTP/1.1 1"
_END = b"\r\n\r\n"


@implementer(IAgentEndpointFactory)
class Endpoints:
    """Servers of http and https, or always the ``socket`` of that name on this machine, whatever a URL says.

    A connection is made within so many ``seconds``. ``authorities`` is a PEM file: only what it has is trusted then.
    """

    def __init__(
        self, reactor: Any, seconds: float, *, authorities: Path | None = None, socket: str | None = None
    ) -> None:
        self._reactor = reactor
        self._seconds = seconds
        self._socket = socket
        trusted = []
        if authorities is not None:
            from ipfsreg.bucket.authorities import load_authorities  # OpenSSL, only where it is used

            trusted = [load_authorities(authorities)]
        self._policy = BrowserLikePolicyForHTTPS(*trusted)

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """See `IAgentEndpointFactory`."""
        if self._socket is not None:
            return _Endpoint(UNIXClientEndpoint(self._reactor, self._socket, timeout=self._seconds))
        endpoint: Any = HostnameEndpoint(self._reactor, uri.host.decode("ascii"), uri.port, timeout=self._seconds)
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(self._policy.creatorForNetloc(uri.host, uri.port), endpoint)
        return _Endpoint(endpoint)


@implementer(IStreamClientEndpoint)
class _Endpoint:
    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def connect(self, protocolFactory: IProtocolFactory) -> "Deferred[IProtocol]":
        connecting: Deferred[Any] = self._endpoint.connect(_Factory(protocolFactory))
        return connecting.addCallback(lambda connection: connection.wrappedProtocol)


class _Factory(WrappingFactory["_Connection"]):
    noisy = False

    def buildProtocol(self, addr: Any) -> "_Connection":
        return _Connection(self, self.wrappedFactory.buildProtocol(addr))


class _Connection(ProtocolWrapper):
    """Counts the bytes from a request until the head of its answer is through."""

    _in_head = False
    _head = b""

    def write(self, data: bytes) -> None:
        self._in_head = True
        super().write(data)

    def writeSequence(self, data: Any) -> None:
        self._in_head = True
        super().writeSequence(data)

    def dataReceived(self, data: bytes) -> None:
        if self._in_head:
            self._head += data
            while (end := self._head.find(_END)) >= 0 and self._head.startswith(_INTERIM):
                self._head = self._head[end + len(_END) :]
            if end >= 0:
                self._in_head, self._head = False, b""
            elif len(self._head) > HEAD_MAX:
                self.abortConnection()
                return
        super().dataReceived(data)
