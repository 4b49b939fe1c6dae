"""``/``, ``/livez``, ``/readyz`` and ``/metrics``: for people and programs that want to know how the daemon is."""

from collections.abc import Awaitable, Callable

from ipfsreg.access.identity import Action
from ipfsreg.registry.readiness import Readiness

from .gate import Entry
from .http.request import Request
from .pages.answers import wants_page
from .replies import reply
from .routes import RouteHandler, Routes

MetricsText = Callable[[], Awaitable[bytes]]
"""All metrics, in the text format of Prometheus."""

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_PLAIN = {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store"}


class ProbeRoutes:
    """The names of the probes are Kubernetes's. ``/v2/`` says only that this is a registry, as clients want it.

    ``home`` answers browsers at ``/``, where there are pages. Without ``metrics`` there are none.
    """

    def __init__(self, readiness: Readiness, metrics: MetricsText | None, home: RouteHandler | None) -> None:
        self._readiness = readiness
        self._metrics = metrics
        self._home = home

    def add_to(self, routes: Routes) -> None:
        """Add the routes."""
        routes.add("/", ["GET", "HEAD"], "root", self.root, Entry.EVERYBODY)
        routes.add("/livez", ["GET", "HEAD"], "livez", self.live, Entry.EVERYBODY)
        routes.add("/readyz", ["GET", "HEAD"], "readyz", self.ready, Entry.EVERYBODY)
        if self._metrics is not None:
            routes.add("/metrics", ["GET", "HEAD"], "metrics", self.metrics, Action.ADMIN)

    async def root(self, request: Request) -> bytes | None:
        """That there is a registry: to browsers by a page, and to programs in a line."""
        if self._home is not None and wants_page(request):
            return await self._home(request)
        return reply(request, 200, _PLAIN, b"This is a container registry, ipfsreg. Its API begins at /v2/.\n")

    async def live(self, request: Request) -> bytes:
        """Whether the daemon runs. If this is not answered, a new start may help."""
        return reply(request, 200, _PLAIN, b"ok\n")

    async def ready(self, request: Request) -> bytes:
        """Whether the storage answers too; 503 where it does not, and no new start would help."""
        await self._readiness.check()
        return reply(request, 200, _PLAIN, b"ok\n")

    async def metrics(self, request: Request) -> bytes:
        """All metrics, for who may administer the registry."""
        assert self._metrics is not None
        headers = {"Content-Type": METRICS_TYPE, "Cache-Control": "no-store"}
        return reply(request, 200, headers, await self._metrics())
