"""A call with a long body in either direction, in HTTP/1.0: without chunks.

Kubo writes chunks of 4 KiB into its answers, and taking them apart costs both sides more than the bytes. What HTTP/1.0
lacks, an end that can be told from a broken connection, is not missed: the end of a chunked answer says nothing either
where the node has failed (fact sheet, trap 1), so whoever takes the bytes counts them.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure

from .body import MultipartBody

RECEIVE = 256 * 1024
"""How much is read from a socket at once, where its transport lets us say so."""


class BulkCall(LineReceiver):
    """One call on a connection of its own.

    ``answered`` fires when the answer's headers are there; what follows waits for `take`. ``ended`` fires when the
    connection is closed, however that came. It fails like a connection does, where there was no answer.
    """

    delimiter = b"\r\n"

    def __init__(self, target: bytes, headers: list[tuple[bytes, bytes]], body: MultipartBody | None) -> None:
        self.answered: Deferred[None] = Deferred(lambda _: self.abort())
        self.ended: Deferred[None] = Deferred(lambda _: self.abort())
        self.status = 0
        self._begun = False
        self.headers: dict[str, str] = {}
        self._target = target
        self._sent = headers
        self._body = body
        self._take: Callable[[bytes], None] | None = None

    def connectionMade(self) -> None:
        """Send it."""
        transport: Any = self.transport
        if hasattr(transport, "bufferSize"):
            transport.bufferSize = RECEIVE
        lines = [b"POST %b HTTP/1.0" % self._target]
        lines += [b"%b: %b" % header for header in self._sent]
        if self._body is not None:
            lines += [b"Content-Type: " + self._body.content_type, b"Content-Length: %d" % self._body.content_length]
        transport.writeSequence([line + b"\r\n" for line in [*lines, b""]])
        if self._body is not None:
            transport.registerProducer(self._body, True)
            sent = self._body.startProducing(transport)
            sent.addCallbacks(lambda _: transport.unregisterProducer(), self._could_not_send)

    def _could_not_send(self, failure: Failure) -> None:
        self._fail(failure)
        self.abort()

    def lineReceived(self, line: bytes) -> None:
        """The status, a header, or the empty line after the last: then the rest waits for somebody to take it."""
        if not self._begun:
            self._begun = True
            status = line.split(b" ")[1:2]
            self.status = int(status[0]) if status and status[0].isdigit() else 0
        elif line:
            name, _, value = line.decode("latin-1").partition(":")
            self.headers[name.strip().lower()] = value.strip()
        else:
            self.setRawMode()
            self.pauseProducing()
            if not self.answered.called:
                self.answered.callback(None)

    def take(self, take: Callable[[bytes], None]) -> None:
        """Have the answer's bytes given to a function, from now on, with pauses by `pauseProducing`."""
        self._take = take
        self.resumeProducing()

    def rawDataReceived(self, data: bytes) -> None:
        """Some bytes of the answer."""
        if self._take is not None:
            self._take(data)

    def lineLengthExceeded(self, line: bytes) -> None:
        """What answers does not speak HTTP."""
        self.abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end, or what looks like it."""
        if self._body is not None:
            self._body.stopProducing()
        self._fail(reason)
        if not self.ended.called:
            self.ended.callback(None)

    def _fail(self, reason: Failure) -> None:
        if not self.answered.called:
            self.answered.errback(reason)

    def abort(self) -> None:
        """Close the connection at once."""
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()
