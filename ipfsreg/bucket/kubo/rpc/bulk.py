"""A call with a long body in either direction, in HTTP/1.0 where that can be: without chunks.

Kubo writes chunks of 4 KiB into its answers, and taking them apart costs both sides more than the bytes. What HTTP/1.0
lacks, an end that can be told from a broken connection, is not missed: the end of a chunked answer says nothing either
where the node has failed (fact sheet, trap 1), so whoever takes the bytes counts them.
"""

from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from io import BytesIO
from socket import socket
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from ipfsreg.bucket.errors import Unavailable
from ipfsreg.bucket.kubo.errors import RETRY_AFTER

from .body import FormBody

RECEIVE = 256 * 1024
"""How much is read from a socket at once, where its transport lets us say so."""


@implementer(IPushProducer)
class BulkCall(LineReceiver):
    """One call on a connection of its own.

    ``answered`` fires when the answer's headers are there; what follows waits for `take`. ``ended`` fires when the
    connection is closed, however that came. It fails like a connection does, where there was no answer.
    """

    delimiter = b"\r\n"

    def __init__(self, target: bytes, headers: list[tuple[bytes, bytes]], body: FormBody | None) -> None:
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
        version, headers = b"1.0", self._sent
        if self._body is not None:
            version, headers = self._body.version, [*self._sent, *self._body.headers()]
        lines = [b"POST %b HTTP/%b" % (self._target, version), *(b"%b: %b" % header for header in headers)]
        request = b"".join(line + b"\r\n" for line in [*lines, b""])
        if self._body is None:
            transport.write(request)
        else:
            self._body.start(transport, request).addErrback(self._could_not_send)

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

    def content(self, body: bytes) -> bytes:
        """The whole answer of a call, from all bytes that followed its headers.

        :raises Unavailable: where they are chunks, and the last is missing.
        """
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return body
        answer = HTTPResponse(cast(socket, _Received(body)))
        try:
            answer.begin()
            return answer.read()
        except HTTPException:
            raise Unavailable("the node's answer is not whole", RETRY_AFTER) from None

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


class _Received:
    """Chunks that came, as what `HTTPResponse` reads from."""

    def __init__(self, body: bytes) -> None:
        self._content = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body

    def makefile(self, _: str) -> BytesIO:
        return BytesIO(self._content)
