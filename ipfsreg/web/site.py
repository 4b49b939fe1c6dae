"""The registry's face on HTTP: its application behind a server."""

from http import HTTPStatus
from typing import Any

from ipfsreg.flow.clock import MonotonicClock
from ipfsreg.flow.workers import Workers
from ipfsreg.registry.registry import Registry

from .app import Gateway, SiteOptions, make_routes
from .browsers import for_browsers
from .errors import answer_failure, error_document, refuse
from .gate import TOKEN_PATH
from .http.request import Request
from .http.server import AnswerFormat, Handler, HttpServer
from .pages.pages import Pages
from .pages.paths import SIGN_IN, SIGN_OUT
from .request_rate import RequestRate, rate_limited
from .routes import Dispatcher

_HEADERS = {"Docker-Distribution-API-Version": "registry/2.0", "X-Content-Type-Options": "nosniff"}
LOGGED_PARAMETERS = frozenset(
    (
        *("digest", "digest-algorithm", "mount", "from", "n", "last", "tag", "artifactType", "ns"),
        *("service", "scope", "format", "dag-scope", "entity-bytes"),
    )
)
"""The parameters of queries whose values may be in a log: no secret is ever in one of these."""

_CHANGES_NOTHING = frozenset(path.encode() for path in (TOKEN_PATH, SIGN_IN, SIGN_OUT))


def make_handler(
    registry: Registry,
    workers: Workers,
    reactor: Any,
    options: SiteOptions,
    gateway: Gateway | None = None,
    pages: Pages | None = None,
) -> Handler:
    """All routes of the registry, without what is before them at a port that others reach."""
    routes = make_routes(registry, workers, reactor, options, gateway, pages)
    handler: Handler = Dispatcher(routes, answer_failure, None if pages is None else pages.unmatched)
    return handler if options.read_only is None else _only_reading(handler, options.read_only)


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
        AnswerFormat("application/json", _refusal, _HEADERS),
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
        if request.only_reads or request.path in _CHANGES_NOTHING:
            handler(request)
            return
        request.set_header("Allow", "GET, HEAD")
        refuse(request, 405, "UNSUPPORTED", f"{why}: push to the one that publishes it")

    return handle
