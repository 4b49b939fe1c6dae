"""The registry's face on HTTP: its application behind a server."""

from typing import Any

from ipfsreg.flow.clock import MonotonicClock
from ipfsreg.flow.workers import Workers
from ipfsreg.registry.registry import Registry

from .app import Gateway, make_app
from .errors import answer_error, answer_failure, error_document
from .http.access_log import AccessLog
from .http.limits import Limits
from .http.request import Request
from .http.server import Handler, HttpServer
from .routes import Dispatcher

_HEADERS = {"Docker-Distribution-API-Version": "registry/2.0", "X-Content-Type-Options": "nosniff"}
_READING = frozenset({b"GET", b"HEAD"})


def make_site(
    registry: Registry,
    workers: Workers,
    reactor: Any,
    limits: Limits,
    *,
    access_log: AccessLog | None = None,
    gateway: Gateway | None = None,
    read_only: str | None = None,
) -> HttpServer:
    """The registry's server. ``read_only`` says why nothing can be changed, where that is so."""
    app = make_app(registry, workers, reactor, MonotonicClock().seconds, gateway)
    handler: Handler = Dispatcher(app, answer_failure)
    return HttpServer(
        handler if read_only is None else _only_reading(handler, read_only),
        reactor,
        limits,
        refusal=lambda message: error_document("UNSUPPORTED", message),
        refusal_type="application/json",
        headers=_HEADERS,
        access_log=access_log,
    )


def _only_reading(handler: Handler, why: str) -> Handler:
    def handle(request: Request) -> None:
        if request.method in _READING:
            handler(request)
            return
        request.setHeader(b"Allow", b"GET, HEAD")
        request.end(answer_error(request, 405, "UNSUPPORTED", f"{why}: push to the one that publishes it") or b"")

    return handle
