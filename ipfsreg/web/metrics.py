"""``/metrics``, for who may administer the registry."""

from collections.abc import Awaitable, Callable

from ipfsreg.access.identity import Action

from .http.request import Request
from .replies import reply
from .routes import Routes

MetricsText = Callable[[], Awaitable[bytes]]
"""All metrics, in the text format of Prometheus."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class MetricsRoute:
    """The route."""

    def __init__(self, text: MetricsText) -> None:
        self._text = text

    def add_to(self, routes: Routes) -> None:
        """Add it."""
        routes.add("/metrics", ["GET", "HEAD"], "metrics", self.metrics, Action.ADMIN)

    async def metrics(self, request: Request) -> bytes:
        """All of them."""
        return reply(request, 200, {"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"}, await self._text())
