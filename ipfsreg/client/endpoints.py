"""Where an Agent connects to."""

from pathlib import Path
from typing import Any

from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.web.client import URI, BrowserLikePolicyForHTTPS
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer


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
        if self._socket is not None:
            return UNIXClientEndpoint(self._reactor, self._socket, timeout=self._seconds)
        endpoint = HostnameEndpoint(self._reactor, uri.host.decode("ascii"), uri.port, timeout=self._seconds)
        if uri.scheme != b"https":
            return endpoint
        return wrapClientTLS(self._policy.creatorForNetloc(uri.host, uri.port), endpoint)
