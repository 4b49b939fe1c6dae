"""Connections for Twisted's Agent, whose parser would collect the headers of an answer without end."""

from collections.abc import Hashable, Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.main import CONNECTION_DONE
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import HTTPConnectionPool
from zope.interface import implementer

HEAD_MAX = 64 * 1024
"""Bytes of an answer's headers, with the interim answers (1xx) before them. Servers take no longer ones themselves."""


class HeadersTooLong(Exception):
    """A server sends headers, or interim answers, without an end."""


class BoundedPool(HTTPConnectionPool):
    """A pool whose connections end where the headers of an answer are longer than `HEAD_MAX`."""

    def getConnection(self, key: Hashable, endpoint: IStreamClientEndpoint) -> "Deferred[Any]":
        return super().getConnection(key, _Endpoint(endpoint))


@implementer(IStreamClientEndpoint)
class _Endpoint:
    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def connect(self, protocolFactory: IProtocolFactory) -> "Deferred[Any]":
        factory = WrappingFactory(protocolFactory)
        factory.protocol = _Connection
        factory.noisy = False
        connecting: Deferred[Any] = self._endpoint.connect(factory)
        return connecting.addCallback(lambda connection: connection.wrappedProtocol)


class _Connection(ProtocolWrapper):
    """Counts what comes from the head of a request on until Twisted has all headers of its answer.

    Then it pauses the transport, for somebody to take the body; a short answer without one is not longer either.
    """

    transport: Any

    _came = 0
    _in_head = True
    _ended = False

    def writeSequence(self, data: Iterable[bytes]) -> None:
        written = b"".join(data)
        if written.endswith(b" HTTP/1.1", 0, max(0, written.find(b"\r\n"))):  # no chunk of a body begins like that
            self._came, self._in_head = 0, True
        self.transport.write(written)

    def pauseProducing(self) -> None:
        self._in_head = False
        self.transport.pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        if self._ended:
            return
        super().dataReceived(data)
        self._came += len(data) if self._in_head else 0
        if self._in_head and self._came > HEAD_MAX:
            self._end(Failure(HeadersTooLong(f"headers of more than {HEAD_MAX} bytes")))
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = CONNECTION_DONE) -> None:  # type: ignore[assignment]
        self._end(reason)

    def _end(self, reason: Failure) -> None:
        if not self._ended:
            self._ended = True
            super().connectionLost(reason)
