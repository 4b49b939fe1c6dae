"""One call: its two halves, its time, its exchange, and its end."""

from collections.abc import Callable
from typing import Generic, TypeVar

from twisted.internet.interfaces import IReactorTime

from ipfsreg.flow.tracing import NO_SPAN, Span, current

from .answer import AnswerReader
from .errors import CallCancelled, CallError, DeadlineExceeded, GrpcError
from .exchange import Exchange
from .metadata import Metadata
from .requests import Requests
from .responses import MessageType, Responses
from .status import GrpcStatus, Status
from .timers import Timers

M = TypeVar("M")


class Call(Generic[M]):
    """Ties the halves of a call to an exchange, as its `ExchangeUser`. Users see it as a `Stream`.

    Whatever ends the call, all of these happen, once: the timers stop, the exchange is closed, waiting
    senders and receivers are told, and ``on_end`` is called.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        message_type: MessageType[M],
        message_limit: int,
        deadline: float,
        idle: float | None,
        on_end: Callable[["Call[M]"], None],
    ) -> None:
        self._span: Span = NO_SPAN
        self._reader = AnswerReader(message_limit)
        self._exchange: Exchange | None = None
        self._lost: CallError | None = None
        self._reading = True
        self._ended = False
        self._on_end = on_end
        self._timers = Timers(reactor, deadline, idle, self._expired)
        self.requests = Requests(self, self._timers.progress)
        self.responses: Responses[M] = Responses(message_type, self)

    def start(self, exchange: Exchange, method: str) -> None:
        """Begin. ``method`` is what it is called in traces."""
        self._span = current.get().child(method.lstrip("/"))
        self._exchange = exchange
        exchange.start()

    def cancel(self) -> None:
        """End the call at once, without waiting for the server. After the call's end it does nothing."""
        self._end(CallCancelled(), abort=True)

    def fail(self, error: CallError) -> None:
        """End the call because of what the server sent."""
        self._end(error, abort=True)

    # For the exchange.

    def opened(self) -> None:
        if not self._ended:
            self._timers.progress()
            self.requests.opened()

    def sending_paused(self) -> None:
        self.requests.paused()

    def sending_resumed(self) -> None:
        self._timers.progress()
        self.requests.resumed()

    def head_received(self, http_status: int, headers: Metadata) -> None:
        if self._ended:
            return
        self._timers.progress()
        try:
            self._reader.head(http_status, headers)
        except CallError as error:
            self.fail(error)
            return
        self.responses.advance()

    def data_received(self, data: bytes | bytearray) -> None:
        if self._ended:
            return
        self._timers.progress()
        try:
            self._reader.feed(data)
        except CallError as error:
            self.fail(error)
            return
        self.responses.advance()

    def lost(self, error: CallError) -> None:
        if self._ended:
            return
        self._exchange = None
        self._lost = error
        self._timers.stop()
        self.requests.ended()
        self.responses.advance()  # the status may be among what was read and not taken yet

    # For the halves.

    def write(self, data: bytes) -> None:
        """See `RequestSink`."""
        if self._exchange is not None:
            self._exchange.write(data)

    def finish(self) -> None:
        """See `RequestSink`."""
        if self._exchange is not None:
            self._exchange.finish()

    def next_payload(self) -> bytes | None:
        """See `ResponseSource`."""
        try:
            payload = self._reader.next()
        except CallError as error:
            self.fail(error)
            return None
        if payload is None and self._reader.status is not None:
            self._end(_error_of(self._reader.status), abort=False)
        elif payload is None and self._lost is not None:
            self._end(self._lost, abort=False)
        return payload

    def reading(self, *, wanted: bool) -> None:
        """See `ResponseSource`."""
        if wanted == self._reading or self._exchange is None:
            return
        self._reading = wanted
        if wanted:
            self._timers.resume()
            self._exchange.resume_receiving()
        else:
            self._timers.suspend()
            self._exchange.pause_receiving()

    def _expired(self, error: DeadlineExceeded) -> None:
        self._end(error, abort=True)

    def _end(self, error: CallError | None, *, abort: bool) -> None:
        if self._ended:
            return
        self._ended = True
        self._span.end(error)
        self._timers.stop()
        if self._exchange is not None:
            self._exchange.abort() if abort else self._exchange.close()
        self.requests.ended()
        self.responses.end(error, discard=abort)
        self._on_end(self)


def _error_of(status: Status) -> GrpcError | None:
    if status.code is GrpcStatus.OK:
        return None
    return GrpcError(status.code, status.message, status.trailers)


class Stream(Generic[M]):
    """A call under way, as its user sees it."""

    def __init__(self, call: Call[M]) -> None:
        self._call = call
        self.requests = call.requests
        self.responses = call.responses

    def cancel(self) -> None:
        """End the call at once and close its connection; what waits for it fails with `CallCancelled`."""
        self._call.cancel()
