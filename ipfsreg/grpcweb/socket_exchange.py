"""What the exchanges with a connection of their own have in common."""

from abc import ABC, abstractmethod
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IProtocol, IPushProducer, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from .errors import CallError, ConnectionBroken, NotConnected
from .exchange import ExchangeUser
from .failures import explain


@implementer(IPushProducer)
class _Sending:
    """The call, as the producer of everything that goes into the transport."""

    def __init__(self, user: ExchangeUser) -> None:
        self._user = user
        self.paused = False

    def pauseProducing(self) -> None:
        self.paused = True
        self._user.sending_paused()

    def resumeProducing(self) -> None:
        self.paused = False
        self._user.sending_resumed()

    def stopProducing(self) -> None:
        """The connection is lost, which the protocol is told as well."""


class SocketExchange(Protocol, ABC):
    """An `Exchange` on a connection of its own, both directions at once. Subclasses say what goes over it."""

    transport: Any

    def __init__(self, endpoint: IStreamClientEndpoint, user: ExchangeUser) -> None:
        self.user = user
        self._endpoint = endpoint
        self._connecting: Deferred[IProtocol] | None = None
        self._sending = _Sending(user)
        self._receiving = True
        self.over = False  # nothing is told to the user any more

    # For subclasses.

    @abstractmethod
    def begin(self) -> None:
        """The connection is there."""

    @abstractmethod
    def received(self, data: bytes) -> None:
        """Bytes have come. Mind `over` after each call of the user."""

    def say_goodbye(self) -> None:
        """Write what a transport wants to be ended with, if anything."""

    def reason(self, reason: Failure) -> CallError:
        """What a lost connection means."""
        return ConnectionBroken(explain(reason))

    def give_up(self, error: CallError) -> None:
        """Close the connection for something that was received, and tell the user."""
        if not self.over:
            self.abort()
            self.user.lost(error)

    @property
    def sending_paused(self) -> bool:
        """Whether the transport has enough to write."""
        return self._sending.paused

    @property
    def receiving(self) -> bool:
        """Whether the user wants to be told what is received."""
        return self._receiving and not self.over

    # See `Exchange`.

    def start(self) -> None:
        factory = Factory.forProtocol(lambda: self)
        factory.noisy = False
        self._connecting = self._endpoint.connect(factory)
        self._connecting.addCallbacks(self._connected, self._not_connected)

    def pause_receiving(self) -> None:
        self._receiving = False
        if self.transport is not None:
            self.transport.pauseProducing()

    def resume_receiving(self) -> None:
        self._receiving = True
        if self.transport is not None and not self.over:
            self.transport.resumeProducing()

    def close(self) -> None:
        if self.over:
            return
        if self.sending_paused:
            self.abort()  # what is still to be written would hold the connection open
            return
        self.over = True
        self.say_goodbye()
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def abort(self) -> None:
        if self.over:
            return
        self.over = True
        if self.transport is not None:
            self.transport.unregisterProducer()
            self.transport.abortConnection()
        elif self._connecting is not None:
            self._connecting.cancel()

    # See `IProtocol`.

    def connectionMade(self) -> None:
        """See `IProtocol`."""
        if self.over:
            self.transport.abortConnection()
            return
        self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self._sending, True)
        if not self._receiving:
            self.transport.pauseProducing()
        self.begin()

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol`."""
        if not self.over:
            self.received(data)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """See `IProtocol`."""
        if not self.over:
            self.over = True
            self.user.lost(self.reason(reason))

    def _connected(self, protocol: IProtocol) -> None:
        self._connecting = None

    def _not_connected(self, reason: Failure) -> None:
        self._connecting = None
        if self.over or reason.check(CancelledError):
            return
        self.over = True
        self.user.lost(NotConnected(explain(reason)))
