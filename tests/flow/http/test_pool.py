"""Servers whose answers do not end before their bodies begin."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as running
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, Protocol
from twisted.web.client import Agent, ResponseDone, ResponseFailed
from zope.interface import implementer

from ipfsreg.flow.http.pool import HEAD_MAX, BoundedPool, HeadersTooLong

reactor: Any = running

MOST_SENT = 4 * 1024 * 1024
"""What the kernel may hold of an answer that nobody reads, and more: without a bound it would be all of it."""


@implementer(IPushProducer)
class Server(Protocol):
    """Answers each request as ``answer`` says; ``endless`` follows that for ever."""

    answer: Callable[[bytes], bytes]
    endless = b""
    sent: int
    lost: "Deferred[None]"

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(type(self).answer(data))
        if self.endless:
            self.transport.registerProducer(self, True)  # type: ignore[attr-defined]
            self.resumeProducing()

    def resumeProducing(self) -> None:
        if self.transport is None or not self.connected:
            return
        if type(self).sent > 4 * MOST_SENT:
            self.transport.loseConnection()
        else:
            self.transport.write(self.endless)
            type(self).sent += len(self.endless)
            reactor.callLater(0, self.resumeProducing)

    def pauseProducing(self) -> None: ...

    def stopProducing(self) -> None: ...

    def connectionLost(self, reason: object = None) -> None:
        self.connected = 0
        if not self.lost.called:
            self.lost.callback(None)


class Reading(Protocol):
    def __init__(self) -> None:
        self.content = bytearray()
        self.ended: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.content += data

    def connectionLost(self, reason: Any = None) -> None:
        assert reason.check(ResponseDone)
        self.ended.callback(bytes(self.content))


async def read(response: Any) -> bytes:
    reading = Reading()
    response.deliverBody(reading)
    return await reading.ended


@pytest_twisted.async_yield_fixture
async def server() -> AsyncIterator[Any]:
    class Here(Server):
        sent = 0
        lost = Deferred()

    port = reactor.listenTCP(0, Factory.forProtocol(Here), interface="127.0.0.1")
    Here.url = f"http://127.0.0.1:{port.getHost().port}/".encode()  # type: ignore[attr-defined]
    yield Here
    await port.stopListening()


@pytest.mark.parametrize(
    ("begin", "endless"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X-Long: " + b"a" * 8000 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\n", b"a:\r\n" * 1000),
        (b"HTTP/1.1 200 OK\r\nX-Folded: a\r\n", b" a\r\n" * 1000),
        (b"", b"HTTP/1.1 102 Processing\r\n\r\n" * 100),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", b"Content-Length: 5\r\n" * 100),
    ],
)
@pytest_twisted.ensureDeferred
async def test_headers_without_an_end(server: Any, begin: bytes, endless: bytes) -> None:
    server.answer, server.endless = lambda data: begin, endless
    agent = Agent(reactor, pool=BoundedPool(reactor, persistent=False))
    with pytest.raises(ResponseFailed) as caught:
        await agent.request(b"GET", server.url)
    assert caught.value.reasons[0].check(HeadersTooLong)
    await server.lost
    assert server.sent < MOST_SENT


@pytest_twisted.ensureDeferred
async def test_connections_are_used_again(server: Any) -> None:
    """However much came on one before: headers that are long but have an end, and bodies that are longer."""
    long = b"".join(b"X-%d: %b\r\n" % (number, b"a" * 8000) for number in range(6))
    body = b"b" * (20 * HEAD_MAX)

    def answer(request: bytes) -> bytes:
        content = body if request.startswith(b"GET") else b""
        head = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n"
        return head % (long, len(body)) + content

    server.answer = answer
    pool = BoundedPool(reactor)
    agent = Agent(reactor, pool=pool)
    for _ in range(3):
        response = await agent.request(b"HEAD", server.url)
        assert await read(response) == b""
        response = await agent.request(b"GET", server.url)
        assert await read(response) == body
        assert not server.lost.called
    await pool.closeCachedConnections()
    await server.lost
