"""A TCP proxy with the delay of a network (``python -m bench.delay PORT SECONDS``): prints the port that it listens on.

Each direction takes half of a round trip, and what a client sends first a whole one more, since a connection over a
network has one behind it before it takes anything. Bandwidth and the window of a connection are not bounded.
"""

import sys
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import IListeningPort, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import react
from twisted.python.failure import Failure

Act = Callable[[ITCPTransport], object]


class _Side(Protocol):
    """One end: what it receives goes to the other end later, in the same order."""

    def __init__(self, reactor: Any, delay: float) -> None:
        self._reactor = reactor
        self._delay = delay
        self._other: Protocol | None = None
        self._not_before = 0.0
        self._waiting: deque[tuple[float, Act]] = deque()

    def connectionMade(self) -> None:
        cast(ITCPTransport, self.transport).setTcpNoDelay(True)

    def pair(self, other: Protocol, not_before: float = 0.0) -> None:
        """Pass on what was received and what will be; what came before a time of the reactor's counts as come then."""
        self._other, self._not_before = other, not_before
        if self._waiting:
            self._reactor.callLater(0, self._pass_on)

    def dataReceived(self, data: bytes) -> None:
        self._later(lambda transport: transport.write(data))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._later(lambda transport: transport.loseConnection())

    def _later(self, act: Act) -> None:
        self._waiting.append((self._reactor.seconds(), act))
        if len(self._waiting) == 1 and self._other is not None:
            self._pass_on()

    def _pass_on(self) -> None:
        assert self._other is not None
        while self._waiting:
            came, act = self._waiting[0]
            wait = max(came, self._not_before) + self._delay - self._reactor.seconds()
            if wait > 0:
                self._reactor.callLater(wait, self._pass_on)
                return
            self._waiting.popleft()
            act(cast(ITCPTransport, self._other.transport))


async def serve(reactor: Any, port: int, round_trip: float) -> IListeningPort:
    """Listen, and pass on to a port of this machine."""

    def accept() -> _Side:
        client, server = _Side(reactor, round_trip / 2), _Side(reactor, round_trip / 2)
        accepted = reactor.seconds()

        def connected(_: Any) -> None:
            client.pair(server, accepted + round_trip)
            server.pair(client)

        def failed(_: Failure) -> None:
            cast(ITCPTransport, client.transport).loseConnection()

        connecting = TCP4ClientEndpoint(reactor, "127.0.0.1", port).connect(Factory.forProtocol(lambda: server))
        connecting.addCallbacks(connected, failed)
        return client

    endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
    return cast(IListeningPort, await endpoint.listen(Factory.forProtocol(accept)))


def _main() -> None:
    async def run(reactor: Any) -> None:
        listening = await serve(reactor, int(sys.argv[1]), float(sys.argv[2]))
        print(cast(IPv4Address, listening.getHost()).port, flush=True)
        await Deferred()

    react(lambda reactor: Deferred.fromCoroutine(run(reactor)))


if __name__ == "__main__":
    _main()
