"""``/v2/``, ``/v2/_catalog``, ``/v2/<name>/tags/list`` and ``/v2/<name>/referrers/<digest>``."""

import json
from collections.abc import Callable, Sequence
from urllib.parse import quote, urlencode

from twisted.internet.interfaces import IReactorTime

from ipfsreg.access.identity import Action
from ipfsreg.flow.throttle import Turns
from ipfsreg.registry.digest import Digest, parse_digest
from ipfsreg.registry.errors import PaginationInvalid
from ipfsreg.registry.manifest import OCI_INDEX
from ipfsreg.registry.names import Repository
from ipfsreg.registry.repository.catalog import Catalog
from ipfsreg.registry.repository.referrers import Referrers
from ipfsreg.registry.repository.tags import Tags
from ipfsreg.web.gate import Entry, Gate
from ipfsreg.web.http.request import Request
from ipfsreg.web.replies import parameter, reply
from ipfsreg.web.routes import Routes

from .converters import path

CATALOG_PAGE = 1000
"""How many repositories one answer lists where the client does not say."""

STEP_SECONDS = 0.002
"""For how long the rules are asked about names before others have their turn."""


class ListingRoutes:
    """What there is (distribution-spec, "Content Discovery"; Docker's ``_catalog``)."""

    def __init__(
        self,
        catalog: Catalog,
        tags: Tags,
        referrers: Referrers,
        gate: Gate,
        reactor: IReactorTime,
        seconds: Callable[[], float],
    ) -> None:
        """``seconds`` is a clock that nobody can set."""
        self._turns = Turns(reactor)
        self._seconds = seconds
        self._catalog = catalog
        self._tags = tags
        self._referrers = referrers
        self._gate = gate

    def add_to(self, routes: Routes) -> None:
        """Add the routes."""
        routes.add("/v2/", ["GET", "HEAD"], "base", self.base, Entry.KNOWN)
        routes.add("/v2/_catalog", ["GET"], "catalog", self.catalog, Action.CATALOG)
        routes.add("/v2/<repository:repository>/tags/list", ["GET"], "tags", self.tags, Action.PULL)
        referrers = "/v2/<repository:repository>/referrers/<digest:subject>"
        routes.add(referrers, ["GET"], "referrers", self.referrers, Action.PULL)

    async def base(self, request: Request) -> bytes:
        """Whether this is a registry."""
        return reply(request, 200, {"Content-Type": "application/json"}, b"{}")

    async def catalog(self, request: Request) -> bytes:
        """The repositories, in lexical order."""
        number = _number(request)
        names = await self._catalog.after(parameter(request, "last") or "")
        most = CATALOG_PAGE if number is None else number
        if not self._gate.is_open:
            names = await self._visible(request, names, most + 1)
        page = names[:most]
        _link_to_next(request, path("_catalog"), names, page)
        return _json(request, {"repositories": page})

    async def _visible(self, request: Request, names: Sequence[Repository], most: int) -> list[Repository]:
        """The first ones that the asker may see. One more than fits says that there is a next page.

        Where the rules hide nearly everything, that is a walk through all names, in turns with everything else.
        """
        is_visible = self._gate.lists(request)
        found: list[Repository] = []
        until = self._seconds() + STEP_SECONDS
        for name in names:
            if is_visible(name):
                found.append(name)
                if len(found) == most:
                    break
            if self._seconds() >= until:
                await self._turns.next()
                if request.gone:
                    break
                until = self._seconds() + STEP_SECONDS
        return found

    async def tags(self, request: Request, repository: Repository) -> bytes:
        """The tags of a repository, in lexical order."""
        number = _number(request)
        last = parameter(request, "last")
        # One more than fits says that there is a next page.
        tags = await self._tags.in_order(repository, last, None if number is None else number + 1)
        page = tags if number is None else tags[:number]
        _link_to_next(request, path(repository, "tags/list"), tags, page)
        return _json(request, {"name": repository, "tags": page})

    async def referrers(self, request: Request, repository: Repository, subject: Digest) -> bytes:
        """The manifests that refer to a subject, as an image index."""
        wanted = parameter(request, "artifactType") or None
        last = parameter(request, "last")
        descriptors, next_one = await self._referrers.list(
            repository, subject, wanted, None if last is None else parse_digest(last)
        )
        if wanted:
            request.set_header("OCI-Filters-Applied", "artifactType")
        if next_one is not None:
            query = {"last": str(next_one)} | ({"artifactType": wanted} if wanted else {})
            where = path(repository, "referrers", subject)
            request.set_header("Link", f'<{where}?{urlencode(query)}>; rel="next"')
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": descriptors}
        return _json(request, index, OCI_INDEX)


def _number(request: Request) -> int | None:
    text = parameter(request, "n")
    if text is None:
        return None
    if not text.isascii() or not text.isdigit():
        raise PaginationInvalid("n is a number of results", {"n": text[:32]})
    return int(text[:9])


def _link_to_next(request: Request, where: str, names: Sequence[str], page: Sequence[str]) -> None:
    if page and len(page) < len(names):
        link = f'<{where}?n={len(page)}&last={quote(page[-1], safe="")}>; rel="next"'
        request.set_header("Link", link)


def _json(request: Request, document: object, media_type: str = "application/json") -> bytes:
    content = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    return reply(request, 200, {"Content-Type": media_type}, content)
