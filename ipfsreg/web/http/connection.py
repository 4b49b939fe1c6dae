"""A client's connection: one request after the other, whatever it sends, and however slowly."""

from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from http import HTTPStatus
from typing import Any, Protocol, cast

from OpenSSL.crypto import FILETYPE_ASN1, dump_certificate
from twisted.internet import protocol
from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IAddress, IDelayedCall, IHalfCloseableProtocol, ISSLTransport
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure
from zope.interface import implementer

from .body import OVER, WANTED, Body, BodyState, ClientTooSlow
from .framing import BadChunk
from .head import BadRequest
from .incoming import Incoming
from .limits import BEHIND_TLS_PIECE, DRAIN_MAX, FIRST_PIECE, REQUESTS_AT_ONCE, HttpLimits, next_piece
from .output import Output
from .patience import Awaited, Patience
from .request import Answer, Request
from .unread import Unread
from .wire import IWire

_TLS_HANDSHAKE = b"\x16"


class Server(Protocol):
    """What a connection needs of its server."""

    reactor: Any
    clock: Callable[[], float]
    limits: HttpLimits
    unread: Unread

    def handle(self, request: Request) -> None:
        """Answer a request, now or later."""

    def common_headers(self) -> bytes:
        """The lines that every answer has."""

    def refusal(self, status: HTTPStatus, message: str) -> bytes:
        """The answer to what is not a request."""

    def answered(self, request: Request) -> None:
        """A request has its answer."""

    def lost(self, connection: "Connection") -> None:
        """The connection is no more."""


class _Phase(Enum):
    HEAD = auto()
    """The next request is waited for."""
    BODY = auto()
    """A request is being answered whose body is not over."""
    ANSWER = auto()
    """A request is being answered whose body is over."""
    CLOSING = auto()
    """It ends when everything is sent. What comes does not matter any more."""
    LINGERING = auto()
    """Everything is sent, and the client was told so; what it still sends is thrown away."""


_OVER = (_Phase.CLOSING, _Phase.LINGERING)


