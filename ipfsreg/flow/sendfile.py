"""Ranges of files to a socket by ``os.sendfile``, without their bytes passing through Python.

A part of the file that is not in the page cache is read in a thread first, since `os.sendfile` would make the reactor
wait for the disk.
"""

import errno
import os
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from .workers import Workers

WINDOW = 1024 * 1024
"""How much is sent, and looked for in the page cache, at a time."""

_READ = 256 * 1024


class SocketGone(Exception):
    """The other side is gone, or nobody wants to send to it any more."""


class FileEnds(Exception):
    """A file ended before the range that was to be sent."""


@implementer(IWriteDescriptor)
class SocketSender:
    """Sends to a socket, beside its transport, which must have nothing to write meanwhile.

    ``descriptor`` is a duplicate of the socket's and belongs to this from now on; ``file`` is the file's, and has to
    stay open as long as something is being sent. ``moved`` is called whenever the other side took something.
    """

    def __init__(self, reactor: Any, workers: Workers, descriptor: int, file: int, moved: Callable[[], None]) -> None:
        self._reactor = reactor
        self._workers = workers
        self._descriptor = descriptor
        self._file = file
        self._moved = moved
        self._head = memoryview(b"")
        self._offset = 0
        self._end = 0
        self._warm_until = 0
        self._warming = False
        self._stopped = False
        self._writing = False
        self._done: Deferred[None] | None = None

    def send(self, head: bytes, offset: int, end: int) -> "Deferred[None]":
        """Send some bytes, and a range of the file after them; fires when the socket has taken all.

        One at a time. Fails with `SocketGone`, `FileEnds`, or an `OSError` where the file cannot be read.
        """
        assert self._done is None
        done = self._done = Deferred()
        self._head = memoryview(head)
        self._offset = self._warm_until = offset
        self._end = end
        if self._stopped:
            self._finish(Failure(SocketGone()))
        else:
            self.doWrite()
        return done

    def stop(self) -> None:
        """Send nothing more, and let go of the socket. Does nothing a second time.

        What is being sent fails when the file is not used any more.
        """
        if self._stopped:
            return
        self._stopped = True
        self._rest()
        os.close(self._descriptor)
        self._descriptor = -1
        if not self._warming:
            self._finish(Failure(SocketGone()))

    def fileno(self) -> int:
        """See `IFileDescriptor`."""
        return self._descriptor

    def logPrefix(self) -> str:
        """See `ILoggingContext`: the reactor asks for it where something goes wrong."""
        return "sendfile"

    def connectionLost(self, reason: Failure) -> None:
        """The reactor's side: the descriptor broke."""
        self.stop()

    def doWrite(self) -> None:
        """The reactor's side: the socket takes more."""
        try:
            if not self._send():
                return
        except BlockingIOError:
            pass
        except OSError as error:
            self._finish(Failure(error if error.errno == errno.EIO else SocketGone()))
            return
        except FileEnds:
            self._finish(Failure())
            return
        if self._head or self._offset < self._end:
            if not self._writing:
                self._writing = True
                self._reactor.addWriter(self)
        else:
            self._finish(None)

    def _send(self) -> bool:
        """Send what the socket takes now; False where it has to wait for the disk."""
        if self._head:
            self._head = self._head[os.write(self._descriptor, self._head) :]
            self._moved()
            if self._head:
                return True
        if self._offset < self._end:
            if self._offset >= self._warm_until and not self._make_warm():
                return False
            sent = os.sendfile(self._descriptor, self._file, self._offset, self._warm_until - self._offset)
            if not sent:
                raise FileEnds
            self._offset += sent
            self._moved()
        return True

    def _make_warm(self) -> bool:
        """Look whether the next window is in the page cache; if not, have a thread read it, and go on then."""
        until = min(self._offset + WINDOW, self._end)
        if _is_cached(self._file, self._offset) and _is_cached(self._file, until - 1):
            self._warm_until = until
            return True
        self._rest()
        self._warming = True
        reading = self._workers.run(_read_through, self._file, self._offset, until)
        reading.addCallbacks(self._warmed, self._not_warmed, callbackArgs=(until,))
        return False

    def _warmed(self, _: None, until: int) -> None:
        self._warming = False
        self._warm_until = until
        if self._stopped:
            self._finish(Failure(SocketGone()))
        else:
            self.doWrite()

    def _not_warmed(self, failure: Failure) -> None:
        self._warming = False
        self._finish(Failure(SocketGone()) if self._stopped else failure)

    def _rest(self) -> None:
        if self._writing:
            self._writing = False
            self._reactor.removeWriter(self)

    def _finish(self, result: None | Failure) -> None:
        self._rest()
        done, self._done = self._done, None
        if done is not None:
            done.callback(None) if result is None else done.errback(result)


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
