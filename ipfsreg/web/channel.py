"""A client's connection: what HTTP/1.1 leaves to a server's judgement."""

from typing import TYPE_CHECKING, cast

from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IConsumer, IPushProducer, ISystemHandle, ITCPTransport
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel

if TYPE_CHECKING:
    from .request import StreamingRequest
    from .site import StreamingSite

PROGRESS = 4096
"""A client that sends a body has to send this many bytes of it, or the rest, in each idle time-out."""

LARGE_PIECE = 512 * 1024
"""How much is read at once while a layer is received, in bytes."""

_TLS_HANDSHAKE = b"\x16"
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"
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

    @property
    def wire(self) -> IWire:
        """The transport."""
        return cast(IWire, self.transport)

    def connectionMade(self) -> None:
        """See `Protocol`."""
        super().connectionMade()
        self.site.connections.add(self)

    def dataReceived(self, data: bytes) -> None:
        """See `Protocol`."""
        if not self._begun:
            self._begun = True
            if data.startswith(_TLS_HANDSHAKE) and not self.isSecure():
                # Docker, skopeo and podman try TLS first, and wait for an answer of any kind before plain HTTP.
                # It has to be one: a connection that is merely reset makes newer engines give up.
                self._refuse()
                return
        super().dataReceived(data)
        if self.congested and self.requests and self.requests[0].body.ended:
            # Twisted would keep whatever comes: it takes the connection for paused already. It is resumed when the
            # client has read its answers and the request is done.
            self.wire.pauseProducing()

    def headerReceived(self, line: bytes) -> bool:
        """See `HTTPChannel`, which raises an exception for a number that Python finds too long."""
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and len(value.strip()) > _DIGITS_MAX:
            self._refuse()
            return False
        return bool(super().headerReceived(line))

    def lineLengthExceeded(self, line: bytes) -> None:
        """See `LineReceiver`: it would close the connection without a word."""
        self._refuse()

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
        """That many bytes of a body came."""
        self._since_progress += length
        if self._since_progress >= PROGRESS:
            self.progressed()

    def receive_large_pieces(self) -> None:
        """Read more of the connection at once than Twisted does: measured, a fifth less work for a layer."""
        if isinstance(self.transport, FileDescriptor):  # behind TLS it is not: that has pieces of its own
            self.transport.bufferSize = LARGE_PIECE

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

    def _refuse(self) -> None:
        self.write(_BAD_REQUEST)
        self.loseConnection()
