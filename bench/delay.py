"""A TCP proxy with the delay of a network (``python -m bench.delay PORT SECONDS``): prints the port that it listens on.

Each direction takes half of a round trip, and what a client sends first a whole one more, since a connection over a
network has one behind it before it takes anything. Bandwidth and the window of a connection are not bounded.
"""

import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import react
from twisted.python.failure import Failure


class _Side(Protocol):
    """One end: what it receives goes to the other end later. The order stays, since all of it waits equally long."""

    def __init__(self, reactor: Any, delay: float) -> None:
        self._reactor = reactor
        self._delay = delay
        self._other: Protocol | None = None
        self._not_before = 0.0
        self._waiting: list[bytes] | None = []

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)  # type: ignore[union-attr]

    def pair(self, other: Protocol, not_before: float = 0.0) -> None:
        """Send what was received, and what will be, to the other end; no sooner than at a time of the reactor's."""
        self._other, self._not_before = other, not_before
        waiting, self._waiting = self._waiting or [], None
        for data in waiting:
            self.dataReceived(data)

    def dataReceived(self, data: bytes) -> None:
        if self._waiting is not None:
            self._waiting.append(data)
        else:
            self._later(lambda transport: transport.write(data))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._later(lambda transport: transport.loseConnection())

    def _later(self, act: Any) -> None:
        other = self._other
        if other is not None:
            due = max(self._reactor.seconds(), self._not_before) + self._delay
            self._reactor.callLater(due - self._reactor.seconds(), lambda: act(other.transport))


async def serve(reactor: Any, port: int, round_trip: float) -> int:
    """Listen, and pass on to a port of this machine; answers the port to connect to."""

    def accept() -> _Side:
        client, server = _Side(reactor, round_trip / 2), _Side(reactor, round_trip / 2)
        accepted = reactor.seconds()

        def connected(_: Any) -> None:
            client.pair(server, accepted + round_trip)
            server.pair(client)

        def failed(_: Failure) -> None:
            client.transport.loseConnection()  # type: ignore[union-attr]

        connecting = TCP4ClientEndpoint(reactor, "127.0.0.1", port).connect(Factory.forProtocol(lambda: server))
        connecting.addCallbacks(connected, failed)
        return client

    listening = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Factory.forProtocol(accept))
    return int(listening.getHost().port)


def _main() -> None:
    async def run(reactor: Any) -> None:
        port = await serve(reactor, int(sys.argv[1]), float(sys.argv[2]))
        print(port, flush=True)
        await Deferred()

    react(lambda reactor: Deferred.fromCoroutine(run(reactor)))


if __name__ == "__main__":
    _main()
