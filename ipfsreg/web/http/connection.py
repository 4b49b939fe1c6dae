"""A client's connection: one request after the other, whatever it sends, and however slowly."""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from socket import socket
from typing import Any, Protocol, cast

from twisted.internet import protocol
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IProducer,
    IPushProducer,
    ISSLTransport,
)
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure
from zope.interface import implementer

from ipfsreg.flow.sendfile import SocketGone, SocketSender
from ipfsreg.flow.workers import Workers

from .body import OVER, WANTED, ClientGone, ClientTooSlow, State
from .deadline import Deadline
from .framing import BadChunk, Chunked, Sized
from .head import END, HEAD_MAX, BadRequest, check_beginning, parse_head
from .outlet import IWire, SocketOutlet, TlsOutlet
from .request import DRAIN_MAX, Answer, Request

LINGER_SECONDS = 5.0
"""For how long what a client still sends is thrown away, so that it sees the answer.

A connection that is closed with bytes unread is reset, and a reset can overtake the answer."""

LEAST_RATE = 1024
"""A body has to come at this rate, in bytes a second, but for pauses as long as the client's patience allows."""

AT_ONCE = 32
"""How many requests of one client are answered before the others have their turn."""

KEPT_MAX = 16 * 1024
"""How many bytes may wait while a request is being answered: the client is held back when there are more."""

FIRST_PIECE = 16 * 1024
"""How much is read at once, in bytes, before it is known what the client sends."""

COLLECTED_PIECE = 64 * 1024
"""How much is read at once of a body that goes into memory."""

_PIECES = ((4096, 1024 * 1024), (512, 64 * 1024), (0, 4096))
"""How much is read at once while a body comes, by the mean length of the pieces in which it came so far.

Measured, large reads are a fifth less work for a layer. But a read full of chunks of one byte each would keep the
reactor from everybody else for most of a second."""

_TLS_HANDSHAKE = b"\x16"


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a client is waited for, in seconds.

    ``idle`` is for its next request, and for a body that goes into memory; ``stall`` for one that takes nothing of its
    answer, and for one that sends nothing of a body that goes to the disk.
    """

    idle: float
    stall: float


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


class _Awaited(Enum):
    NOTHING = auto()
    REQUEST = auto()
    BODY = auto()
    READING = auto()
    GOODBYE = auto()


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
        self._producer: IPushProducer | None = None
        self._sender: SocketSender | None = None
        self._drained: Deferred[None] | None = None
        self._awaited = _Awaited.NOTHING
        self._deadline = Deadline(server.reactor, server.clock, self._too_late)

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
        return self._outlet.congested

    @property
    def waiting(self) -> int:
        """How many bytes wait that the client sent and nobody has looked at."""
        return len(self._buffer)

    # The transport's side.

    def connectionMade(self) -> None:
        """See `Protocol`."""
        self.secure = ISSLTransport.providedBy(self.transport)
        self._outlet = (TlsOutlet if self.secure else SocketOutlet)(self.wire, self._taken)
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
        self._deadline.stop()
        if self._later is not None:
            self._later.cancel()
            self._later = None
        self._forsake()
        if self._sender is not None:
            self._sender.stop()
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        self._wake()
        self._server.lost(self)

    def _taken(self) -> None:
        """The client has taken everything."""
        self._wake()
        if self._producer is not None:
            self._producer.resumeProducing()
        self._finish_if_over()
        self._update()

    def _moved(self) -> None:
        """The client has taken a part of a file."""
        self._deadline.set(self._server.limits.stall)

    # The server's side.

    def close_if_idle(self) -> None:
        """Close it unless a request is being answered. What was sent last still arrives."""
        if self.request is None:
            self._close()

    def drop(self) -> None:
        """Close it at once; what was sent of an answer stays visibly incomplete."""
        self._phase = _Phase.CLOSING
        self._forsake()
        self.wire.abortConnection()

    # A request's side: see `Exchange`.

    def common_headers(self) -> bytes:
        """The lines that every answer has."""
        return self._server.common_headers()

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self._outlet.write(data)
        if self._outlet.congested:
            if self._producer is not None:
                self._producer.pauseProducing()
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
        assert IPushProducer.providedBy(producer)
        self._producer = producer
        if self._outlet.congested:
            producer.pauseProducing()

    def unregister_producer(self) -> None:
        """It has written everything."""
        self._producer = None

    async def send_file(self, workers: Workers, head: bytes, file: int, offset: int, length: int) -> None:
        """Send a head and a range of a file after it; see `SocketSender`. Not where the connection is secure."""
        while self._outlet.congested and self._phase not in _OVER:
            self._drained = Deferred()
            await self._drained
        if self._phase in _OVER:
            raise SocketGone
        descriptor = os.dup(cast(socket, self.wire.getHandle()).fileno())
        self._sender = SocketSender(self._server.reactor, workers, descriptor, file, self._moved)
        try:
            self._update()
            await self._sender.send(head, offset, offset + length)
        finally:
            self._sender.stop()
            self._sender = None

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
        self._awaited = _Awaited.NOTHING
        self._deadline.clear()
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
        mean = len(data) // max(self._framing.pieces, 1)
        at_once = next(length for least, length in _PIECES if mean >= least)
        self._read_at_once(min(at_once, COLLECTED_PIECE) if body.is_collected else at_once)
        if self._awaited is _Awaited.BODY:
            self._deadline.earn(len(data) / LEAST_RATE, self._patience())
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
            self._outlet.write(self._server.refusal(error.status, error.message))
        self._close_gently()

    # The end of a request, and of the connection.

    def _finish_if_over(self) -> None:
        request = self.request
        if request is None or request.answer is not Answer.COMPLETE or self._outlet.congested:
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
        self._outlet.close()

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

    def _wake(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None:
            drained.callback(None)

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
        awaited = self._what_is_awaited()
        if awaited is not self._awaited:
            self._awaited = awaited
            limits = self._server.limits
            if awaited is _Awaited.NOTHING:
                self._deadline.clear()
            elif awaited is _Awaited.REQUEST:
                self._deadline.set(limits.idle)
            elif awaited is _Awaited.BODY:
                self._deadline.set(self._patience())
            elif awaited is _Awaited.READING:
                self._deadline.set(limits.stall)
            else:
                self._deadline.set(LINGER_SECONDS)

    def _what_is_awaited(self) -> _Awaited:
        if self._phase in _OVER:
            return _Awaited.READING if self._phase is _Phase.CLOSING else _Awaited.GOODBYE
        request = self.request
        if request is None:
            return _Awaited.REQUEST
        is_left = request.answer is Answer.COMPLETE and not request.body.ended
        if is_left and not request.body.can_be_drained(DRAIN_MAX):
            return _Awaited.GOODBYE
        if self._outlet.congested or self._sender is not None:
            return _Awaited.READING
        return _Awaited.BODY if self._waits_for_body() else _Awaited.NOTHING

    def _patience(self) -> float:
        limits, request = self._server.limits, self.request
        if request is None or request.body.is_collected or request.body.state is State.DISCARDED:
            return limits.idle
        return limits.stall

    def _too_late(self) -> None:
        if self._awaited is _Awaited.BODY and self.request is not None and self.request.answer is Answer.AWAITED:
            self.give_up_body()
        elif self._awaited is _Awaited.GOODBYE and self._phase not in _OVER and not self._outlet.congested:
            self._forsake()
            self._close()
        else:
            self.drop()

    def _read_at_once(self, length: int) -> None:
        if length != self._at_once and isinstance(self.transport, FileDescriptor):
            # Behind TLS it is not one: that has pieces of its own.
            self._at_once = self.transport.bufferSize = length
