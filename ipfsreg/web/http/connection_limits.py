"""How many connections there may be, in all and of one address, and what those above are told."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from twisted.internet.interfaces import IAddress, IDelayedCall, IHalfCloseableProtocol, ISSLTransport
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ipfsreg.flow.client_network import client_network

REFUSED_AT_ONCE = 100
"""How many refused clients are told so at once; those above see their connection closed."""

TELL_SECONDS = 60.0
"""How often the log says that connections are refused."""

_READ_SECONDS = 1.0
"""How long a refused client may take to read why."""


@dataclass(frozen=True, slots=True)
class ConnectionBounds:
    """``maximum`` connections in all, and ``per_address`` of them of one address; None is any number.

    The /64 of an IPv6 address is one. Peers that are ``shared`` by many clients, such as a proxy, are not counted as
    one, nor are those on a Unix socket.
    """

    maximum: int | None = None
    per_address: int | None = None
    shared: Callable[[str], bool] = lambda host: False


class ConnectionCount:
    """Counts the connections of a server. ``seconds`` is a clock that nobody can set."""

    _log = Logger()

    def __init__(self, bounds: ConnectionBounds, seconds: Callable[[], float]) -> None:
        self._bounds = bounds
        self._seconds = seconds
        self._all = 0
        self._of_addresses: Counter[str] = Counter()
        self._refused = 0
        self._told: float | None = None

    def take(self, address: IAddress | None) -> str | None:
        """Count a connection: what to `release` when it ends, or None where there may be no more."""
        host = getattr(address, "host", None)
        key = "" if host is None or self._bounds.shared(host) else client_network(host)
        if self._bounds.maximum is not None and self._all >= self._bounds.maximum:
            self._refuse("connections", self._bounds.maximum)
            return None
        if key and self._bounds.per_address is not None and self._of_addresses[key] >= self._bounds.per_address:
            self._refuse("connections_per_address", self._bounds.per_address)
            return None
        self._all += 1
        self._of_addresses[key] += 1
        return key

    def release(self, key: str) -> None:
        """A connection has ended."""
        self._all -= 1
        self._of_addresses[key] -= 1
        if not self._of_addresses[key]:
            del self._of_addresses[key]

    def _refuse(self, option: str, bound: int) -> None:
        self._refused += 1
        now = self._seconds()
        if self._told is None or now - self._told >= TELL_SECONDS:
            self._log.warn(
                "Connections are refused, {count} since this was last said: [limits] {option} is {bound}.",
                count=self._refused,
                option=option,
                bound=bound,
            )
            self._told, self._refused = now, 0


class Refusals:
    """Makes the protocols that refuse connections. ``answer`` is the whole answer, by its status and message."""

    def __init__(self, reactor: Any, answer: Callable[[HTTPStatus, str], bytes]) -> None:
        self._reactor = reactor
        self._answer = answer
        self._telling = 0

    def protocol(self) -> "RefusedConnection":
        """That of one connection."""
        return RefusedConnection(self)

    def tell(self, refused: "RefusedConnection") -> IDelayedCall | None:
        """Tell a client why, if there are not too many; answers when it is dropped."""
        if self._telling >= REFUSED_AT_ONCE:
            return None
        self._telling += 1
        message = "there are too many connections, to this registry or of your address; try again later"
        refused.say(self._answer(HTTPStatus.SERVICE_UNAVAILABLE, message))
        return self._reactor.callLater(_READ_SECONDS, refused.drop)  # type: ignore[no-any-return]

    def told(self) -> None:
        """A client that was told is gone."""
        self._telling -= 1


@implementer(IHalfCloseableProtocol)
class RefusedConnection(Protocol):
    """Tells a client why, and waits a moment: a connection that is closed with bytes unread is reset at once.

    With TLS it is closed without a word, since a handshake is just what there is no room for.
    """

    transport: Any

    def __init__(self, refusals: Refusals) -> None:
        self._refusals = refusals
        self._timer: IDelayedCall | None = None

    def connectionMade(self) -> None:
        if not ISSLTransport.providedBy(self.transport):
            self._timer = self._refusals.tell(self)
        if self._timer is None:
            self.drop()

    def say(self, answer: bytes) -> None:
        """Send an answer, and that nothing follows."""
        self.transport.write(answer)
        self.transport.loseWriteConnection()

    def drop(self) -> None:
        """Close it at once."""
        self.transport.abortConnection()

    def readConnectionLost(self) -> None:
        self.drop()

    def writeConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol`: we said so ourselves."""

    def connectionLost(self, reason: Failure = CONNECTION_DONE) -> None:  # type: ignore[assignment]
        if self._timer is not None:
            self._refusals.told()
            if self._timer.active():
                self._timer.cancel()
