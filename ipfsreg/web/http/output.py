"""All that goes to one client: answers, what producers write, and files.

Bytes are written at once where the socket takes them, and go through the transport's buffer where not.
"""

import os
from collections.abc import Callable
from socket import socket
from typing import Any, Protocol, cast

from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import (
    IProducer,
    IPullProducer,
    IPushProducer,
)
from zope.interface import implementer

from ipfsreg.flow.sendfile import SocketGone, SocketSender
from ipfsreg.flow.signal import Signal
from ipfsreg.flow.workers import Workers

from .unread import UNCOUNTED, Unread
from .wire import IWire


def _nothing() -> None:
    """Where nobody is to be told."""


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
        rest = memoryview(data)
        while rest:
            sent = self._descriptor.writeSomeData(rest)  # type: ignore[arg-type]  # at most 128 KiB of it
            if not isinstance(sent, int):
                self._wire.abortConnection()
                return
            if not sent:
                break
            rest = rest[sent:]
        else:
            return
        self.congested = True
        self._wire.write(bytes(rest))
        # A pull producer is asked once when it is registered, and a second time when the buffer is empty.
        self._asked = False
        self._wire.registerProducer(self, False)

    def close(self) -> None:
        """End the connection when it has sent everything."""
        self._wire.loseConnection()

    def forget(self) -> None:
        """The connection is gone."""
        self._drained = _nothing

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

    def forget(self) -> None:
        """The connection is gone."""
        self._drained = _nothing

    def pauseProducing(self) -> None:
        """The transport's side: more is waiting than it likes."""
        self.congested = True

    def resumeProducing(self) -> None:
        """The transport's side: the client has taken it."""
        self.congested = False
        self._drained()

    def stopProducing(self) -> None:
        """The transport's side: the connection is gone."""


class OutputServer(Protocol):
    """What all outputs of a server share."""

    reactor: Any
    unread: Unread


class Output:
    """``taken`` is called when the client has taken everything, ``moved`` when it has taken a part of a file."""

    def __init__(
        self, wire: IWire, server: OutputServer, *, secure: bool, taken: Callable[[], None], moved: Callable[[], None]
    ) -> None:
        self._wire = wire
        self._reactor = server.reactor
        self._unread = server.unread
        self._waits = 0
        self._outlet = (TlsOutlet if secure else SocketOutlet)(wire, self._drained)
        self._taken = taken
        self._moved = moved
        self._producer: IPushProducer | None = None
        self._sender: SocketSender | None = None
        self._free = Signal()
        self._is_over = False

    @property
    def congested(self) -> bool:
        """Whether the client has yet to take what it was sent."""
        return self._outlet.congested

    @property
    def has_to_move(self) -> bool:
        """Whether it is the client's turn: to take what it was sent, or the next part of a file."""
        return self._outlet.congested or self._sender is not None

    def write(self, data: bytes) -> bool:
        """Send bytes; whether the client has taken them."""
        self._outlet.write(data)
        if not self._outlet.congested:
            return True
        if self._producer is not None:
            self._producer.pauseProducing()
        self._waits += len(data)
        if self._waits > UNCOUNTED:
            self._unread.add(self._wire, len(data))
        return False

    def register_producer(self, producer: IProducer) -> None:
        """Pause and resume a producer as the client takes what it is sent."""
        assert IPushProducer.providedBy(producer)
        self._producer = producer
        if self._outlet.congested:
            producer.pauseProducing()

    def unregister_producer(self) -> None:
        """It has written everything."""
        self._producer = None

    async def send_file(self, workers: Workers, head: bytes, file: int, offset: int, length: int) -> None:
        """Send a head and a range of a file after it; see `SocketSender`. Not where the connection is secure."""
        while self._outlet.congested and not self._is_over:
            await self._free.wait()
        if self._is_over:
            raise SocketGone
        descriptor = os.dup(cast(socket, self._wire.getHandle()).fileno())
        self._sender = SocketSender(self._reactor, workers, descriptor, file, self._moved)
        self._moved()
        try:
            await self._sender.send(head, offset, offset + length)
        finally:
            self._sender.stop()
            self._sender = None

    def close(self) -> None:
        """End the connection when it has sent everything."""
        self._outlet.close()

    def lost(self) -> None:
        """The connection is no more."""
        self._is_over = True
        self._all_taken()
        # So that nothing holds the connection, nor the transport with all that it has not sent.
        self._taken = self._moved = _nothing
        self._outlet.forget()
        if self._sender is not None:
            self._sender.stop()
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        self._free.give()

    def _all_taken(self) -> None:
        if self._waits > UNCOUNTED:
            self._unread.taken(self._wire)
        self._waits = 0

    def _drained(self) -> None:
        self._all_taken()
        self._free.give()
        if self._producer is not None:
            self._producer.resumeProducing()
        self._taken()
