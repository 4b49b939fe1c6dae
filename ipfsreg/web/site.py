"""The registry's face on HTTP: its application behind a server."""

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from ipfsreg.flow.clock import MonotonicClock
from ipfsreg.flow.workers import Workers
from ipfsreg.registry.registry import Registry

from .app import AccessFace, Gateway, NoAccessControl, make_routes
from .browsers import BrowserRules, for_browsers
from .errors import answer_error, answer_failure, error_document
from .gate import TOKEN_PATH
from .http.access_log import AccessLog
from .http.connection_limits import ConnectionBounds
from .http.forwarded import TrustedProxies
from .http.limits import HttpLimits
from .http.request import Request
from .http.server import Handler, HttpServer, RefusalFormat
from .request_rate import RequestRate, rate_limited
from .routes import Dispatcher

_HEADERS = {"Docker-Distribution-API-Version": "registry/2.0", "X-Content-Type-Options": "nosniff"}
_READING = frozenset({b"GET", b"HEAD"})
_NO_PROXIES = TrustedProxies()
_NO_ACCESS_CONTROL = NoAccessControl()


@dataclass(frozen=True, slots=True)
class SiteOptions:
    """How clients are treated.

    ``read_only`` says why nothing can be changed, where that is so. ``request_rate`` is in requests a second for each
    client; None is any.
    """

    limits: HttpLimits
    access_log: bool = False
    browsers: BrowserRules = field(default_factory=BrowserRules)
    proxies: TrustedProxies = field(default_factory=TrustedProxies)
    read_only: str | None = None
    access: AccessFace = field(default_factory=NoAccessControl)
    bounds: ConnectionBounds = field(default_factory=ConnectionBounds)
    request_rate: float | None = None


def make_handler(
    registry: Registry,
    workers: Workers,
    reactor: Any,
    read_only: str | None,
    gateway: Gateway | None = None,
    proxies: TrustedProxies = _NO_PROXIES,
    access: AccessFace = _NO_ACCESS_CONTROL,
) -> Handler:
    """All routes of the registry; see `SiteOptions`. Without ``access`` everybody may do everything."""
    routes = make_routes(registry, workers, reactor, MonotonicClock().seconds, gateway, proxies, access)
    handler: Handler = Dispatcher(routes, answer_failure)
    return handler if read_only is None else _only_reading(handler, read_only)


def make_site(
    registry: Registry, workers: Workers, reactor: Any, options: SiteOptions, gateway: Gateway | None
) -> HttpServer:
    """The registry's server."""
    handler = make_handler(registry, workers, reactor, options.read_only, gateway, options.proxies, options.access)
    handler = for_browsers(handler, options.browsers)
    if options.request_rate is not None:
        handler = rate_limited(handler, RequestRate(options.request_rate, MonotonicClock().seconds), options.proxies)
    return HttpServer(
        handler,
        reactor,
        options.limits,
        RefusalFormat("application/json", _refusal),
        headers=_HEADERS,
        access_log=AccessLog(options.proxies) if options.access_log else None,
        bounds=options.bounds,
    )


def _refusal(status: HTTPStatus, message: str) -> bytes:
    code = "UNAVAILABLE" if status is HTTPStatus.SERVICE_UNAVAILABLE else "UNSUPPORTED"
    return error_document(code, message)


def _only_reading(handler: Handler, why: str) -> Handler:
    def handle(request: Request) -> None:
        # To ask for a token changes nothing.
        if request.method in _READING or request.path == TOKEN_PATH.encode():
            handler(request)
            return
        request.set_header("Allow", "GET, HEAD")
        request.end(answer_error(request, 405, "UNSUPPORTED", f"{why}: push to the one that publishes it") or b"")

    return handle
