"""One call as a service of the double sees it, whichever transport it came by."""

from collections import deque
from typing import Any, Protocol

from google.protobuf.message import Message
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime

from .faults import Fault
from .recorder import CallRecord
from .wire import FrameParser, MessageTooLargeError

CANCELLED = 1
UNKNOWN = 2
INVALID_ARGUMENT = 3
DEADLINE_EXCEEDED = 4
NOT_FOUND = 5
PERMISSION_DENIED = 7
RESOURCE_EXHAUSTED = 8
FAILED_PRECONDITION = 9
UNIMPLEMENTED = 12
INTERNAL = 13
UNAVAILABLE = 14
UNAUTHENTICATED = 16

CODE_NAMES = {
    CANCELLED: "Canceled",
    UNKNOWN: "Unknown",
    INVALID_ARGUMENT: "InvalidArgument",
    DEADLINE_EXCEEDED: "DeadlineExceeded",
    NOT_FOUND: "NotFound",
    PERMISSION_DENIED: "PermissionDenied",
    RESOURCE_EXHAUSTED: "ResourceExhausted",
    FAILED_PRECONDITION: "FailedPrecondition",
    UNIMPLEMENTED: "Unimplemented",
    INTERNAL: "Internal",
    UNAVAILABLE: "Unavailable",
    UNAUTHENTICATED: "Unauthenticated",
}
"""As Go writes them in the text of an error that wraps another."""


class RpcError(Exception):
    """The end of a call with a status that is not 0."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text


class EndWithoutStatusError(Exception):
    """The end of a call as when the server dies: no status is sent."""


class Responder(Protocol):
    """The sending half of a transport."""

    def message(self, payload: bytes) -> None:
        """Send one message."""

    def finish(self, code: int, text: str) -> None:
        """Send the status, and end."""

    def end_without_status(self) -> None:
        """End in an orderly way, but without a status."""

    def writable(self) -> "Deferred[None] | None":
        """None, or what to wait for because the client reads slower than we write."""


_TIMEOUT_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


class Call:
    """Messages in and out, metadata, and what a service notes about the call."""

    def __init__(
        self, clock: IReactorTime, record: CallRecord, plan: Fault, responder: Responder, message_limit: int
    ) -> None:
        self.clock = clock
        self.record = record
        self.plan = plan
        self.responder = responder
        self.metadata = record.metadata
        self.method = record.method
        self.cancelled: RpcError | None = None
        self.identity: Any = None
        """Who calls, set by the server's authentication."""
        self._parser = FrameParser(message_limit)
        self._messages: deque[bytes] = deque()
        self._failure: RpcError | None = None
        self._ended = False
        self._waiter: Deferred[None] | None = None
        self._timeout: Any = None
        timeout = self.metadata.get("grpc-timeout", "")
        if timeout and timeout[-1] in _TIMEOUT_UNITS and timeout[:-1].isdecimal():
            expired = RpcError(DEADLINE_EXCEEDED, "context deadline exceeded")
            seconds = int(timeout[:-1]) * _TIMEOUT_UNITS[timeout[-1]]
            self._timeout = clock.callLater(seconds, self.cancel, expired)

    # The receiving half, for the transport.

    def data_received(self, data: bytes) -> None:
        """Take bytes of the client's gRPC stream.

        As in grpc-go's web transport there is no back-pressure: all that comes is queued.

        See docs/protocols/grpc-web.md, "Requests and answers".
        """
        if self._failure is not None or self._ended or self.record.finished is not None:
            return
        try:
            for flag, payload in self._parser.feed(data):
                if flag == 1:
                    self.fail(RpcError(INTERNAL, "grpc: compressed flag set with identity or empty encoding"))
                    return
                if flag:
                    self.fail(RpcError(INTERNAL, f"grpc: received unexpected payload format {flag}"))
                    return
                self._messages.append(payload)
        except MessageTooLargeError as error:
            text = f"grpc: received message larger than max ({error.length} vs. {self._parser._limit})"
            self.fail(RpcError(RESOURCE_EXHAUSTED, text))
        self._wake()

    def ended(self) -> None:
        """The client has sent all."""
        if self._parser.inside and self._failure is None:
            self._failure = RpcError(INTERNAL, "unexpected EOF")
        self._ended = True
        self._wake()

    def fail(self, error: RpcError) -> None:
        """Nothing more can be read: what came before is still handled, then the call ends with the error."""
        if self._failure is None:
            self._failure = error
        self._wake()

    def cancel(self, error: RpcError | None = None) -> None:
        """The client is gone, or its time is up: a service that receives or sends fails at once."""
        if self.cancelled is None and self.record.finished is None:
            self.cancelled = error or RpcError(CANCELLED, "context canceled")
            self.record.cancelled = True
            self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.callback(None)

    # For a service.

    def check(self) -> None:
        """Do nothing while the client is there.

        :raises RpcError: when it has gone.
        """
        if self.cancelled is not None:
            raise self.cancelled

    async def receive(self, seconds: float | None = None, late: RpcError | None = None) -> bytes | None:
        """The client's next message, or None when it has sent all.

        :raises RpcError: when the client is gone or sent what cannot be read; `late` after so many seconds.
        """
        while True:
            self.check()
            if self._messages:
                self.record.messages_received += 1
                return self._messages.popleft()
            if self._failure is not None:
                raise self._failure
            if self._ended:
                return None
            await self._wait(seconds, late)

    async def _wait(self, seconds: float | None, late: RpcError | None) -> None:
        waiter: Deferred[None] = Deferred()
        self._waiter = waiter
        timeout = self.clock.callLater(seconds, waiter.cancel) if seconds is not None else None
        try:
            await waiter
        except CancelledError:
            self._waiter = None
            if timeout is None or timeout.active() or late is None:
                raise
            raise late from None
        finally:
            if timeout is not None and timeout.active():
                timeout.cancel()

    async def send(self, message: "Message | bytes") -> None:
        """Send a message, serialised or not, and wait while the client reads slowly.

        :raises RpcError: when the client is gone.
        """
        self.check()
        self.check_plan()
        payload = message if isinstance(message, bytes) else message.SerializeToString()
        self.record.messages_sent += 1
        self.responder.message(payload)
        writable = self.responder.writable()
        if writable is not None:
            await writable
        self.check()

    def check_plan(self) -> None:
        """Let a fault end the call here, if one is planned after so many messages."""
        plan = self.plan
        if plan.after_messages is not None and self.record.messages_sent >= plan.after_messages:
            if plan.code is None:
                raise EndWithoutStatusError
            raise RpcError(plan.code, plan.text)

    async def sleep(self, seconds: float) -> None:
        """Wait; 0 or less returns at once."""
        if seconds > 0:
            await self._later(seconds)

    async def breathe(self) -> None:
        """Let everybody else have a turn of the reactor."""
        await self._later(0)

    async def _later(self, seconds: float) -> None:
        waiter: Deferred[None] = Deferred()
        timer = self.clock.callLater(seconds, waiter.callback, None)
        try:
            await waiter
        finally:
            if timer.active():
                timer.cancel()

    async def until_cancelled(self) -> None:
        """Wait until the client is gone.

        :raises RpcError: then.
        """
        while True:
            self.check()
            await self._wait(None, None)

    def close(self) -> None:
        """Let go of timers: the call has ended."""
        if self._timeout is not None and self._timeout.active():
            self._timeout.cancel()
