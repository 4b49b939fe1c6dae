"""Where a client connects to."""

from pathlib import Path
from typing import Any

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    UNIXClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.interfaces import IStreamClientEndpoint

from .address import Origin


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
        self._trusted: Any = None
        if authorities is not None:
            from ipfsreg.bucket.authorities import load_authorities  # OpenSSL, only where it is used

            self._trusted = load_authorities(authorities)

    def of(self, origin: Origin) -> IStreamClientEndpoint:
        """The endpoint of a server, for all connections to it."""
        if self._socket is not None:
            return UNIXClientEndpoint(self._reactor, self._socket, timeout=self._seconds)
        host = origin.host
        kind: Any = HostnameEndpoint  # which asks a resolver, in a thread, for what is an address already
        if isIPAddress(host) or isIPv6Address(host):
            kind = TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint
        endpoint: IStreamClientEndpoint = kind(self._reactor, host, origin.port, timeout=self._seconds)
        if origin.scheme != "https":
            return endpoint
        from twisted.internet.ssl import optionsForClientTLS

        return wrapClientTLS(optionsForClientTLS(host, self._trusted), endpoint)
