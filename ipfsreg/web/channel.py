"""A client's connection: what HTTP/1.1 leaves to a server's judgement."""

from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IConsumer, IPushProducer, ISystemHandle, ITCPTransport
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.http_headers import Headers

from .error_document import error_document

if TYPE_CHECKING:
    from .request import StreamingRequest
    from .site import StreamingSite

PROGRESS = 4096
"""A client that sends a body has to send this many bytes of it, or the rest, in each idle time-out."""

FIRST_PIECE = 16 * 1024
"""How much is read at once, in bytes, before it is known what the client sends."""

_PIECES = ((4096, 1024 * 1024), (512, 64 * 1024), (0, 4096))
"""How much is read at once while a body comes, by the mean length of the pieces in which it came so far.

Measured, large reads are a fifth less work for a layer. But a read full of chunks of one byte each would keep the
reactor from everybody else for most of a second."""

_TLS_HANDSHAKE = b"\x16"
_ALWAYS = b"Docker-Distribution-API-Version: registry/2.0\r\nX-Content-Type-Options: nosniff\r\n"
_DIGITS_MAX = 18  # of a Content-Length: more than any disk has


class IWire(ITCPTransport, IConsumer, IPushProducer, ISystemHandle):
    """What every transport of ours can do: TCP, TLS over it, and Unix sockets, which have all that matters here."""


class RegistryChannel(HTTPChannel):
    """A connection that its site knows of. HTTP/1.1 only: the streaming of bodies is made for it.

    Twisted's idle time-out begins anew with every byte, so a client that sends one now and then keeps its
    connection for ever. Here it begins anew with each step: all headers, `PROGRESS` bytes of body, an answer.

    ``congested`` says that the client has yet to read what it was sent.
    """

    site: "StreamingSite"
    requests: "list[StreamingRequest]"

    def __init__(self) -> None:
        super().__init__()
        self.congested = False
        self._begun = False
        self._since_progress = 0
        self._pieces = 0

    @property
    def wire(self) -> IWire:
        """The transport."""
        return cast(IWire, self.transport)

    def connectionMade(self) -> None:
        """See `Protocol`."""
        super().connectionMade()
        self.site.connections.add(self)
        self._read_at_once(FIRST_PIECE)

    def dataReceived(self, data: bytes) -> None:
        """See `Protocol`."""
        if not self._begun:
            self._begun = True
            if data.startswith(_TLS_HANDSHAKE) and not self.isSecure():
                # Docker, skopeo and podman try TLS first, and wait for an answer of any kind before plain HTTP.
                # It has to be one: a connection that is merely reset makes newer engines give up.
                self.refuse(HTTPStatus.BAD_REQUEST, "this port speaks HTTP without TLS")
                return
        self._pieces = 0
        super().dataReceived(data)
        mean = len(data) // self._pieces if self._pieces else None
        self._read_at_once(FIRST_PIECE if mean is None else next(length for least, length in _PIECES if mean >= least))
        if self.congested and self.requests and self.requests[0].body.ended:
            # Twisted would keep whatever comes: it takes the connection for paused already. It is resumed when the
            # client has read its answers and the request is done.
            self.wire.pauseProducing()

    def headerReceived(self, line: bytes) -> bool:
        """See `HTTPChannel`, which raises an exception for a number that Python finds too long."""
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and len(value.strip()) > _DIGITS_MAX:
            self.refuse(HTTPStatus.BAD_REQUEST, "a Content-Length longer than any disk")
            return False
        return bool(super().headerReceived(line))

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """See `HTTPChannel`, which hands the transport each name and value by itself: in one piece it is cheaper."""
        lines = [b"%s %s %s\r\n" % (version, code, reason), _ALWAYS]
        lines += [b"%s: %s\r\n" % (name, value) for name, values in headers.getAllRawHeaders() for value in values]
        lines.append(b"\r\n")
        self.wire.write(b"".join(lines))

    def lineLengthExceeded(self, line: bytes) -> None:
        """See `LineReceiver`: it would close the connection without a word."""
        self._refuse_headers()

    def _respondToBadRequestAndDisconnect(self) -> None:
        # Twisted's: it would send the status line alone, also into the middle of an answer.
        if any(request.answered for request in self.requests):
            self.loseConnection()
        elif any(request.startedWriting for request in self.requests):
            self.wire.abortConnection()
        elif self._receivedHeaderSize > self.totalHeadersSize or self._receivedHeaderCount > self.maxHeaders:
            self._refuse_headers()
        else:
            self.refuse(HTTPStatus.BAD_REQUEST, "not a request of HTTP/1.1")

    def connectionLost(self, reason: Failure = CONNECTION_DONE) -> None:  # type: ignore[assignment]
        """See `Protocol`."""
        try:
            super().connectionLost(reason)
        finally:
            self.site.lost(self)

    def resetTimeout(self) -> None:
        """Twisted's side: bytes came. That alone is no reason to wait longer; see `progressed`."""

    def progressed(self) -> None:
        """The client got on, or cannot help it: it has another idle time-out for its next step."""
        self._since_progress = 0
        super().resetTimeout()

    def received(self, length: int) -> None:
        """That many bytes of a body came, in one piece."""
        self._pieces += 1
        self._since_progress += length
        if self._since_progress >= PROGRESS:
            self.progressed()

    def pauseProducing(self) -> None:
        """The transport's side: the client does not read as fast as it is answered."""
        self.congested = True
        super().pauseProducing()

    def resumeProducing(self) -> None:
        """The transport's side: the client has read everything."""
        self.congested = False
        super().resumeProducing()
        for request in self.requests[-1:]:
            if request.body.paused:  # what was just resumed is still not wanted
                self.wire.pauseProducing()
        for request in self.requests[:1]:
            request.drained()

    def _read_at_once(self, length: int) -> None:
        if isinstance(self.transport, FileDescriptor):  # behind TLS it is not: that has pieces of its own
            self.transport.bufferSize = length

    def _refuse_headers(self) -> None:
        if self.requests and hasattr(self, "_command"):
            self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "more headers than are read")
        else:
            self.refuse(HTTPStatus.REQUEST_URI_TOO_LONG, "a longer path than is read")

    def refuse(self, status: HTTPStatus, message: str) -> None:
        """Answer what never became a request, and end the connection."""
        content = error_document("UNSUPPORTED", message)
        self.wire.write(
            b"HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n%s\r\n%s"
            % (status, status.phrase.encode(), len(content), _ALWAYS, content)
        )
        self.loseConnection()
