"""A file to a socket without its bytes passing through Python.

When Twisted's own buffer for the connection has drained (the headers are out), a duplicate of the socket is given
to the reactor as a write descriptor of its own; it goes when the range is sent. Only public names are used for
that. A part of the file that is not in the page cache is read in a thread first, since `os.sendfile` would make
the reactor wait for the disk.
"""

import errno
import os
from collections.abc import Callable
from socket import socket
from typing import IO, Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPullProducer, IWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from ..bucket.errors import Corrupt, Unavailable
from ..workers import Workers
from .body import ClientGone
from .channel import RegistryChannel
from .request import StreamingRequest

WINDOW = 1024 * 1024
"""How much is sent, and looked for in the page cache, at a time."""

_READ = 256 * 1024


@implementer(IPullProducer, IWriteDescriptor)
class FileToSocket:
    """Sends ``length`` bytes of a file from ``offset``; ``done`` fires at the end, or fails with `ClientGone`.

    The request's headers must have been written. ``moved`` is called whenever the client took something.
    """

    def __init__(
        self,
        reactor: Any,
        workers: Workers,
        request: StreamingRequest,
        channel: RegistryChannel,
        file: IO[bytes],
        offset: int,
        length: int,
        moved: Callable[[], None],
    ) -> None:
        self.done: Deferred[None] = Deferred()
        self._reactor = reactor
        self._workers = workers
        self._channel = channel
        self._wire = channel.wire
        self._file = file.fileno()
        self._offset = offset
        self._end_offset = offset + length
        self._warm_until = offset
        self._moved = moved
        self._descriptor = -1
        self._asked = 0
        self._warming = False
        self._over = False
        self._result: None | Failure = None
        request.notifyFinish().addErrback(lambda _: self._end(Failure(ClientGone())))
        # As a pull producer we are asked once now, and a second time when the transport's buffer is empty.
        self._wire.unregisterProducer()
        self._wire.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """The transport's side: it has nothing (more) to write."""
        self._asked += 1
        if self._asked != 2 or self._over:
            return
        self._wire.unregisterProducer()
        self._wire.registerProducer(self._channel, True)
        if self._channel.congested:  # earlier answers did that, and nobody else will tell it that they are out
            self._channel.resumeProducing()
        self._descriptor = os.dup(cast(socket, self._wire.getHandle()).fileno())
        self._send()

    def stopProducing(self) -> None:
        """The transport's side: the connection is gone."""
        self._end(Failure(ClientGone()))

    def fileno(self) -> int:
        """See `IFileDescriptor`."""
        return self._descriptor

    def logPrefix(self) -> str:
        """See `ILoggingContext`: the reactor asks for it where something goes wrong."""
        return "sendfile"

    def doWrite(self) -> None:
        """The reactor's side: the socket takes more."""
        self._send()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor's side: the descriptor broke."""
        self._end(Failure(ClientGone()))

    def _send(self) -> None:
        if self._offset >= self._end_offset:
            self._end(None)
            return
        if self._offset >= self._warm_until and not self._make_warm():
            return
        try:
            sent = os.sendfile(self._descriptor, self._file, self._offset, self._warm_until - self._offset)
        except BlockingIOError:
            self._reactor.addWriter(self)
            return
        except OSError as error:
            self._end(Failure(_unreadable(error) if error.errno == errno.EIO else ClientGone()))
            return
        if not sent:
            self._end(Failure(Corrupt("a file became shorter while it was sent")))
            return
        self._offset += sent
        self._moved()
        if self._offset >= self._end_offset:
            self._end(None)
        else:
            self._reactor.addWriter(self)

    def _make_warm(self) -> bool:
        """Look whether the next window is in the page cache; if not, have a thread read it, and go on then."""
        until = min(self._offset + WINDOW, self._end_offset)
        if _is_cached(self._file, self._offset) and _is_cached(self._file, until - 1):
            self._warm_until = until
            return True
        self._reactor.removeWriter(self)
        self._warming = True
        reading = self._workers.run(_read_through, self._file, self._offset, until)
        reading.addCallbacks(self._warmed, self._not_warmed, callbackArgs=(until,))
        return False

    def _warmed(self, _: None, until: int) -> None:
        self._warming = False
        self._warm_until = until
        if self._over:
            self._fire()
        else:
            self._reactor.addWriter(self)

    def _not_warmed(self, failure: Failure) -> None:
        self._warming = False
        if self._over:
            self._fire()
        else:
            error = failure.value
            self._end(Failure(_unreadable(error)) if isinstance(error, OSError) else failure)

    def _end(self, result: None | Failure) -> None:
        if self._over:
            return
        self._over = True
        self._result = result
        if self._descriptor >= 0:
            self._reactor.removeWriter(self)
            os.close(self._descriptor)
            self._descriptor = -1
        if not self._warming:  # else the file must stay open until the thread is done with it
            self._fire()

    def _fire(self) -> None:
        if self._result is None:
            self.done.callback(None)
        else:
            self.done.errback(self._result)


def _unreadable(error: OSError) -> Unavailable:
    return Unavailable(f"a stored file cannot be read: {error}")


def _is_cached(file: int, offset: int) -> bool:
    try:
        os.preadv(file, [bytearray(1)], offset, os.RWF_NOWAIT)
    except OSError as error:
        # Where the file system cannot tell, act as if it were: the kernel reads ahead.
        return error.errno != errno.EAGAIN
    return True


def _read_through(file: int, offset: int, until: int) -> None:
    while offset < until:
        length = len(os.pread(file, min(_READ, until - offset), offset))
        if not length:
            return
        offset += length
