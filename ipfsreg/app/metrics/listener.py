"""Metrics on endpoints of their own, where nothing else is to be had."""

from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipfsreg.app.listening import stop_listening
from ipfsreg.bucket.errors import SetupError
from ipfsreg.config.endpoints import server_endpoint
from ipfsreg.web.http.connection_limits import ConnectionBounds
from ipfsreg.web.http.limits import HttpLimits
from ipfsreg.web.http.request import Request
from ipfsreg.web.http.server import AnswerFormat, HttpServer
from ipfsreg.web.probes import METRICS_TYPE

_LIMITS = HttpLimits(idle=60.0, stall=30.0, body=30.0)
_BOUNDS = ConnectionBounds(64, 16)  # whoever holds all of one address keeps no scraper out


class MetricsListener:
    """A `Watcher` that answers ``GET /metrics`` with ``text``, and nothing else."""

    _log = Logger()

    def __init__(self, endpoints: Sequence[str], text: Callable[[], Awaitable[bytes]], reactor: Any) -> None:
        self.ports: list[IListeningPort] = []
        self._endpoints = endpoints
        self._text = text
        self._reactor = reactor
        form = AnswerFormat("text/plain", lambda status, message: f"{message}\n".encode())
        self._server = HttpServer(self._handle, reactor, _LIMITS, form, bounds=_BOUNDS)

    async def start(self) -> None:
        for endpoint in self._endpoints:
            try:
                self.ports.append(await server_endpoint(endpoint, self._reactor).listen(self._server))
            except CancelledError:
                raise
            except Exception as error:  # each kind of endpoint has its own
                why = error.socketError if isinstance(error, CannotListenError) else error
                raise SetupError(f"[metrics] listen: {endpoint}: {why}") from None
            self._log.info("Metrics: {where}.", where=_where(self.ports[-1]))

    async def stop(self) -> None:
        for port in self.ports:
            await stop_listening(port)
        await self._server.close_connections()

    def _handle(self, request: Request) -> None:
        if request.path != b"/metrics" or request.method not in {b"GET", b"HEAD"}:
            request.prepare(HTTPStatus.NOT_FOUND, {"Content-Type": "text/plain"})
            request.end(b"Metrics are at /metrics.\n")
            return
        Deferred.fromCoroutine(self._answer(request)).addErrback(self._failed, request)

    async def _answer(self, request: Request) -> None:
        text = await self._text()
        request.prepare(HTTPStatus.OK, {"Content-Type": METRICS_TYPE})
        request.end(text)

    def _failed(self, failure: Failure, request: Request) -> None:
        self._log.failure("Metrics could not be told", failure)
        request.prepare(HTTPStatus.INTERNAL_SERVER_ERROR, {})
        request.end()


def _where(port: IListeningPort) -> str:
    address = port.getHost()
    if not isinstance(address, (IPv4Address, IPv6Address)):
        return f"/metrics at {address}"
    return f"http://{f'[{address.host}]' if ':' in address.host else address.host}:{address.port}/metrics"
