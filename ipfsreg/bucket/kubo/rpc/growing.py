"""A file that goes to the node while it is being written: in chunks of HTTP/1.1, for its length is not known."""

import os
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.internet.tcp import Connection

from ipfsreg.flow.sendfile import SocketGone, SocketSender
from ipfsreg.flow.workers import Workers

from .body import FormBody

PIECE = 1024**2
"""It is sent in pieces of at least this length, as long as there will be more."""

_PIECE_MAX = 4 * PIECE


class GrowingFile:
    """A file whose end is not there yet. ``size`` counts once it is whole."""

    def __init__(self, path: Path, workers: Workers) -> None:
        self.path = path
        self.workers = workers
        self.size = 0
        self._whole = False
        self._given_up = False
        self._waiting: Deferred[None] | None = None

    def grow(self, available: int, *, whole: bool = False) -> None:
        """So many bytes can be read now."""
        self.size = available
        self._whole = whole
        self._wake()

    def give_up(self) -> None:
        """Nobody waits for more any longer."""
        self._given_up = True
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    async def available(self, offset: int) -> int:
        """Up to where it can be read, when that is worth it; ``offset`` at the end, or where it was given up."""
        while not self._whole and not self._given_up and self.size < offset + PIECE:
            self._waiting = Deferred()
            await self._waiting
        return offset if self._given_up else min(self.size, offset + _PIECE_MAX)


class GrowingBody(FormBody):
    """The body of a command that takes a file, while that grows.

    Where the connection is a socket and nothing more, the file goes out by ``sendfile``: it was just written, so the
    page cache has it.
    """

    version = b"1.1"

    def __init__(self, file: GrowingFile, reactor: Any) -> None:
        super().__init__(reactor)
        self._file = file
        self._reactor = reactor
        self._sender: SocketSender | None = None

    def headers(self) -> list[tuple[bytes, bytes]]:
        """See `FormBody`."""
        framing = [(b"Transfer-Encoding", b"chunked"), (b"Connection", b"close")]
        return [(b"Content-Type", self.content_type), *framing]

    def start(self, transport: Any, request: bytes) -> "Deferred[None]":
        """See `FormBody`."""
        if not isinstance(transport, Connection):  # TLS
            return super().start(transport, request)
        return Deferred.fromCoroutine(self._send(os.dup(transport.getHandle().fileno()), request))

    async def _send(self, descriptor: int, request: bytes) -> None:
        try:
            file = await self._file.workers.run(os.open, self._file.path, os.O_RDONLY)
        except BaseException:
            os.close(descriptor)
            raise
        sender = self._sender = SocketSender(self._reactor, self._file.workers, descriptor, file, self.has_moved)
        try:
            await self._send_chunks(sender, request)
        except SocketGone:  # the connection itself says why
            return
        finally:
            sender.stop()
            # In a thread: nothing else may have it any more, and then the disk gets its room back.
            self._file.workers.run(os.close, file)

    async def _send_chunks(self, sender: SocketSender, request: bytes) -> None:
        head = request + _chunk(self.head)
        position = 0
        while not self.stopped and (until := await self._file.available(position)) > position:
            await sender.send(head + b"%x\r\n" % (until - position), position, until)
            position, head = until, b"\r\n"
        if not self.stopped:
            await sender.send(head + _chunk(self.tail) + _chunk(b""), 0, 0)

    async def write(self, consumer: IConsumer) -> None:
        """See `FormBody`."""
        consumer.write(_chunk(self.head))
        position = 0
        while not self.stopped and (until := await self._file.available(position)) > position:
            data = await self._file.workers.run(_read, self._file.path, position, min(until - position, PIECE))
            position += len(data)
            await self.wanted()
            if not self.stopped:
                self.has_moved()
                consumer.write(_chunk(data))
        if not self.stopped:
            consumer.write(_chunk(self.tail) + _chunk(b""))

    def stopProducing(self) -> None:
        """See `IBodyProducer`."""
        super().stopProducing()
        self._file.give_up()
        if self._sender is not None:
            self._sender.stop()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _read(path: Path, offset: int, length: int) -> bytes:
    with path.open("rb", buffering=0) as file:
        data = os.pread(file.fileno(), length, offset)
    if not data:
        raise OSError("the file to be sent became shorter")
    return data
