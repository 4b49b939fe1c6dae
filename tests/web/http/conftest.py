"""A server of the test's own."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest_twisted
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.logger import LogEvent

from ipfsreg.web.http.limits import HttpLimits
from ipfsreg.web.http.server import AnswerFormat, Handler, HttpServer
from tests.web.client import Connection, connect

PATIENT = HttpLimits(idle=30.0, stall=30.0)


class Served:
    """A server that listens on a port of 127.0.0.1."""

    def __init__(self, handler: Handler, limits: HttpLimits) -> None:
        from twisted.internet import reactor

        self._reactor: Any = reactor
        self.server = HttpServer(
            handler,
            reactor,
            limits,
            AnswerFormat("text/plain", lambda status, message: message.encode(), {"X-Common": "yes"}),
        )
        self._port: Any = self._reactor.listenTCP(0, self.server, interface="127.0.0.1")
        address: Any = self._port.getHost()
        self.port: int = address.port
        self._connections: list[Connection] = []

    async def connect(self) -> Connection:
        """A new connection."""
        endpoint = TCP4ClientEndpoint(self._reactor, "127.0.0.1", self._port.getHost().port)
        connection = await connect(endpoint)
        self._connections.append(connection)
        return connection

    async def stop(self) -> None:
        """Close everything."""
        for connection in self._connections:
            connection.close()
        await self._port.stopListening()
        await self.server.close_connections()


Listen = Callable[..., Served]


@pytest_twisted.async_yield_fixture()
async def listen(clean_log: list[LogEvent]) -> AsyncIterator[Listen]:
    """Starts servers: ``listen(handler, limits)``. Each is stopped at the end."""
    running: list[Served] = []

    def start(handler: Handler, limits: HttpLimits = PATIENT) -> Served:
        running.append(Served(handler, limits))
        return running[-1]

    yield start
    for served in running:
        await served.stop()
