"""All routes together, and what the configuration says of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from ipfsreg.flow.clock import MonotonicClock
from ipfsreg.flow.workers import Workers
from ipfsreg.registry.content.cid_index import Allowed
from ipfsreg.registry.registry import Registry

from .browsers import BrowserRules
from .distribution.answers import BlobAnswers
from .distribution.blobs import BlobRoutes
from .distribution.converters import CONVERTERS
from .distribution.images_by_cid import ByCidRoutes
from .distribution.listings import ListingRoutes
from .distribution.manifests import ManifestRoutes
from .distribution.uploads import UploadRoutes
from .event_stream import EventRoutes, EventStreams
from .gate import Gate, OpenGate
from .gateway.gateway import GatewayRoutes
from .gateway.providers import AdvertisedAddress, ProviderRoutes
from .http.budget import Budget
from .http.connection_limits import ConnectionBounds
from .http.forwarded import TrustedProxies
from .http.limits import HttpLimits
from .http.request import Request
from .http.server import Handler
from .pages.pages import Pages, PagesOptions
from .probes import MetricsText, ProbeRoutes
from .routes import Routes
from .teller import Teller
from .visitors import OpenVisitors, Visitors

_LIMITS = HttpLimits(idle=60.0, stall=60.0)
_MANIFESTS_AT_ONCE = 4 * 1024**2  # bytes of manifests being pushed; taken apart they need ten times that


@dataclass(frozen=True, slots=True)
class Gateway:
    """What may be had by CID, and what routing records say of this daemon; see `GatewayRoutes` and `ProviderRoutes`."""

    allowed: Allowed
    address: str | None
    peer_id: Callable[[], str]
    knows_host: Callable[[Request], bool]


class AccessFace(Protocol):
    """Access control as it is said over HTTP."""

    @property
    def gate(self) -> Gate:
        """Whom every route asks, but for pages."""

    @property
    def visitors(self) -> Visitors:
        """Whom pages ask."""

    def add_to(self, routes: Routes, memory: Budget) -> None:
        """Add the routes by which one says who one is."""


class NoAccessControl:
    """Everybody may do everything."""

    gate = OpenGate()
    visitors = OpenVisitors()

    def add_to(self, routes: Routes, memory: Budget) -> None:
        """See `AccessFace`."""


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


def make_routes(
    registry: Registry,
    workers: Workers,
    reactor: Any,
    options: SiteOptions,
    gateway: Gateway | None,
    pages: Pages | None,
) -> Routes:
    """Every route that there is with these options."""
    clock, access, clients = MonotonicClock().seconds, options.access, options.proxies
    gate, teller = access.gate, Teller(registry.events, clients)
    routes = Routes(gate, CONVERTERS)
    ProbeRoutes(registry.readiness, options.metrics, None if pages is None else pages.home).add_to(routes)
    ListingRoutes(registry.catalog, registry.tags, registry.referrers, gate, reactor, clock).add_to(routes)
    answers = BlobAnswers(registry.dags, workers)
    if registry.images_by_cid is not None:
        ByCidRoutes(registry.images_by_cid, registry.dags, answers, gate, teller).add_to(routes)
    BlobRoutes(registry.blobs, answers, teller).add_to(routes)
    UploadRoutes(registry.uploads, registry.blobs, registry.dags, clients, gate, teller).add_to(routes)
    longest, tags = registry.limits.max_manifest_size, registry.limits.max_tags_at_once
    memory = Budget(max(_MANIFESTS_AT_ONCE, longest), reactor, clock)
    ManifestRoutes(registry.manifests, registry.dags, (longest, tags), memory, teller).add_to(routes)
    access.add_to(routes, memory)
    if pages is not None:
        pages.add_to(routes, memory)
    if options.streams is not None:
        EventRoutes(registry.events, options.streams, gate, clients, reactor).add_to(routes)
    if gateway is not None:
        GatewayRoutes(registry.blocks, workers, gateway.allowed, gate).add_to(routes)
        where = AdvertisedAddress(gateway.address, gateway.knows_host)
        ProviderRoutes(registry.blocks, gateway.allowed, where, gateway.peer_id, gate).add_to(routes)
    return routes
