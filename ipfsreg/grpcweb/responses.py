"""The receiving half of a call."""

from collections import deque
from typing import Generic, Protocol, Self, TypeVar

from twisted.internet.defer import Deferred

from .errors import CallError, UnexpectedAnswer

M = TypeVar("M")
M_co = TypeVar("M_co", covariant=True)

HIGH_WATER = 256 * 1024
"""So many bytes of messages may wait to be taken; then the transport is not read any more."""

_OVERHEAD = 64  # what a waiting message costs besides its bytes, so that tiny ones are bounded too


class MessageType(Protocol[M_co]):
    """What makes messages of bytes: the classes of protobuf messages, among others."""

    def FromString(self, data: bytes, /) -> M_co:
        """The message; any exception for bytes that are none."""


class ResponseSource(Protocol):
    """Where responses come from: the part of a call that reads."""

    def next_payload(self) -> bytes | None:
        """The next message's bytes, or None where there is none now."""

    def reading(self, *, wanted: bool) -> None:
        """Whether more bytes are wanted."""

    def fail(self, error: CallError) -> None:
        """End the call: what came cannot be used."""

    def cancel(self) -> None:
        """End the call: nobody wants it."""


class Responses(Generic[M]):
    """The messages from the server: ``async for message in call.responses`` (or `receive`, or `only`).

    They come at the caller's pace: what it does not take is not read from the connection (but for `HIGH_WATER`
    bytes read ahead, so that an early status is noticed). The outcome comes last: messages end without an exception for
    status OK only, else with a `CallError`.
    """

    def __init__(self, message_type: MessageType[M], source: ResponseSource) -> None:
        self._type = message_type
        self._source = source
        self._queue: deque[tuple[M, int]] = deque()
        self._size = 0
        self._waiting: Deferred[M | None] | None = None
        self._ended = False
        self._error: CallError | None = None

    # For the user.

    def receive(self) -> "Deferred[M | None]":
        """The next message; None when the call has ended well. Fails with a `CallError`.

        Cancelling the Deferred only gives up waiting; the call goes on.
        """
        if self._waiting is not None:
            raise RuntimeError("somebody is taking the messages already")
        waiting = self._waiting = Deferred(self._waiting_cancelled)
        self._hand_over()
        return waiting

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> M:
        message = await self.receive()
        if message is None:
            raise StopAsyncIteration
        return message

    async def only(self) -> M:
        """The one message of a call that has one answer.

        :raises CallError: also where there was none, or a second one.
        """
        message = await self.receive()
        if message is None:
            raise UnexpectedAnswer("the call ended well, with no answer")
        if await self.receive() is not None:
            self._source.cancel()
            raise UnexpectedAnswer("more than one answer came")
        return message

    # For the call.

    def advance(self) -> None:
        """There may be messages to read now."""
        self._fill()
        self._hand_over()

    def end(self, error: CallError | None, *, discard: bool) -> None:
        """The call has ended; messages that nobody took yet come before the outcome unless discarded."""
        self._ended = True
        self._error = error
        if discard:
            self._queue.clear()
            self._size = 0
        self._hand_over()

    def _fill(self) -> None:
        while not self._ended and self._size < HIGH_WATER:
            payload = self._source.next_payload()
            if payload is None:
                break
            try:
                message = self._type.FromString(payload)
            except Exception:
                # Not chained: the decoder's text may quote what it could not decode.
                error = UnexpectedAnswer(f"a message of {len(payload)} bytes cannot be decoded")
                self._source.fail(error)
                return
            self._queue.append((message, len(payload) + _OVERHEAD))
            self._size += len(payload) + _OVERHEAD
        if not self._ended:
            self._source.reading(wanted=self._size < HIGH_WATER)

    def _hand_over(self) -> None:
        if self._waiting is None or not (self._queue or self._ended):
            return
        waiting, self._waiting = self._waiting, None
        if self._queue:
            message, size = self._queue.popleft()
            self._size -= size
            self._fill()
            waiting.callback(message)
        elif self._error is None:
            waiting.callback(None)
        else:
            waiting.errback(self._error)

    def _waiting_cancelled(self, waiting: "Deferred[M | None]") -> None:
        self._waiting = None
