"""A file that goes to the node while it is being written: in chunks of HTTP/1.1, for its length is not known."""

import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.tcp import Connection

from ipfsreg.flow.sendfile import SocketGone, SocketSender
from ipfsreg.flow.signal import Signal
from ipfsreg.flow.streams import ConsumerGone
from ipfsreg.flow.workers import Workers

from .body import FormBody

SENT_PIECE = 1024**2
"""It is sent in pieces of at least this length, as long as there will be more."""

_PIECE_MAX = 4 * SENT_PIECE


class GrowingFile:
    """A file whose end is not there yet. ``size`` is how many bytes of it can be read."""

    def __init__(self, path: Path, workers: Workers) -> None:
        self.path = path
        self.workers = workers
        self.size = 0
        self._whole = False
        self._given_up = False
        self._changed = Signal()

    def grow(self, available: int, *, whole: bool = False) -> None:
        """So many bytes can be read now; ``whole`` says that there will not be more."""
        self.size = available
        self._whole = whole
        self._changed.give()

    def give_up(self) -> None:
        """Nobody wants more of it."""
        self._given_up = True
        self._changed.give()

    async def ranges(self) -> AsyncGenerator[tuple[int, int], None]:
        """Where each piece begins and ends, as soon as it can be read and is worth sending.

        :raises ConsumerGone: where the file was given up.
        """
        position = 0
        while True:
            while not self._whole and not self._given_up and self.size < position + SENT_PIECE:
                await self._changed.wait()
            if self._given_up:
                raise ConsumerGone
            until = min(self.size, position + _PIECE_MAX)
            if until == position:
                return
            yield position, until
            position = until


class GrowingBody(FormBody):
    """The body of a command that takes a file, while that grows.

    Where the connection is a plain socket, the file goes out by ``sendfile``: it was just written, so it is in the page
    cache.
    """

    version = b"1.1"

    def __init__(self, file: GrowingFile, reactor: Any) -> None:
        super().__init__(reactor)
        self._file = file
        self._reactor = reactor
        self._sender: SocketSender | None = None

    def headers(self) -> list[tuple[bytes, bytes]]:
        return [*super().headers(), (b"Transfer-Encoding", b"chunked"), (b"Connection", b"close")]

    def start(self, transport: Any, request: bytes) -> "Deferred[None]":
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
        except (SocketGone, ConsumerGone):  # the connection itself says why
            return
        finally:
            sender.stop()
            # In a thread: nothing else may have it open any more, and then the disk frees its blocks.
            self._file.workers.run(os.close, file)

    async def _send_chunks(self, sender: SocketSender, request: bytes) -> None:
        head = request + _chunk(self.head)
        async for position, until in self._file.ranges():
            await sender.send(head + b"%x\r\n" % (until - position), position, until)
            head = b"\r\n"
        await sender.send(head + _chunk(self.tail) + _chunk(b""), 0, 0)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """See `FormBody.pieces`: in chunks of HTTP."""
        yield _chunk(self.head)
        async for position, until in self._file.ranges():
            while position < until:
                data = await self._file.workers.run(_read, self._file.path, position, min(until - position, SENT_PIECE))
                position += len(data)
                yield _chunk(data)
        yield _chunk(self.tail) + _chunk(b"")

    def stopProducing(self) -> None:
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
