"""Spans that have ended are sent to a receiver, by OTLP over HTTP."""

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.web.http_headers import Headers

from ipfsreg.app.posting import NotTaken, Poster
from ipfsreg.flow.periodic import Periodic
from ipfsreg.flow.throttle import Throttle

_MOST = 4096
"""How many spans wait at most. What does not fit is lost."""

_BATCH = 512
_ENCODED_AT_ONCE = 25  # a millisecond
_EVERY_SECONDS = 1.0
_ANSWER_SECONDS = 10.0
_STOP_SECONDS = 2.0
_TOLD_EVERY_SECONDS = 60.0
_AGAIN = frozenset({0, 408, 429, 500, 502, 503, 504})
"""After which answers the same is sent again; with another one it would be refused for ever."""


class SpanSender(SpanProcessor):
    """Keeps what has ended until the receiver has taken it. Nobody waits for that: spans that are too many are lost.

    Not the library's own exporter, whose blocking client reads an answer of any length, in a thread that nobody can
    stop. ``headers`` are sent too. A `Watcher`.
    """

    _log = Logger()

    def __init__(self, url: str, headers: Mapping[str, str], poster: Poster, reactor: Any) -> None:
        fixed = {"Content-Type": "application/x-protobuf", "User-Agent": "ipfsreg"}
        self._headers = Headers({name: [value] for name, value in {**headers, **fixed}.items()})
        self._url = url
        self._poster = poster
        self._reactor = reactor
        self._waiting: deque[ReadableSpan] = deque()
        self._lost = 0
        self._lost_told: float | None = None  # when that was told for the last time, by the reactor's clock
        self._trouble_told: float | None = None  # likewise
        self._in_trouble = False
        self._again = Periodic(reactor, "send traces", _EVERY_SECONDS, self._send_all, first=_EVERY_SECONDS)

    def on_end(self, span: ReadableSpan) -> None:
        if len(self._waiting) < _MOST:
            self._waiting.append(span)
        else:
            self._lost += 1

    async def start(self) -> None:
        self._again.startService()

    async def stop(self) -> None:
        """See `Watcher`: what waits is sent, if that does not take long."""
        self._again.stopService()
        try:
            await Deferred.fromCoroutine(self._send_all()).addTimeout(_STOP_SECONDS, self._reactor)
        except Exception as error:
            self._log.debug("The last traces could not be sent: {error}", error=error)
        self._lost += len(self._waiting)
        self._lost_told = None
        self._tell_lost()

    async def _send_all(self) -> None:
        while self._waiting:
            batch = list(islice(self._waiting, _BATCH))
            content = await self._encoded(batch)
            try:
                await self._poster.post(self._url, content, self._headers, _ANSWER_SECONDS)
            except NotTaken as error:
                again = error.status in _AGAIN
                if not again:
                    self._lost += self._forget(len(batch))
                self._tell_trouble(error, again)
                return
            else:
                self._forget(len(batch))
                if self._in_trouble:
                    self._in_trouble = False
                    self._log.info("The receiver takes traces again.")
            finally:
                self._tell_lost()

    async def _encoded(self, spans: Sequence[ReadableSpan]) -> bytes:
        throttle = Throttle(self._reactor, steps=1)
        pieces = []
        for begin in range(0, len(spans), _ENCODED_AT_ONCE):
            pieces.append(encode_spans(spans[begin : begin + _ENCODED_AT_ONCE]).SerializeToString())
            await throttle.step()
        return b"".join(pieces)  # which is the message that has all of them: what is repeated in protobuf may be cut

    def _forget(self, count: int) -> int:
        for _ in range(count):
            self._waiting.popleft()
        return count

    def _tell_trouble(self, error: NotTaken, again: bool) -> None:
        """Say it once; not when all comes to its end, which cuts short what is under way."""
        if self._in_trouble or not self._again.running or not self._is_due(self._trouble_told):
            return
        self._in_trouble = True
        self._trouble_told = self._reactor.seconds()
        if again:
            self._log.warn("The receiver does not take traces: {error}. They are kept, and sent again.", error=error)
        else:
            self._log.warn("The receiver refuses traces: {error}. They are lost.", error=error)

    def _tell_lost(self) -> None:
        if self._lost and self._is_due(self._lost_told):
            lost = "1 span" if self._lost == 1 else f"{self._lost} spans"
            self._log.warn("Traces are incomplete: {lost} lost, which the receiver did not take.", lost=lost)
            self._lost = 0
            self._lost_told = self._reactor.seconds()

    def _is_due(self, told: float | None) -> bool:
        return told is None or self._reactor.seconds() - told >= _TOLD_EVERY_SECONDS
