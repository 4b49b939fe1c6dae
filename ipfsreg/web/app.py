"""All routes together, as a Klein application."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from klein import Klein

from ipfsreg.flow.workers import Workers
from ipfsreg.registry.content.cid_index import Allowed
from ipfsreg.registry.registry import Registry

from .client import Clients
from .distribution.blob_answers import BlobAnswers
from .distribution.blobs import BlobRoutes
from .distribution.converters import add_converters
from .distribution.images_by_cid import ByCidRoutes
from .distribution.listings import ListingRoutes
from .distribution.manifests import ManifestRoutes
from .distribution.uploads import UploadRoutes
from .gateway.gateway import GatewayRoutes
from .gateway.providers import Address, ProviderRoutes
from .http.budget import Budget
from .http.request import Request
from .probes import ProbeRoutes

_MANIFESTS_AT_ONCE = 4 * 1024**2  # bytes of manifests being pushed; taken apart they need ten times that


@dataclass(frozen=True, slots=True)
class Gateway:
    """What may be had by CID, and what routing records say of this daemon; see `GatewayRoutes` and `ProviderRoutes`."""

    allowed: Allowed
    address: str | None
    peer_id: Callable[[], str]
    knows_host: Callable[[Request], bool]


def make_app(
    registry: Registry,
    workers: Workers,
    reactor: Any,
    clock: Callable[[], float],
    gateway: Gateway | None,
    clients: Clients,
) -> Klein:
    """The application with every route of the registry."""
    app = Klein()
    app.url_map.merge_slashes = False
    add_converters(app.url_map)
    ProbeRoutes(registry.readiness).add_to(app)
    ListingRoutes(registry.catalog, registry.tags, registry.referrers).add_to(app)
    answers = BlobAnswers(registry.dags, workers)
    if registry.images_by_cid is not None:
        ByCidRoutes(registry.images_by_cid, registry.dags, answers).add_to(app)
    BlobRoutes(registry.blobs, answers).add_to(app)
    UploadRoutes(registry.uploads, registry.blobs, registry.dags, clients).add_to(app)
    longest = registry.limits.max_manifest_size
    memory = Budget(max(_MANIFESTS_AT_ONCE, longest), reactor, clock)
    ManifestRoutes(registry.manifests, registry.dags, longest, memory).add_to(app)
    if gateway is not None:
        GatewayRoutes(registry.blocks, workers, gateway.allowed).add_to(app)
        where = Address(gateway.address, gateway.knows_host)
        ProviderRoutes(registry.blocks, gateway.allowed, where, gateway.peer_id).add_to(app)
    return app
