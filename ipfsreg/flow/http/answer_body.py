"""The body of an answer to Twisted's Agent, in memory."""

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IResponse


class BodyTooLong(Exception):
    """The body has more bytes than its reader takes."""


def read_body(response: IResponse, limit: int) -> "Deferred[bytes]":
    """The whole body. To cancel it is to drop the connection.

    An answer without a length ends with its connection: what is made of it has to show that it is whole. Fails with
    `BodyTooLong` where it has more than ``limit`` bytes, and else as the connection does.
    """
    collector = _Collector(limit)
    response.deliverBody(collector)
    return collector.done


class Dropped(Protocol):
    """For a body that nobody reads: its connection ends."""

    def connectionMade(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


class _Collector(Protocol):
    def __init__(self, limit: int) -> None:
        self.done: Deferred[bytes] = Deferred(lambda _: self._abort())
        self._limit = limit
        self._pieces: list[bytes] = []
        self._length = 0

    def dataReceived(self, data: bytes) -> None:
        self._pieces.append(data)
        self._length += len(data)
        if self._length > self._limit:
            self._finish(Failure(BodyTooLong(f"longer than {self._limit} bytes")))
            self._abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        ended = reason.check(ResponseDone, PotentialDataLoss)
        self._finish(b"".join(self._pieces) if ended else reason)

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()  # nothing waits to be sent, so that is at once

    def _finish(self, result: bytes | Failure) -> None:
        self._pieces.clear()
        if not self.done.called:
            self.done.callback(result) if isinstance(result, bytes) else self.done.errback(result)
