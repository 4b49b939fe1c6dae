"""The sending half of a call."""

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred

from .framing import frame


class Message(Protocol):
    """What can be sent: protobuf messages, among others."""

    def SerializeToString(self) -> bytes:
        """The message's bytes."""


class RequestSink(Protocol):
    """Where requests go: the part of an exchange that sends."""

    def write(self, data: bytes) -> None:
        """Send bytes."""

    def finish(self) -> None:
        """End the request."""


class Requests:
    """The messages to the server: `send` them and `finish`. Of many, ``await requests.ready()`` before each.

    Once the call has ended, for whatever reason, what is sent is dropped silently, as Twisted's transports do
    it: the receiving half tells the outcome.
    """

    def __init__(self, sink: RequestSink, progress: Callable[[], None]) -> None:
        self._sink = sink
        self._progress = progress
        self._held: list[bytes] | None = []  # None once the exchange is open
        self._congested = False
        self._finished = False
        self._ended = False
        self._ready: list[Deferred[bool]] = []

    # For the user.

    def send(self, message: Message) -> None:
        """Send a message.

        It is never refused because much waits to be sent: mind `ready`. Messages of 16 to 256 KiB keep the reactor
        going and memory small; servers take 4 MiB at most unless configured otherwise.

        :raises RuntimeError: after `finish`.
        """
        if self._finished:
            raise RuntimeError("the request was finished")
        if self._ended:
            return
        self._progress()
        data = frame(message.SerializeToString())
        if self._held is None:
            self._sink.write(data)
        else:
            self._held.append(data)

    def finish(self) -> None:
        """Say that no more messages will come. A second call does nothing."""
        if self._finished:
            return
        self._finished = True
        if self._held is None and not self._ended:
            self._sink.finish()

    def ready(self) -> "Deferred[bool]":
        """Fires with True when the transport wants more, with False when the call has ended."""
        ready: Deferred[bool] = Deferred(self._ready_cancelled)
        if self._ended or not self._paused:
            ready.callback(not self._ended)
        else:
            self._ready.append(ready)
        return ready

    # For the call.

    def opened(self) -> None:
        """The exchange takes bytes now."""
        held, self._held = self._held or [], None
        for data in held:
            self._sink.write(data)
        if self._finished:
            self._sink.finish()
        self._tell_ready()

    def paused(self) -> None:
        """The transport has enough."""
        self._congested = True

    def resumed(self) -> None:
        """The transport wants more. Over TLS it may say so, of the handshake, before the exchange is open."""
        self._congested = False
        self._tell_ready()

    def ended(self) -> None:
        """The call has ended: nothing more is wanted."""
        self._ended = True
        self._held = None
        waiting, self._ready = self._ready, []
        for ready in waiting:
            ready.callback(False)

    @property
    def _paused(self) -> bool:
        return self._congested or self._held is not None

    def _tell_ready(self) -> None:
        while self._ready and not self._paused and not self._ended:
            self._ready.pop(0).callback(True)

    def _ready_cancelled(self, ready: "Deferred[bool]") -> None:
        self._ready.remove(ready)
