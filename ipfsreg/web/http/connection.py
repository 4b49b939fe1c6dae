"""A client's connection: one request after the other, whatever it sends, and however slowly."""

from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from http import HTTPStatus
from typing import Any, Protocol, cast

from twisted.internet import protocol
from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IProducer,
    ISSLTransport,
)
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure
from zope.interface import implementer

from ipfsreg.flow.workers import Workers

from .body import OVER, WANTED, ClientGone, ClientTooSlow, State
from .framing import BadChunk, Chunked, Sized
from .head import END, BadRequest, check_beginning, parse_head
from .limits import AT_ONCE, DRAIN_MAX, FIRST_PIECE, HEAD_MAX, KEPT_MAX, Limits, next_piece
from .output import Output
from .patience import Awaited, Patience
from .request import Answer, Request
from .wire import IWire

_TLS_HANDSHAKE = b"\x16"


class Server(Protocol):
    """What a connection needs of its server."""

    reactor: Any
    clock: Callable[[], float]
    limits: Limits

    def handle(self, request: Request) -> None:
        """Answer a request, now or later."""

    def common_headers(self) -> bytes:
        """The lines that every answer has."""

    def refusal(self, status: HTTPStatus, message: str) -> bytes:
        """The answer to what is no request."""

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
    """A connection. ``request`` is the one that is being answered; the next one is not looked at before it is over."""

    def __init__(self, server: Server) -> None:
        self.request: Request | None = None
        self.secure = False
        self._server = server
        self._phase = _Phase.HEAD
        self._begun = False
        self._buffer = b""
        self._framing: Sized | Chunked = Sized(0)
        self._advancing = False
        self._later: IDelayedCall | None = None
        self._reading = True
        self._at_once = 0
        self._read_to_end = False
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

    @property
    def peer(self) -> IAddress:
        """The client's address."""
        return self.wire.getPeer()

    @property
    def congested(self) -> bool:
        """Whether the client has yet to take what it was sent."""
        return self._output.congested

    @property
    def waiting(self) -> int:
        """How many bytes wait that the client sent and nobody has looked at."""
        return len(self._buffer)

    # The transport's side.

    def connectionMade(self) -> None:
        """See `Protocol`."""
        self.secure = ISSLTransport.providedBy(self.transport)
        self._output = Output(self.wire, self._server.reactor, secure=self.secure, taken=self._taken, moved=self._moved)
        with suppress(OSError, AttributeError):  # a Unix socket
            self.wire.setTcpNoDelay(True)
        self._read_at_once(FIRST_PIECE)
        self._update()

    def dataReceived(self, data: bytes) -> None:
        """See `Protocol`."""
        if self._phase in _OVER:
            return
        if not self._begun:
            self._begun = True
            if data.startswith(_TLS_HANDSHAKE) and not self.secure:
                # Docker, skopeo and podman try TLS first, and wait for an answer of any kind before plain HTTP.
                # It has to be one: a connection that is merely reset makes newer engines give up.
                self._refuse(BadRequest(HTTPStatus.BAD_REQUEST, "this port speaks HTTP without TLS"))
                return
        self._buffer = self._buffer + data if self._buffer else data
        self._advance()

    def readConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol`: the client sends nothing more, but may still want its answers."""
        self._read_to_end = True
        if self._phase in _OVER:
            self._close()
        else:
            self._advance()

    def writeConnectionLost(self) -> None:
        """See `IHalfCloseableProtocol`: we said so ourselves."""

    def connectionLost(self, reason: Failure = CONNECTION_DONE) -> None:  # type: ignore[assignment]
        """See `Protocol`."""
        self.connected = 0
        self._phase = _Phase.CLOSING
        self._buffer = b""
        self._patience.stop()
        if self._later is not None:
            self._later.cancel()
            self._later = None
        self._forsake()
        self._output.lost()
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

    # A request's side: see `Exchange`.

    def common_headers(self) -> bytes:
        """The lines that every answer has."""
        return self._server.common_headers()

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if not self._output.write(data):
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

    def register_producer(self, producer: IProducer) -> None:
        """Pause and resume a producer as the client takes what it is sent."""
        self._output.register_producer(producer)

    def unregister_producer(self) -> None:
        """It has written everything."""
        self._output.unregister_producer()

    async def send_file(self, workers: Workers, head: bytes, file: int, offset: int, length: int) -> None:
        """Send a head and a range of a file after it; see `Output.send_file`."""
        await self._output.send_file(workers, head, file, offset, length)

    # What was read.

    def _advance(self) -> None:
        """Go on with what has come, but not for so long that others wait."""
        if self._advancing:
            return
        self._advancing = True
        try:
            for _ in range(AT_ONCE):
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
            return bool(self._buffer or self._read_to_end) and self._take_head()
        if self._phase is _Phase.BODY and self._waits_for_body():
            if self._buffer:
                self._take_body()
                return True
            if self._read_to_end:
                self._end_within_body()
        return False

    def _waits_for_body(self) -> bool:
        return self.request is not None and self.request.body.state in WANTED

    def _take_head(self) -> bool:
        data = self._buffer
        begin = 0
        while data.startswith(b"\r\n", begin):  # some clients end a body with it (RFC 9112, 2.2)
            begin += 2
        if begin:
            data = self._buffer = data[begin:]
        end = data.find(END)
        try:
            if end < 0:
                check_beginning(data)
                if self._read_to_end:
                    self._close()
                return False
            if end > HEAD_MAX:
                check_beginning(data[:end])
            head = parse_head(data[: end + len(END)])
        except BadRequest as error:
            self._refuse(error)
            return False
        self._buffer = data[end + len(END) :]
        self._patience.step()
        self.request = request = Request(self, head)
        if head.length == 0:
            self._phase = _Phase.ANSWER
        else:
            self._phase = _Phase.BODY
            self._framing = Chunked() if head.length is None else Sized(head.length)
        self._server.handle(request)
        return True

    def _take_body(self) -> None:
        assert self.request is not None
        data, self._buffer = self._buffer, b""
        body = self.request.body
        try:
            pieces, rest = self._framing.feed(data)
        except BadChunk as error:
            self._refuse(BadRequest(HTTPStatus.BAD_REQUEST, str(error)))
            return
        mean = len(data) / max(self._framing.pieces, 1)
        self._read_at_once(next_piece(mean, is_collected=body.is_collected))
        self._patience.came(len(data))
        if rest is not None:
            self._buffer = rest
        body.take(pieces)
        if rest is not None and self._phase is _Phase.BODY:
            self._phase = _Phase.ANSWER
            self._read_at_once(FIRST_PIECE)
            body.all_came()
            self._finish_if_over()

    def _refuse(self, error: BadRequest) -> None:
        """Answer what is no request, and end the connection."""
        request = self.request
        if request is not None and request.answer is Answer.BEGUN:
            self.drop()
            return
        if request is None or request.answer is Answer.AWAITED:
            self._output.write(self._server.refusal(error.status, error.message))
        self._close_gently()

    # The end of a request, and of the connection.

    def _finish_if_over(self) -> None:
        request = self.request
        if request is None or request.answer is not Answer.COMPLETE or self._output.congested:
            return
        if request.body.state is State.ENDED and self._keeps:
            self.request = None
            self._phase = _Phase.HEAD
            self._advance()
        elif request.body.state is State.ENDED:
            self.request = None
            self._close()
        elif request.body.state is State.BROKEN:
            self._close_gently()

    def _close(self) -> None:
        """End the connection when everything is sent."""
        self._phase = _Phase.CLOSING
        self._buffer = b""
        self._output.close()

    def _close_gently(self) -> None:
        """As `_close`, where the client may still be sending: what it sends is thrown away for a while."""
        self._buffer = b""
        self._forsake()
        if self.secure or self._read_to_end:
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
            request.gone = True
            request.body.lost(ClientGone("the client went away before its request was whole"))

    # What is waited for.

    def _update(self) -> None:
        """Read, and set the deadline, as it is now."""
        if self._advancing or not self.connected:
            return
        if self._phase is _Phase.BODY and self._waits_for_body():
            reading = not self._buffer
        else:
            reading = len(self._buffer) <= KEPT_MAX
        if reading is not self._reading and not self._read_to_end:
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
        if self._output.has_to_move:
            return Awaited.READING
        if not self._waits_for_body():
            return Awaited.NOTHING
        return Awaited.SMALL_BODY if body.is_collected or body.state is State.DISCARDED else Awaited.BODY

    def _too_late(self, awaited: Awaited) -> None:
        is_sending = awaited is Awaited.BODY or awaited is Awaited.SMALL_BODY
        if is_sending and self.request is not None and self.request.answer is Answer.AWAITED:
            self.give_up_body()
        elif awaited is Awaited.GOODBYE and self._phase not in _OVER and not self._output.congested:
            self._forsake()
            self._close()
        else:
            self.drop()

    def _read_at_once(self, length: int) -> None:
        if length != self._at_once and isinstance(self.transport, FileDescriptor):
            # Behind TLS it is not one: that has pieces of its own.
            self._at_once = self.transport.bufferSize = length
