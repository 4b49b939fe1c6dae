"""The registry's face on HTTP: all routes together, as a Twisted site."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from klein import Klein
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import Site

from ipfsreg.flow.workers import Workers
from ipfsreg.registry.content.cid_index import Allowed
from ipfsreg.registry.registry import Registry

from .app import RegistryApp
from .channel import RegistryChannel
from .distribution.blob_answers import BlobAnswers
from .distribution.blobs import BlobRoutes
from .distribution.images_by_cid import ByCidRoutes
from .distribution.listings import ListingRoutes
from .distribution.manifests import ManifestRoutes
from .distribution.uploads import UploadRoutes
from .errors import add_error_handlers, answer_error
from .gateway.gateway import GatewayRoutes
from .gateway.providers import ProviderRoutes
from .request import StreamingRequest
from .sending import Sending


@dataclass(frozen=True, slots=True)
class Gateway:
    """What may be had by CID, and what routing records say of this daemon; see `GatewayRoutes` and `ProviderRoutes`."""

    allowed: Allowed
    address: str | None
    peer_id: Callable[[], str]


def make_app(registry: Registry, sending: Sending, workers: Workers, gateway: Gateway | None) -> Klein:
    """The Klein application with every route of the registry."""
    app = RegistryApp()
    ListingRoutes(registry.catalog, registry.tags, registry.referrers).add_to(app)
    answers = BlobAnswers(registry.dags, sending)
    if registry.images_by_cid is not None:
        ByCidRoutes(registry.images_by_cid, registry.dags, answers).add_to(app)
    BlobRoutes(registry.blobs, answers).add_to(app)
    UploadRoutes(registry.uploads, registry.blobs, registry.dags).add_to(app)
    ManifestRoutes(registry.manifests, registry.dags, registry.limits.max_manifest_size).add_to(app)
    if gateway is not None:
        GatewayRoutes(registry.blocks, sending, workers, gateway.allowed).add_to(app)
        ProviderRoutes(registry.blocks, gateway.allowed, gateway.address, gateway.peer_id).add_to(app)
    add_error_handlers(app)
    return app


class _Front(Resource):
    """Answers what Klein, which takes methods and paths for text, would stumble over."""

    isLeaf = True

    def __init__(self, inner: Resource, read_only: str | None) -> None:
        super().__init__()
        self._inner = inner
        self._read_only = read_only

    def render(self, request: StreamingRequest) -> bytes | int:
        """See `IResource`."""
        if not re.fullmatch(rb"[A-Z]+", request.method):
            return answer_error(request, 400, "UNSUPPORTED", "not a method")
        hosts = request.requestHeaders.getRawHeaders(b"host", [])
        if len(hosts) > 1 or (not hosts and request.clientproto == b"HTTP/1.1"):
            return answer_error(request, 400, "UNSUPPORTED", "a request has one Host header (RFC 9112, 3.2)")
        try:
            b"/".join(request.postpath or []).decode()
        except UnicodeDecodeError:
            return answer_error(request, 400, "NAME_INVALID", "the path is not UTF-8")
        if self._read_only is not None and request.method not in {b"GET", b"HEAD"}:
            request.setHeader(b"Allow", b"GET, HEAD")
            return answer_error(request, 405, "UNSUPPORTED", f"{self._read_only}: push to the one that publishes it")
        return cast(int, self._inner.render(request))


class StreamingSite(Site):
    """A site that knows its open connections, so that they can be brought to an end."""

    protocol = RegistryChannel  # type: ignore[assignment]  # declared as Twisted's own wrapper of channels
    _log = Logger()
    displayTracebacks = False

    def __init__(self, resource: Resource, reactor: Any, *, idle: float, stall: float, access_log: bool) -> None:
        """``idle`` and ``stall`` are in seconds: how long a silent or not reading client is kept."""
        super().__init__(resource, requestFactory=StreamingRequest, timeout=idle, reactor=reactor)
        self.idle = idle
        self.stall = stall
        self.connections: set[RegistryChannel] = set()
        self._access_log = access_log
        self._all_gone: Deferred[None] | None = None

    @property
    def busy(self) -> int:
        """How many connections are in the middle of a request."""
        return sum(1 for channel in self.connections if channel.requests)

    @property
    def sending(self) -> bool:
        """Whether something may still be on its way to a client.

        A plain connection that was told to close is gone when the kernel has taken over all of it. One with TLS waits
        for its client to say goodbye, which is no reason to wait.
        """
        return any(channel.requests or not channel.isSecure() for channel in self.connections)

    def acceptableProtocols(self) -> list[bytes]:
        """What is offered to a TLS client."""
        return [b"http/1.1"]

    def lost(self, channel: RegistryChannel) -> None:
        """A connection's side: it is no more."""
        self.connections.discard(channel)
        if self._all_gone is not None and not self.connections:
            self._all_gone.callback(None)
            self._all_gone = None

    def close_idle_connections(self) -> None:
        """Close each connection that is not in the middle of a request. What it was sent last still arrives."""
        for channel in list(self.connections):
            if not channel.requests:
                channel.wire.loseConnection()

    def close_connections(self) -> "Deferred[None]":
        """Close every connection, whatever it is at; fires when all are closed."""
        if not self.connections:
            return succeed(None)
        self._all_gone = Deferred()
        gone = self._all_gone
        for channel in list(self.connections):
            channel.wire.abortConnection()
        return gone

    def log(self, request: Request) -> None:
        """One line for a request that was answered, if the configuration wants it."""
        if self._access_log:
            self._log.info(
                "{peer} {method} {uri} {status} {length}",
                peer=getattr(request.getClientAddress(), "host", "-"),
                method=request.method.decode("ascii", "replace"),
                uri=request.uri.decode("ascii", "backslashreplace"),
                status=request.code,
                length=request.sentLength,
            )


class RegistrySite(StreamingSite):
    """The registry's own site."""

    def __init__(
        self,
        registry: Registry,
        workers: Workers,
        reactor: Any,
        *,
        idle: float,
        stall: float,
        access_log: bool,
        gateway: Gateway | None = None,
        read_only: str | None = None,
    ) -> None:
        """See `StreamingSite`. ``read_only`` says why nothing can be changed, where that is so."""
        app = make_app(registry, Sending(reactor, workers, stall), workers, gateway)
        super().__init__(_Front(app.resource(), read_only), reactor, idle=idle, stall=stall, access_log=access_log)
