"""Clients that ask for much and read nothing."""

import gc
import weakref

import pytest
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
        most = min(number + 2, 6)
        await until(lambda most=most: len(served.server.connections) == most)  # type: ignore[misc]
    for connection in (other, greedy[-1]):
        connection.wire.resumeProducing()
        assert (await connection.answer()).content == LONG
        assert (await connection.ask("GET", "/")).content == LONG  # and it goes on
    other.close()


@pytest.mark.parametrize("reads", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_connection_that_is_gone_leaves_nothing(listen: Listen, reads: bool) -> None:
    """Python would look for objects that hold each other only after many more: with what each was to be sent."""
    served = listen(answer)
    connection = await served.connect()
    (gone,) = map(weakref.ref, served.server.connections)
    gc.disable()
    try:
        if reads:
            await connection.ask("GET", "/")
        else:
            connection.wire.pauseProducing()
            connection.begin("GET", "/")
            await until(lambda: any(each.output.congested for each in served.server.connections))
        connection.close()
        await until(lambda: not served.server.connections)
        await until(lambda: gone() is None)
    finally:
        gc.enable()
