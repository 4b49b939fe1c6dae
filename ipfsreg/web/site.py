"""The registry's face on HTTP: its application behind a server."""

from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from ipfsreg.flow.clock import MonotonicClock
from ipfsreg.flow.workers import Workers
from ipfsreg.registry.registry import Registry

from .app import AccessFace, Gateway, NoAccessControl, make_routes
from .browsers import BrowserRules, for_browsers
from .errors import answer_error, answer_failure, error_document
from .event_stream import EventRoutes, EventStreams
from .gate import TOKEN_PATH
from .http.connection_limits import ConnectionBounds
from .http.forwarded import TrustedProxies
from .http.limits import HttpLimits
from .http.request import Request
from .http.server import Handler, HttpServer, RefusalFormat
from .metrics import MetricsRoute, MetricsText
from .pages.pages import Pages, PagesOptions
from .pages.paths import SIGN_IN, SIGN_OUT
from .request_rate import RequestRate, rate_limited
from .routes import Dispatcher, Routes

_HEADERS = {"Docker-Distribution-API-Version": "registry/2.0", "X-Content-Type-Options": "nosniff"}
LOGGED_PARAMETERS = frozenset(
    (
        *("digest", "digest-algorithm", "mount", "from", "n", "last", "tag", "artifactType", "ns"),
        *("service", "scope", "format", "dag-scope", "entity-bytes"),
    )
)
"""The parameters of queries whose values may be in a log: no secret is ever in one of these."""

_READING = frozenset({b"GET", b"HEAD"})
_LIMITS = HttpLimits(idle=60.0, stall=60.0)
_CHANGES_NOTHING = frozenset(path.encode() for path in (TOKEN_PATH, SIGN_IN, SIGN_OUT))


@dataclass(frozen=True, slots=True)
class SiteOptions:
    """How clients are treated.

    ``read_only`` says why nothing can be changed, where that is so. ``request_rate`` is in requests a second for each
    client; None is any. ``pages`` are there for browsers, unless that is None. ``observers`` are called with each
    request that has its whole answer. ``traced`` makes a handler whose requests are traced.
    """

    limits: HttpLimits = _LIMITS
    observers: tuple[Callable[[Request], None], ...] = ()
    browsers: BrowserRules = field(default_factory=BrowserRules)
    proxies: TrustedProxies = field(default_factory=TrustedProxies)
    read_only: str | None = None
    access: AccessFace = field(default_factory=NoAccessControl)
    bounds: ConnectionBounds = field(default_factory=ConnectionBounds)
    request_rate: float | None = None
    pages: PagesOptions | None = None
    streams: EventStreams | None = None
    metrics: MetricsText | None = None
    traced: Callable[[Handler], Handler] | None = None


def make_handler(
    registry: Registry,
    workers: Workers,
    reactor: Any,
    options: SiteOptions,
    gateway: Gateway | None = None,
    pages: Pages | None = None,
) -> Handler:
    """All routes of the registry, without what is before them at a port that others reach."""
    routes = all_routes(registry, workers, reactor, options, gateway, pages)
    handler: Handler = Dispatcher(routes, answer_failure, None if pages is None else pages.unmatched)
    return handler if options.read_only is None else _only_reading(handler, options.read_only)


def all_routes(
    registry: Registry,
    workers: Workers,
    reactor: Any,
    options: SiteOptions,
    gateway: Gateway | None,
    pages: Pages | None,
) -> Routes:
    """Every route that there is with these options."""
    clock, access = MonotonicClock().seconds, options.access
    routes = make_routes(registry, workers, reactor, clock, gateway, options.proxies, access, pages)
    if options.metrics is not None:
        MetricsRoute(options.metrics).add_to(routes)
    if options.streams is not None:
        EventRoutes(registry.events, options.streams, access.gate, options.proxies, reactor).add_to(routes)
    return routes


def make_site(
    registry: Registry, workers: Workers, reactor: Any, options: SiteOptions, gateway: Gateway | None
) -> HttpServer:
    """The registry's server."""
    pages = make_pages(registry, workers, options)
    handler = make_handler(registry, workers, reactor, options, gateway, pages)
    handler = for_browsers(handler, options.browsers)
    if pages is not None:
        handler = pages.for_known_names(handler, options.browsers)
    if options.request_rate is not None:
        handler = rate_limited(handler, RequestRate(options.request_rate, MonotonicClock().seconds), options.proxies)
    return HttpServer(
        handler if options.traced is None else options.traced(handler),
        reactor,
        options.limits,
        RefusalFormat("application/json", _refusal),
        headers=_HEADERS,
        observers=options.observers,
        bounds=options.bounds,
    )


def make_pages(registry: Registry, workers: Workers, options: SiteOptions) -> Pages | None:
    """The pages, where there are any."""
    if options.pages is None:
        return None
    return Pages(registry, workers, options.access.visitors, options.proxies, options.pages, options.read_only)


def _refusal(status: HTTPStatus, message: str) -> bytes:
    code = "UNAVAILABLE" if status is HTTPStatus.SERVICE_UNAVAILABLE else "UNSUPPORTED"
    return error_document(code, message)


def _only_reading(handler: Handler, why: str) -> Handler:
    def handle(request: Request) -> None:
        # To ask for a token or a session changes nothing.
        if request.method in _READING or request.path in _CHANGES_NOTHING:
            handler(request)
            return
        request.set_header("Allow", "GET, HEAD")
        request.end(answer_error(request, 405, "UNSUPPORTED", f"{why}: push to the one that publishes it") or b"")

    return handle
