"""Short documents from elsewhere."""

from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as running
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, Protocol

from ipfsreg.app.fetching import Fetcher, FetchError

reactor: Any = running


class Answering(Protocol):
    answer = b""
    hang_up = True
    lost: "Deferred[None]"

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(self.answer)
        if self.hang_up:
            self.transport.loseConnection()

    def connectionLost(self, reason: object = None) -> None:
        if not self.lost.called:
            self.lost.callback(None)


@pytest.fixture
def server() -> Iterator[type[Answering]]:
    class Here(Answering):
        lost = Deferred()

    port = reactor.listenTCP(0, Factory.forProtocol(Here), interface="127.0.0.1")
    Here.url = f"http://127.0.0.1:{port.getHost().port}/jwks"  # type: ignore[attr-defined]
    yield Here
    pytest_twisted.blockon(port.stopListening())


def fetch(server: Any, limit: int = 100) -> "Deferred[bytes]":
    return Deferred.fromCoroutine(Fetcher(reactor)(server.url, limit))


@pytest_twisted.ensureDeferred
async def test_a_body(server: type[Answering]) -> None:
    for server.answer in (
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nkeys",
        b"HTTP/1.1 200 OK\r\n\r\nkeys",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nkeys\r\n0\r\n\r\n",
    ):
        assert await fetch(server) == b"keys"


@pytest_twisted.ensureDeferred
async def test_what_is_no_answer(server: type[Answering]) -> None:
    for server.answer, kind in (
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nkeys", FetchError),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", FetchError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n" + b"x" * 101, FetchError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nkeys", Exception),
        (b"nonsense\r\n\r\n", Exception),
    ):
        with pytest.raises(kind):
            await fetch(server)


@pytest_twisted.ensureDeferred
async def test_one_that_never_ends_is_dropped(server: type[Answering]) -> None:
    server.hang_up = False
    server.answer = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5000
    with pytest.raises(FetchError, match="longer than 100 bytes"):
        await fetch(server)
    await server.lost


@pytest_twisted.ensureDeferred
async def test_to_give_up_drops_the_connection(server: type[Answering]) -> None:
    server.hang_up = False
    for server.answer in (b"", b"HTTP/1.1 200 OK\r\n\r\nke"):
        server.lost = Deferred()
        fetching = fetch(server)
        waited: Deferred[None] = Deferred()
        reactor.callLater(0.05, waited.callback, None)
        await waited
        fetching.cancel()
        with pytest.raises((CancelledError, Exception)):
            await fetching
        await server.lost
