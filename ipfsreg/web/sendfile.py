"""A file to a socket without its bytes passing through Python.

When Twisted's own buffer for the connection has drained (the headers are out), a duplicate of the socket is given
to the reactor as a write descriptor of its own; it goes when the range is sent. Only public names are used for
that.
"""

import os
from collections.abc import Callable
from functools import partial
from socket import socket
from typing import IO, Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPullProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from ipfsreg.bucket.errors import Corrupt, Unavailable
from ipfsreg.flow.sendfile import FileEnds, SocketGone, SocketSender
from ipfsreg.flow.workers import Workers

from .body import ClientGone
from .channel import RegistryChannel
from .request import StreamingRequest


@implementer(IPullProducer)
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
        self._channel = channel
        self._wire = channel.wire
        self._offset = offset
        self._end_offset = offset + length
        self._make_sender = partial(SocketSender, reactor, workers, file=file.fileno(), moved=moved)
        self._sender: SocketSender | None = None
        self._asked = 0
        self._over = False
        request.notifyFinish().addErrback(lambda _: self._stop())
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
        descriptor = os.dup(cast(socket, self._wire.getHandle()).fileno())
        self._sender = self._make_sender(descriptor=descriptor)
        self._sender.send(b"", self._offset, self._end_offset).addBoth(self._sent)

    def stopProducing(self) -> None:
        """The transport's side: the connection is gone."""
        self._stop()

    def _stop(self) -> None:
        if self._over:
            return
        if self._sender is not None:
            self._sender.stop()  # which answers when the file is not used any more
        else:
            self._sent(Failure(SocketGone()))

    def _sent(self, result: None | Failure) -> None:
        self._over = True
        if self._sender is not None:
            self._sender.stop()
        if result is None:
            self.done.callback(None)
        else:
            self.done.errback(_translated(result))


def _translated(failure: Failure) -> Failure:
    if failure.check(SocketGone):
        return Failure(ClientGone())
    if failure.check(FileEnds):
        return Failure(Corrupt("a file became shorter while it was sent"))
    if failure.check(OSError):
        return Failure(Unavailable(f"a stored file cannot be read: {failure.value}"))
    return failure
