"""The proxy that delays: what goes through it comes out whole and in order, half a round trip later."""

import os
import time
from typing import cast

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.wire import Echo
from twisted.python.failure import Failure

from bench.delay import serve

ROUND_TRIP = 0.05


class _Client(Protocol):
    def __init__(self, wanted: int) -> None:
        self.received = b""
        self.whole: Deferred[None] = Deferred()
        self.lost: Deferred[None] = Deferred()
        self._wanted = wanted

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if len(self.received) == self._wanted:
            self.whole.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(None)


@pytest_twisted.ensureDeferred
async def test_what_goes_through_is_whole_and_late() -> None:
    echo = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Factory.forProtocol(Echo))
    proxy = await serve(reactor, cast(IPv4Address, echo.getHost()).port, ROUND_TRIP)
    content = os.urandom(300_000)
    client = _Client(len(content))
    began = time.monotonic()
    await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", cast(IPv4Address, proxy.getHost()).port), client)
    assert client.transport is not None
    client.transport.write(content)
    await client.whole
    # One for the connection, one there and back.
    assert time.monotonic() - began >= 2 * ROUND_TRIP
    assert client.received == content
    client.transport.loseConnection()
    await client.lost
    for port in (proxy, echo):
        await maybeDeferred(port.stopListening)
