"""The transport, and writing to it: at once where the socket takes it, and through its buffer where not."""

from collections.abc import Callable
from typing import cast

from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IConsumer, IPullProducer, IPushProducer, ISystemHandle, ITCPTransport
from zope.interface import implementer


class IWire(ITCPTransport, IConsumer, IPushProducer, ISystemHandle):
    """What every transport of ours can do: TCP, TLS over it, and Unix sockets, which have all that matters here."""


@implementer(IPullProducer)
class SocketOutlet:
    """A plain connection's. ``drained`` is called when the socket has taken all that it did not take at once.

    A transport that is given an answer waits for the reactor to tell that the socket is writable, which costs three
    system calls more than to write.
    """

    def __init__(self, wire: IWire, drained: Callable[[], None]) -> None:
        self._wire = wire
        self._descriptor = cast(FileDescriptor, wire)
        self._drained = drained
        self._asked = False
        self.congested = False
        """Whether the client has yet to take what it was sent before."""

    def write(self, data: bytes) -> None:
        """Send bytes, after all those before."""
        if self.congested:
            self._wire.write(data)
            return
        sent = self._descriptor.writeSomeData(data)
        if sent == len(data):
            return
        if not isinstance(sent, int):
            self._wire.abortConnection()
            return
        self.congested = True
        self._wire.write(data[sent:] if sent else data)
        # A pull producer is asked once when it is registered, and a second time when the buffer is empty.
        self._asked = False
        self._wire.registerProducer(self, False)

    def close(self) -> None:
        """End the connection when it has sent everything."""
        self._wire.loseConnection()

    def resumeProducing(self) -> None:
        """The transport's side: see `write`."""
        if not self._asked:
            self._asked = True
            return
        self._wire.unregisterProducer()
        self.congested = False
        self._drained()

    def stopProducing(self) -> None:
        """The transport's side: the connection is gone, which its protocol is told as well."""


@implementer(IPushProducer)
class TlsOutlet:
    """As `SocketOutlet`, where bytes are encrypted on their way: there the transport says when it is full."""

    def __init__(self, wire: IWire, drained: Callable[[], None]) -> None:
        self._wire = wire
        self._drained = drained
        self.congested = False
        wire.registerProducer(self, True)

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self._wire.write(data)

    def close(self) -> None:
        """End the connection when it has sent everything."""
        self._wire.unregisterProducer()  # it would be waited for
        self._wire.loseConnection()

    def pauseProducing(self) -> None:
        """The transport's side: more is waiting than it likes."""
        self.congested = True

    def resumeProducing(self) -> None:
        """The transport's side: the client has taken it."""
        self.congested = False
        self._drained()

    def stopProducing(self) -> None:
        """The transport's side: the connection is gone."""