@implementer(IHalfCloseableProtocol)
class Connection(protocol.Protocol):
    """A connection. ``request`` is being answered now; the next request is not looked at before it is over.
    ``incoming`` is what has come and waits, ``output`` what goes out.
    """

    output: Output
    peer: IAddress
    """The client's address."""

    def __init__(self, server: Server) -> None:
        self.request: Request | None = None
        self.secure = False
        self._server = server
        self._phase = _Phase.HEAD
        self._begun = False
        self.incoming = Incoming(server.limits.head)
        self._advancing = False
        self._later: IDelayedCall | None = None
        self._reading = True
        self.read_to_end = False
        self._keeps = True
        self._patience = Patience(server.reactor, server.clock, server.limits, self._too_late)

    @property
    def wire(self) -> IWire:
        """The transport."""
        return cast(IWire, self.transport)

    @property
    def host(self) -> IAddress:
        """This side's address."""
        return self.wire.getHost()

    def client_certificate(self) -> bytes | None:
        """The client's certificate in DER, which TLS has verified, or None."""
        certificate = cast(Any, self.transport).getPeerCertificate() if self.secure else None
        return None if certificate is None else dump_certificate(FILETYPE_ASN1, certificate)

    # The transport's side.

    def connectionMade(self) -> None:
        self.peer = self.wire.getPeer()
        self.secure = ISSLTransport.providedBy(self.transport)
        self.output = Output(self.wire, self._server, secure=self.secure, taken=self._taken, moved=self._moved)
        with suppress(OSError, AttributeError):  # a Unix socket
            self.wire.setTcpNoDelay(True)
        self._read_at_once(FIRST_PIECE)
        self._update()

    def dataReceived(self, data: bytes) -> None:
        if self._phase in _OVER:
            return
        if not self._begun:
            self._begun = True
            if data.startswith(_TLS_HANDSHAKE) and not self.secure:
                # Docker, skopeo and podman try TLS first, and wait for an answer of any kind before plain HTTP.
                # It has to be one: a connection that is merely reset makes newer engines give up.
                self._refuse(BadRequest(HTTPStatus.BAD_REQUEST, "this port speaks HTTP without TLS"))
                return
        self.incoming.add(data)
        self._advance()

    def readConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol`: the client sends nothing more, but may still want its answers."""
        self.read_to_end = True
        if self.request is not None:
            self.request.client_has_sent_all()
        if self._phase in _OVER:
            self._close()
        else:
            self._advance()

    def writeConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol`: we said so ourselves."""

    def connectionLost(self, reason: Failure = CONNECTION_DONE) -> None:  # type: ignore[assignment]
        self.connected = 0
        self._phase = _Phase.CLOSING
        self.incoming.clear()
        self._patience.stop()
        if self._later is not None:
            self._later.cancel()
        self._forsake()
        self.output.lost()
        self._server.lost(self)

    def _taken(self) -> None:
        """The client has taken everything."""
        self._finish_if_over()
        self._update()

    def _moved(self) -> None:
        """The client has taken a part of a file, or is to take the first one."""
        self._patience.wait_for(Awaited.READING)
        self._patience.step()

    # The server's side.

    def close_if_idle(self) -> None:
        """Close it unless a request is being answered. What was sent last still arrives."""
        if self.request is None:
            self._close()

    def drop(self) -> None:
        """Close it at once; what was sent of an answer stays visibly incomplete."""
        self._phase = _Phase.CLOSING
        self._forsake()
        if self.connected:
            self.wire.abortConnection()

    # A request's side: see `RequestChannel`.

    def common_headers(self) -> bytes:
        """The lines that every answer has."""
        return self._server.common_headers()

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if not self.output.write(data):
            self._update()

    def answered(self) -> None:
        """The request has its answer. It is over when the client has read that, and the rest of its body has come."""
        assert self.request is not None
        self._server.answered(self.request)
        if self.request.body.state not in OVER:
            self.request.body.discard()
        self._finish_if_over()
        self._update()

    def end_after_answer(self) -> None:
        """The connection cannot be used again."""
        self._keeps = False

    def body_changed(self) -> None:
        """The body's side: it is in another state."""
        if self._waits_for_body():
            self._advance()
        else:
            self._update()

    def send_continue(self) -> None:
        """Tell a client that waits for it to send its body (RFC 9110, 10.1.1)."""
        self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def give_up_body(self) -> None:
        """Wait no longer for the rest of the body."""
        if self.request is not None:
            self.request.body.lost(ClientTooSlow("the request's body did not come in time"))

    # What was read.

    def _advance(self) -> None:
        """Go on with what has come, but not for so long that others wait."""
        if self._advancing:
            return
        self._advancing = True
        try:
            for _ in range(REQUESTS_AT_ONCE):
                if not self._step():
                    break
            else:
                if self._later is None:
                    self._later = self._server.reactor.callLater(0, self._go_on)
        finally:
            self._advancing = False
        self._update()

    def _go_on(self) -> None:
        self._later = None
        self._advance()

    def _step(self) -> bool:
        """Take the next thing out of the buffer; False where that has to wait."""
        if self._phase is _Phase.HEAD:
            return bool(self.incoming or self.read_to_end) and self._take_head()
        if self._phase is _Phase.BODY and self.request is not None and self._waits_for_body():
            if self.incoming:
                self._take_body(self.request.body)
                return True
            if self.read_to_end:
                self._end_within_body()
        return False

    def _waits_for_body(self) -> bool:
        return self.request is not None and self.request.body.state in WANTED

    def _take_head(self) -> bool:
        try:
            head = self.incoming.take_head()
        except BadRequest as error:
            self._refuse(error)
            return False
        if head is None:
            if self.read_to_end:
                self._close()
            return False
        self._patience.step()
        self.request = request = Request(self, head)
        self._phase = _Phase.ANSWER if head.fields.length == 0 else _Phase.BODY
        self._server.handle(request)
        return True

    def _take_body(self, body: Body) -> None:
        length = len(self.incoming)
        try:
            pieces, mean, is_end = self.incoming.take_body()
        except BadChunk as error:
            self._refuse(BadRequest(HTTPStatus.BAD_REQUEST, str(error)))
            return
        self._read_at_once(FIRST_PIECE if is_end else next_piece(mean, is_collected=body.is_collected))
        self._patience.came(length)
        body.take(pieces)
        if is_end and self._phase is _Phase.BODY:
            self._phase = _Phase.ANSWER
            body.all_came()
            self._finish_if_over()

    def _refuse(self, error: BadRequest) -> None:
        """Answer what is not a request, and end the connection."""
        request = self.request
        if request is not None and request.answer is Answer.BEGUN:
            self.drop()
            return
        if request is None or request.answer is Answer.AWAITED:
            self.output.write(self._server.refusal(error.status, error.message))
        self._close_gently()

    # The end of a request, and of the connection.

    def _finish_if_over(self) -> None:
        request = self.request
        if request is None or request.answer is not Answer.COMPLETE or self.output.congested:
            return
        if request.body.state is BodyState.ENDED and self._keeps:
            self.request = None
            self._phase = _Phase.HEAD
            self._advance()
        elif request.body.state is BodyState.ENDED:
            self.request = None
            self._close()
        elif request.body.state is BodyState.BROKEN:
            self._close_gently()

    def _close(self) -> None:
        """End the connection when everything is sent."""
        self._phase = _Phase.CLOSING
        self.incoming.clear()
        self.output.close()

    def _close_gently(self) -> None:
        """As `_close`, where the client may still be sending: what it sends is thrown away for a while."""
        self.incoming.clear()
        self._forsake()
        if self.secure or self.read_to_end:
            self._close()
        else:
            self._phase = _Phase.LINGERING
            self.wire.loseWriteConnection()
            self._update()

    def _end_within_body(self) -> None:
        """The client has sent all that it will, and that was not the whole body."""
        if self.request is not None and self.request.answer is Answer.COMPLETE:
            self._forsake()
            self._close()
        else:
            self.drop()

    def _forsake(self) -> None:
        """Nobody reads the request's answer any more."""
        request, self.request = self.request, None
        if request is not None:
            request.client_gone()

    # What is waited for.

    def _update(self) -> None:
        """Read, and set the deadline, as it is now."""
        if self._advancing or not self.connected:
            return
        if self._phase is _Phase.BODY and self._waits_for_body():
            reading = not self.incoming
        else:
            reading = len(self.incoming) <= self._server.limits.head.size
        if reading is not self._reading and not self.read_to_end:
            self._reading = reading
            self.wire.resumeProducing() if reading else self.wire.pauseProducing()
        self._patience.wait_for(self._awaited())

    def _awaited(self) -> Awaited:
        if self._phase in _OVER:
            return Awaited.READING if self._phase is _Phase.CLOSING else Awaited.GOODBYE
        request = self.request
        if request is None:
            return Awaited.REQUEST
        body = request.body
        if request.answer is Answer.COMPLETE and not body.ended and not body.can_be_drained(DRAIN_MAX):
            return Awaited.GOODBYE
        if self.output.has_to_move:
            return Awaited.READING
        if not self._waits_for_body():
            return Awaited.NOTHING
        return Awaited.SMALL_BODY if body.is_collected or body.state is BodyState.DISCARDED else Awaited.BODY

    def _too_late(self, awaited: Awaited) -> None:
        request = self.request
        is_sending = awaited is Awaited.BODY or awaited is Awaited.SMALL_BODY
        if is_sending and request is not None and request.answer is Answer.AWAITED:
            self.give_up_body()
        elif (
            self._phase in _OVER
            or self.output.has_to_move
            or (request is not None and request.answer is not Answer.COMPLETE)
        ):
            self.drop()
        else:
            # What the kernel has taken of an answer still arrives: a slow client may be far from having read it.
            self._forsake()
            self._close()
            self._update()

    def _read_at_once(self, length: int) -> None:
        wire = getattr(self.transport, "transport", self.transport)  # behind TLS it is that of TLS
        if isinstance(wire, FileDescriptor):
            wire.bufferSize = min(length, BEHIND_TLS_PIECE) if self.secure else length
