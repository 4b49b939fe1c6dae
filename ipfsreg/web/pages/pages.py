"""All pages together."""

from collections.abc import Callable
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred

from ipfsreg.flow.workers import Workers
from ipfsreg.registry.registry import Registry
from ipfsreg.web.browsers import BrowserRules
from ipfsreg.web.errors import HttpError, refuse
from ipfsreg.web.gate import Entry
from ipfsreg.web.http.budget import Budget
from ipfsreg.web.http.forwarded import TrustedProxies
from ipfsreg.web.http.request import Request
from ipfsreg.web.http.server import Handler
from ipfsreg.web.replies import IMMUTABLE, parameter, reply
from ipfsreg.web.routes import RouteHandler, Routes, Unmatched
from ipfsreg.web.teller import Teller
from ipfsreg.web.visitors import Visitors

from .answers import Answers, wants_page
from .contents import Contents
from .deleting import DeletePages
from .images import ImagePages
from .paths import ASSETS
from .rendering import Rendering
from .repositories import RepositoryPages
from .signing_in import SignInPages
from .status import StatusOptions, StatusPage

_UNKNOWN_NAME = (
    "Browsers are answered under names that the registry knows, since a stranger's page could make any other name lead "
    "here. If this name is yours, add it to [registry] allowed_hosts in the configuration and restart."
)


@dataclass(frozen=True, slots=True)
class PagesOptions:
    """What pages show beside what the registry has.

    ``shows`` says whether a repository's content is to be had by CID. ``url`` is the registry's own where a proxy hides
    it. ``may_write`` says whether anything can be changed where the storage does not take all from this daemon.
    """

    shows: Callable[[str], bool]
    url: str | None = None
    status: StatusOptions = field(default_factory=StatusOptions)
    may_write: Callable[[], bool] = lambda: True


class Pages:
    """Pages for who may see them."""

    def __init__(
        self,
        registry: Registry,
        workers: Workers,
        visitors: Visitors,
        clients: TrustedProxies,
        options: PagesOptions,
        read_only: str | None,
    ) -> None:
        self._rendering = Rendering(workers, registry.now)
        self._answers = Answers(self._rendering, visitors, clients, read_only, options.url, options.may_write)
        self._registry = registry
        self._teller = Teller(registry.events, clients)
        contents = Contents(registry, workers)
        self._repositories = RepositoryPages(registry, workers, self._answers, contents)
        self._images = ImagePages(registry, self._answers, contents, options.shows)
        self._status = StatusPage(registry, workers, self._answers, options.status)
        self.home: RouteHandler = self._answers.guarded(self._repositories.home, Entry.ANYBODY)
        """Answers ``/`` where a page is wanted."""
        self.unmatched: Unmatched = self._answers.failed

    def add_to(self, routes: Routes, memory: Budget) -> None:
        """Add all routes but ``/``; ``memory`` is for forms."""
        self._repositories.add_to(routes)
        self._images.add_to(routes)
        DeletePages(self._registry.manifests, self._answers, memory, self._teller).add_to(routes)
        SignInPages(self._answers, memory).add_to(routes)
        self._status.add_to(routes)
        routes.add(f"{ASSETS}/<file>", ["GET", "HEAD"], "page-asset", self.asset, Entry.EVERYBODY)

    async def asset(self, request: Request, file: str) -> bytes:
        """A file that pages need."""
        asset = (await self._rendering.loaded()).assets.get(file)
        if asset is None:
            raise HttpError(404, "UNSUPPORTED", "no such file")
        caching = IMMUTABLE if parameter(request, "v") == asset.version else "no-cache"
        headers = {"Content-Type": asset.media_type, "Cache-Control": caching, "ETag": f'"{asset.version}"'}
        return reply(request, 200, headers, asset.content)

    def for_known_names(self, handler: Handler, rules: BrowserRules) -> Handler:
        """A handler that says so where a browser asks for a page under a name that `BrowserRules` will refuse."""

        def handle(request: Request) -> None:
            if rules.is_browser(request) and not rules.is_safe(request) and wants_page(request):
                self.refuse(request, _UNKNOWN_NAME)
            else:
                handler(request)

        return handle

    def refuse(self, request: Request, why: str) -> None:
        """Answer 403: with a page where one is wanted."""
        if not wants_page(request):
            refuse(request, 403, "DENIED", why)
            return
        answer = Deferred.fromCoroutine(self._answers.refused(request, why))
        answer.addCallback(lambda content: request.end(content or b""))
