"""The sending half of a call."""

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IDelayedCall, IProducer, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

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
    """The messages to the server, fed in one of three ways.

    * a few messages: `send` them and `finish`;
    * a coroutine: ``if not await requests.ready(): break`` before each `send`;
    * a producer: `registerProducer`, as with any consumer. It is paused while the transport has enough to
      write, resumed when that is written, and stopped (and forgotten) when the call ends before it does.
      `consumer` makes a consumer of bytes of it, for producers that know no messages.

    Once the call has ended, for whatever reason, what is sent is dropped silently, as Twisted's transports do
    it: the receiving half tells the outcome.
    """

    _log = Logger()

    def __init__(self, reactor: IReactorTime, sink: RequestSink, progress: Callable[[], None]) -> None:
        self._reactor = reactor
        self._sink = sink
        self._progress = progress
        self._held: list[bytes] | None = []  # None once the exchange is open
        self._congested = False
        self._finished = False
        self._ended = False
        self._ready: list[Deferred[bool]] = []
        self._producer: Any = None
        self._streaming = False
        self._pull: IDelayedCall | None = None

    # For the user.

    def send(self, message: Message) -> None:
        """Send a message.

        It is never refused for lack of room: mind `ready`, or be a producer. Messages of 16 to 256 KiB keep
        the reactor going and memory small; servers take 4 MiB at most unless configured otherwise.

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
        self._ask_producer()

    def finish(self) -> None:
        """Say that no more messages will come. A second call does nothing.

        :raises RuntimeError: while a producer is registered.
        """
        if self._producer is not None:
            raise RuntimeError("a producer is registered")
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

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Let a producer feed the request through `send`: ``streaming`` for a push producer, as in `IConsumer`.

        :raises RuntimeError: while another one is registered, and after `finish`.
        """
        if self._producer is not None or self._finished:
            raise RuntimeError("there is a producer, or the request was finished")
        if self._ended:
            producer.stopProducing()
            return
        self._producer = producer
        self._streaming = streaming
        if streaming and self._paused:
            self._producer.pauseProducing()
        self._ask_producer()

    def unregisterProducer(self) -> None:
        """The producer is through. The request goes on: `finish` it, or register another."""
        self._producer = None
        self._stop_asking()

    def consumer(self, pack: Callable[[bytes], Message], piece: int = 64 * 1024) -> IConsumer:
        """An `IConsumer` of bytes that sends them as messages.

        :param pack: makes a message of at most ``piece`` bytes.
        """
        return BytesConsumer(self, pack, piece)

    # For the call.

    def opened(self) -> None:
        """The exchange takes bytes now."""
        held, self._held = self._held or [], None
        for data in held:
            self._sink.write(data)
        if self._finished:
            self._sink.finish()
        self._go_on()

    def paused(self) -> None:
        """The transport has enough."""
        was_paused, self._congested = self._paused, True
        if was_paused or self._ended:
            return
        self._stop_asking()
        if self._producer is not None and self._streaming:
            self._producer.pauseProducing()

    def resumed(self) -> None:
        """The transport wants more. Over TLS it may say so, of the handshake, before the exchange is open."""
        was_congested, self._congested = self._congested, False
        if was_congested and not self._ended:
            self._go_on()

    def ended(self) -> None:
        """The call has ended: nothing more is wanted."""
        self._ended = True
        self._held = None
        self._stop_asking()
        producer, self._producer = self._producer, None
        if producer is not None:
            with self._log.failuresHandled("a producer failed while it was stopped"):
                producer.stopProducing()
        waiting, self._ready = self._ready, []
        for ready in waiting:
            ready.callback(False)

    @property
    def _paused(self) -> bool:
        return self._congested or self._held is not None

    def _go_on(self) -> None:
        if not self._paused and self._producer is not None and self._streaming:
            self._producer.resumeProducing()
        self._ask_producer()
        while self._ready and not self._paused:
            self._ready.pop(0).callback(True)

    def _ready_cancelled(self, ready: "Deferred[bool]") -> None:
        self._ready.remove(ready)

    # A pull producer is asked again after each message, in a later turn of the reactor, so that it can neither
    # keep the reactor for itself nor recurse.

    def _ask_producer(self) -> None:
        if self._producer is not None and not self._streaming and not self._paused and self._pull is None:
            self._pull = self._reactor.callLater(0, self._pull_now)

    def _pull_now(self) -> None:
        self._pull = None
        self._producer.resumeProducing()

    def _stop_asking(self) -> None:
        if self._pull is not None:
            self._pull.cancel()
            self._pull = None


@implementer(IConsumer)
class BytesConsumer:
    """Packs bytes into messages; see `Requests.consumer`."""

    def __init__(self, requests: Requests, pack: Callable[[bytes], Message], piece: int) -> None:
        self._requests = requests
        self._pack = pack
        self._piece = piece

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """See `Requests.registerProducer`."""
        self._requests.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """See `Requests.unregisterProducer`."""
        self._requests.unregisterProducer()

    def write(self, data: bytes) -> None:
        """Send bytes, in messages of at most one piece each."""
        for start in range(0, len(data), self._piece):
            self._requests.send(self._pack(data[start : start + self._piece]))
