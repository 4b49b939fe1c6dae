"""Clients that ask for much and read nothing."""

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint

from ipfsreg.web.http.request import Request
from ipfsreg.web.http.unread import Unread
from tests.web.client import connect, until

from .conftest import Listen

LONG = b"x" * 16 * 1024**2
"""What the kernel keeps of it for a client is far less."""


def answer(request: Request) -> None:
    request.prepare(200, {"Content-Type": "text/plain"})
    request.end(LONG)


@pytest_twisted.ensureDeferred
async def test_the_one_with_the_most_loses_its_oldest(listen: Listen) -> None:
    served = listen(answer)
    served.server.unread = Unread(6 * len(LONG) + 10_000)
    other = await connect(TCP4ClientEndpoint(reactor, "127.0.0.1", served.port, bindAddress=("127.0.0.2", 0)))
    other.wire.pauseProducing()
    other.begin("GET", "/")
    greedy = []
    for number in range(20):
        connection = await served.connect()
        connection.wire.pauseProducing()
        connection.begin("GET", "/")
        greedy.append(connection)
        await until(lambda number=number: len(served.server.connections) == min(number + 2, 6))
    for connection in (other, greedy[-1]):
        connection.wire.resumeProducing()
        assert (await connection.answer()).content == LONG
        assert (await connection.ask("GET", "/")).content == LONG  # and it goes on
    other.close()
