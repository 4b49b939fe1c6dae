"""Lanes of calls to a node: connections of their own for each kind, so that no kind starves another."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import DeferredSemaphore
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import optionsForClientTLS
from twisted.web.client import URI, Agent
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from ipfsreg.bucket.authorities import load_authorities
from ipfsreg.flow.http.pool import BoundedPool

from .address import Address

CONNECT_SECONDS = 10.0
IDLE_SECONDS = 30


@implementer(IAgentEndpointFactory)
class _Endpoints:
    def __init__(self, reactor: Any, address: Callable[[], Address]) -> None:
        self._reactor = reactor
        self._address = address

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        address = self._address()
        if address.socket is not None:
            return UNIXClientEndpoint(self._reactor, address.socket, CONNECT_SECONDS)
        host = uri.host.decode("ascii").strip("[]")
        endpoint = HostnameEndpoint(self._reactor, host, uri.port, CONNECT_SECONDS)
        if uri.scheme != b"https":
            return endpoint
        trusted = None if address.authorities is None else load_authorities(address.authorities)
        return wrapClientTLS(optionsForClientTLS(host, trustRoot=trusted), endpoint)


class Lane:
    """So many calls of a kind at once; the others wait for a slot, and not longer than for an answer."""

    def __init__(self, reactor: Any, address: Callable[[], Address], connections: int) -> None:
        self.slots = DeferredSemaphore(connections)
        self.pool = BoundedPool(reactor)
        self.pool.maxPersistentPerHost = connections
        self.pool.cachedConnectionTimeout = IDLE_SECONDS
        self.pool.retryAutomatically = False
        self.endpoints = _Endpoints(reactor, address)
        self.agent = Agent.usingEndpointFactory(reactor, self.endpoints, self.pool)
