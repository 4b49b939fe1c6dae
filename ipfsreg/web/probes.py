"""``/``, ``/livez`` and ``/readyz``: for people and programs that want to know whether anybody is there."""

from ipfsreg.registry.readiness import Readiness

from .gate import Entry
from .http.request import Request
from .pages.answers import wants_page
from .replies import reply
from .routes import RouteHandler, Routes

_PLAIN = {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store"}


class ProbeRoutes:
    """The names of the probes are Kubernetes's. ``/v2/`` says only that this is a registry, as clients want it.

    ``home`` answers browsers at ``/``, where there are pages.
    """

    def __init__(self, readiness: Readiness, home: RouteHandler | None = None) -> None:
        self._readiness = readiness
        self._home = home

    def add_to(self, routes: Routes) -> None:
        """Add the routes."""
        routes.add("/", ["GET", "HEAD"], "root", self.root, Entry.EVERYBODY)
        routes.add("/livez", ["GET", "HEAD"], "livez", self.live, Entry.EVERYBODY)
        routes.add("/readyz", ["GET", "HEAD"], "readyz", self.ready, Entry.EVERYBODY)

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
