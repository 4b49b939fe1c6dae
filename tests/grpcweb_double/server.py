"""A server on 127.0.0.1 that a double is made of: it listens, goes away, comes back, and stops."""

from typing import Any, Self

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from .connection import ConnectionFactory, Front
from .dispatcher import Dispatcher
from .faults import CallFaults
from .recorder import Recorder
from .settings import MessageLimits, Wrapper


class DoubleServer:
    """A gRPC-Web server. Its services are put into `dispatcher`; `start` makes it listen."""

    def __init__(self, wrapper: Wrapper, limits: MessageLimits, faults: CallFaults, reactor: Any = None) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self.reactor: Any = reactor
        self.calls = Recorder()
        self.dispatcher = Dispatcher(reactor, self.calls, faults, limits)
        self._front = Front(reactor, self.dispatcher, wrapper, limits, faults, self.calls)
        self._port: Any = None
        self.host, self.port = "127.0.0.1", 0

    @property
    def url(self) -> str:
        """What a user would write as `host`."""
        return f"http://{self.host}:{self.port}"

    @property
    def listening(self) -> bool:
        """Whether one can connect."""
        return self._port is not None

    def start(self, listen: str = "tcp:0:interface=127.0.0.1") -> Self:
        """Listen on a TCP endpoint given as Twisted writes it, by default on any free port.

        :raises twisted.internet.error.CannotListenError: where the port is taken.
        """
        self._port = listen_now(self.reactor, listen, ConnectionFactory(self._front))
        address = self._port.getHost()
        self.host, self.port = address.host, address.port
        return self

    async def go_away(self) -> None:
        """Stop listening and reset all connections, as a server that was killed. What was saved stays."""
        port, self._port = self._port, None
        if port is not None:
            await port.stopListening()
        self.dispatcher.stop()
        self.drop_connections()
        while self._front.connections:
            await deferLater(self.reactor, 0.001)

    def drop_connections(self) -> None:
        """Reset all connections that are open now."""
        for connection in list(self._front.connections):
            connection.transport.abortConnection()  # type: ignore[union-attr]

    def come_back(self) -> None:
        """Listen again, on the same port."""
        self.start(f"tcp:{self.port}:interface={self.host}")

    async def stop(self) -> None:
        """Stop for good.

        :raises Exception: the first thing that went wrong in the double itself, if any did.
        """
        await self.go_away()
        for failure in self.dispatcher.failures:
            failure.raiseException()

    def stopped(self) -> "Deferred[None]":
        """`stop` for callers that want a Deferred."""
        return Deferred.fromCoroutine(self.stop())


def listen_now(reactor: Any, listen: str, factory: Any) -> Any:
    """The port of a TCP endpoint, given as Twisted writes it.

    :raises twisted.internet.error.CannotListenError: where the port is taken.
    """
    # A TCP endpoint listens at once, so that the outcome is there already.
    outcome: list[Any] = []
    serverFromString(reactor, listen).listen(factory).addBoth(outcome.append)
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    return outcome[0]
