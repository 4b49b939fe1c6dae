"""The registry's face on HTTP: its application behind a server."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Protocol

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
_NO_PROXIES = TrustedProxies()
_NO_ACCESS_CONTROL = NoAccessControl()
_CHANGES_NOTHING = frozenset(path.encode() for path in (TOKEN_PATH, SIGN_IN, SIGN_OUT))


@dataclass(frozen=True, slots=True)
class SiteOptions:
    """How clients are treated.

    ``read_only`` says why nothing can be changed, where that is so. ``request_rate`` is in requests a second for each
    client; None is any. ``pages`` are there for browsers, unless that is None. ``observers`` are called with each
    request that has its whole answer.
    """

    limits: HttpLimits
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


class AddsRoutes(Protocol):
    """What has routes of its own."""

    def add_to(self, routes: Routes) -> None:
        """Add the routes."""


def make_handler(
    registry: Registry,
    workers: Workers,
    reactor: Any,
    read_only: str | None,
    gateway: Gateway | None = None,
    proxies: TrustedProxies = _NO_PROXIES,
    access: AccessFace = _NO_ACCESS_CONTROL,
    pages: Pages | None = None,
    more: Sequence[AddsRoutes] = (),
) -> Handler:
    """All routes of the registry; see `SiteOptions`. Without ``access`` everybody may do everything."""
    routes = make_routes(registry, workers, reactor, MonotonicClock().seconds, gateway, proxies, access, pages)
    for each in more:
        each.add_to(routes)
    handler: Handler = Dispatcher(routes, answer_failure, None if pages is None else pages.unmatched)
    return handler if read_only is None else _only_reading(handler, read_only)


def make_site(
    registry: Registry, workers: Workers, reactor: Any, options: SiteOptions, gateway: Gateway | None
) -> HttpServer:
    """The registry's server."""
    pages = _pages(registry, workers, options)
    more: list[AddsRoutes] = []
    if options.metrics is not None:
        more.append(MetricsRoute(options.metrics))
    if options.streams is not None:
        more.append(EventRoutes(registry.events, options.streams, options.access.gate, options.proxies, reactor))
    handler = make_handler(
        registry, workers, reactor, options.read_only, gateway, options.proxies, options.access, pages, more
    )
    handler = for_browsers(handler, options.browsers)
    if pages is not None:
        handler = pages.for_known_names(handler, options.browsers)
    if options.request_rate is not None:
        handler = rate_limited(handler, RequestRate(options.request_rate, MonotonicClock().seconds), options.proxies)
    return HttpServer(
        handler,
        reactor,
        options.limits,
        RefusalFormat("application/json", _refusal),
        headers=_HEADERS,
        observers=options.observers,
        bounds=options.bounds,
    )


def _pages(registry: Registry, workers: Workers, options: SiteOptions) -> Pages | None:
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
