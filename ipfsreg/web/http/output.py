"""All that goes to one client: answers, what producers write, and files."""

import os
from collections.abc import Callable
from socket import socket
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProducer, IPushProducer

from ipfsreg.flow.sendfile import SocketGone, SocketSender
from ipfsreg.flow.workers import Workers

from .wire import IWire, SocketOutlet, TlsOutlet


class Output:
    """``taken`` is called when the client has taken everything, ``moved`` when it has taken a part of a file."""

    def __init__(
        self, wire: IWire, reactor: Any, *, secure: bool, taken: Callable[[], None], moved: Callable[[], None]
    ) -> None:
        self._wire = wire
        self._reactor = reactor
        self._outlet = (TlsOutlet if secure else SocketOutlet)(wire, self._drained)
        self._taken = taken
        self._moved = moved
        self._producer: IPushProducer | None = None
        self._sender: SocketSender | None = None
        self._waiting: Deferred[None] | None = None
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
            self._waiting = Deferred()
            await self._waiting
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
        if self._sender is not None:
            self._sender.stop()
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        self._wake()

    def _drained(self) -> None:
        self._wake()
        if self._producer is not None:
            self._producer.resumeProducing()
        self._taken()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)
