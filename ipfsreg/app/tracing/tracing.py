"""A trace of each request: what it was, what it asked of the storage, and how long each took."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, ParamSpec, TypeVar
from urllib.parse import unquote

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span as LibrarySpan
from opentelemetry.trace import SpanKind, StatusCode, Tracer
from twisted.internet.defer import Deferred

from ipfsreg import __version__
from ipfsreg.app.posting import Poster
from ipfsreg.bucket.around import AroundBucket
from ipfsreg.bucket.errors import SetupError
from ipfsreg.bucket.opened import Opened
from ipfsreg.config.sections import TracingOptions
from ipfsreg.flow.tracing import current, traced
from ipfsreg.web.http.request import Request
from ipfsreg.web.http.server import Handler

from .sending import SpanSender
from .spans import TracedSpan, parent_of

P = ParamSpec("P")
T = TypeVar("T")

_TEXT_MAX = 256
_UNTRACED = frozenset({b"/livez", b"/readyz", b"/metrics"})
"""Asked for every few seconds, by programs that watch."""

_SHOWN = ("repository", "reference", "digest", "cid")
"""The parts of paths that are told of. An upload session's name is nobody's business."""

_HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2

_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
"""What OpenTelemetry's semantic conventions for HTTP know. Another is ``_OTHER``, and HTTP in a span's name."""

_ARGUMENT = re.compile(r"<(?:[^:<>]+:)?([^:<>]+)>")


def configured_headers() -> Mapping[str, str]:
    """What is sent to the receiver beside the traces, by OpenTelemetry's environment variable.

    Its library logs what it cannot read, and that may be a password. A value with a space in it is taken as it is, as
    the library does; else it is encoded as in URLs.

    :raises SetupError: where it cannot be read. The message quotes nothing.
    """
    headers = {}
    for each in os.environ.get(_HEADERS, "").split(","):
        if not each.strip():
            continue
        name, separator, value = (part.strip() for part in each.partition("="))
        value = value if " " in value else unquote(value).strip()
        if not separator or not _HEADER_NAME.fullmatch(name) or not value.isprintable():
            raise SetupError(f"the environment variable {_HEADERS} is not NAME=VALUE,NAME=VALUE…")
        headers[name.lower()] = value
    return headers


class Tracing:
    """Makes the parts of the daemon that trace what they do. A `Watcher`, which sends the traces."""

    def __init__(self, options: TracingOptions, reactor: Any) -> None:
        assert options.endpoint is not None
        sender = SpanSender(options.endpoint, configured_headers(), Poster(reactor), reactor)
        name = os.environ.get("OTEL_SERVICE_NAME", "ipfsreg")
        provider = TracerProvider(
            ParentBased(TraceIdRatioBased(options.ratio)),
            Resource.create({"service.name": name, "service.version": __version__}),
            shutdown_on_exit=False,
            span_limits=SpanLimits(max_attribute_length=_TEXT_MAX),
        )
        provider.add_span_processor(sender)
        self._tracer = provider.get_tracer("ipfsreg", __version__)
        self._sender = sender

    async def start(self) -> None:
        await self._sender.start()

    async def stop(self) -> None:
        """See `Watcher`: what waits is sent, if that does not take long."""
        await self._sender.stop()

    def of(self, backend: Opened) -> Opened:
        """A backend whose bucket is traced, to be used in its place."""
        return replace(backend, bucket=TracedBucket(backend.bucket))

    def requests(self, handler: Handler) -> Handler:
        """A handler whose requests are traced, to be used in its place."""
        return partial(_handle, self._tracer, handler)


class TracedBucket(AroundBucket):
    """A bucket, with a span for each thing that a request asks of it."""

    def _around(
        self, operation: str, call: "Callable[P, Deferred[T]]", *args: P.args, **kwargs: P.kwargs
    ) -> "Deferred[T]":
        return traced(f"bucket {operation}", call, *args, **kwargs)


def _handle(tracer: Tracer, handler: Handler, request: Request) -> None:
    if request.path in _UNTRACED:
        handler(request)
        return
    method = request.method.decode("ascii")
    span = tracer.start_span(method if method in _METHODS else "HTTP", parent_of(request.headers), SpanKind.SERVER)
    if span.is_recording():
        context = span.get_span_context()
        # So what the log says of the request, and what its client is told, leads to the trace.
        request.call_it(f"{context.trace_id:032x}-{context.span_id:016x}")
        request.when_over(partial(_over, span, request))
    outer = current.set(TracedSpan(tracer, span))
    try:
        handler(request)
    finally:
        current.reset(outer)


def _over(span: LibrarySpan, request: Request) -> None:
    """The request is over. What is told of it has no secret: nothing of its query, and nobody's name."""
    method, path = request.method.decode("ascii"), _template(request.rule)
    known = method in _METHODS
    attributes = {
        "http.request.method": method if known else "_OTHER",
        "network.protocol.version": "1.1" if request.is_1_1 else "1.0",
        "url.scheme": "https" if request.is_secure else "http",
        "user_agent.original": request.header("User-Agent") or "",
        "http.request.body.size": request.body.received,
        "http.response.body.size": request.sent_length,
        "ipfsreg.request_id": request.identifier,
    }
    if not known:
        attributes["http.request.method_original"] = method
    if path:
        attributes["http.route"] = path
        span.update_name(f"{method if known else 'HTTP'} {path}")
    for name in _SHOWN:
        if name in request.arguments:
            attributes[f"ipfsreg.{name}"] = str(request.arguments[name])
    if request.gone:
        attributes["error.type"] = "client gone"
    else:
        attributes["http.response.status_code"] = request.code
        if request.code >= 500:
            attributes["error.type"] = str(request.code)
            span.set_status(StatusCode.ERROR)
    span.set_attributes(attributes)
    span.end()


@lru_cache(maxsize=256)
def _template(rule: str) -> str:
    """The path of a route as others write it: ``/v2/{repository}/tags/list``."""
    return _ARGUMENT.sub(r"{\1}", rule)
