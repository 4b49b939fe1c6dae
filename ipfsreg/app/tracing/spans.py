"""OpenTelemetry's spans as those of `ipfsreg.flow.tracing`."""

from collections.abc import Mapping

from opentelemetry.context import Context
from opentelemetry.trace import Span as LibrarySpan
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from twisted.internet.defer import CancelledError

from ipfsreg.bucket.errors import NotFound
from ipfsreg.flow.tracing import NO_SPAN, Span

_HEADER_MAX = 512
"""What W3C's Trace Context asks to be passed on of a ``tracestate``; a ``traceparent`` is far shorter."""

_propagator = TraceContextTextMapPropagator()


def parent_of(headers: Mapping[bytes, bytes]) -> Context:
    """What a client says that its request belongs to; nothing where it says nothing sensible."""
    sent = {name: headers.get(name.encode("ascii"), b"").decode("latin-1") for name in _propagator.fields}
    carrier = {name: value for name, value in sent.items() if len(value) <= _HEADER_MAX}
    return _propagator.extract(carrier, Context())


class TracedSpan:
    """See `Span`. What is begun after its end is a part of nothing."""

    def __init__(self, tracer: Tracer, span: LibrarySpan) -> None:
        self._tracer = tracer
        self._span = span

    @property
    def headers(self) -> Mapping[str, str]:
        carrier: dict[str, str] = {}
        _propagator.inject(carrier, set_span_in_context(self._span, Context()))
        return carrier

    def child(self, name: str) -> Span:
        if not self._span.is_recording():
            # Not to be recorded elsewhere either; or it is over, and another request goes on with what it began.
            return NO_SPAN if self._span.get_span_context().trace_flags.sampled else self
        kind = SpanKind.INTERNAL if name.startswith("bucket ") else SpanKind.CLIENT
        above = set_span_in_context(self._span, Context())
        return TracedSpan(self._tracer, self._tracer.start_span(name, above, kind))

    def end(self, error: BaseException | None = None) -> None:
        """See `Span`. That something is not there is no failure, and neither is that nobody wants it any more."""
        if not self._span.is_recording():
            return
        if error is not None:
            self._span.set_attribute("error.type", type(error).__name__)
            if isinstance(error, Exception) and not isinstance(error, (NotFound, CancelledError)):
                self._span.set_status(Status(StatusCode.ERROR, str(error)[:200]))
        self._span.end()
