"""``/v2/``, ``/v2/_catalog``, ``/v2/<name>/tags/list`` and ``/v2/<name>/referrers/<digest>``."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from urllib.parse import quote, urlencode

from twisted.internet.interfaces import IReactorTime

from ipfsreg.access.identity import Action
from ipfsreg.flow.streams import next_or_none
from ipfsreg.flow.throttle import Turns
from ipfsreg.registry.descriptor import encode_json
from ipfsreg.registry.digest import Digest, parse_digest
from ipfsreg.registry.errors import PaginationInvalid
from ipfsreg.registry.manifest import OCI_INDEX
from ipfsreg.registry.names import Repository, Tag
from ipfsreg.registry.repository.catalog import Catalog
from ipfsreg.registry.repository.referrers import Referrers
from ipfsreg.registry.repository.tags import PAGE as TAGS_AT_ONCE
from ipfsreg.registry.repository.tags import Tags
from ipfsreg.web.gate import Entry, Gate
from ipfsreg.web.http.request import Request
from ipfsreg.web.replies import parameter, reply, reply_json
from ipfsreg.web.routes import Routes
from ipfsreg.web.sending import send_pieces

from .converters import path

CATALOG_PAGE = 1000
"""How many repositories one answer lists where the client does not say."""

PAGE_MAX = 10_000
"""How many names one answer lists at the most, whatever number the client wants: it is told where to go on.

distribution-spec, "Listing Tags": there MAY be fewer than ``n`` where there is a ``Link``. Without ``n`` there are all.
"""

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
        most = CATALOG_PAGE if number is None else min(number, PAGE_MAX)
        last = parameter(request, "last") or ""
        # One more than fits says that there is a next page.
        if self._gate.is_open:
            names = await self._catalog.after(last, most + 1)
        else:
            names = await self._visible(request, last, most + 1)
        page = names[:most]
        _link_to_next(request, path("_catalog"), names, page)
        return reply_json(request, 200, {"repositories": page})

    async def _visible(self, request: Request, last: str, most: int) -> list[Repository]:
        """The first ones that the asker may see.

        Where the rules hide nearly everything, that is a walk through all names, in turns with everything else.
        """
        is_visible = self._gate.lists(request)
        found: list[Repository] = []
        until = self._seconds() + STEP_SECONDS
        while names := await self._catalog.after(last, CATALOG_PAGE):
            for name in names:
                if is_visible(name):
                    found.append(name)
                    if len(found) == most:
                        return found
                if self._seconds() >= until:
                    await self._turns.next()
                    if request.gone:
                        return found
                    until = self._seconds() + STEP_SECONDS
            last = names[-1]
        return found

    async def tags(self, request: Request, repository: Repository) -> bytes:
        """The tags of a repository, in lexical order."""
        number = _number(request)
        last = parameter(request, "last")
        if number is None:
            return await self._all_tags(request, repository, last)
        most = min(number, PAGE_MAX)
        tags = await self._tags.in_order(repository, last, most + 1)
        page = tags[:most]
        _link_to_next(request, path(repository, "tags/list"), tags, page)
        return reply_json(request, 200, {"name": repository, "tags": page})

    async def _all_tags(self, request: Request, repository: Repository, last: str | None) -> bytes:
        """An answer that is made while it is sent, for there may be a million."""
        async with aclosing(self._tags.pages(repository, last)) as pages:
            first = await next_or_none(pages) or []
            if len(first) < TAGS_AT_ONCE:
                return reply_json(request, 200, {"name": repository, "tags": first})
            request.prepare(200, {"Content-Type": "application/json"})
            await send_pieces(request, _list_of_tags(repository, first, pages))
        return b""

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
        return reply_json(request, 200, index, {"Content-Type": OCI_INDEX})


async def _list_of_tags(
    repository: Repository, first: Sequence[Tag], rest: AsyncIterator[Sequence[Tag]]
) -> AsyncGenerator[bytes, None]:
    """The same JSON as of a short list, in pieces."""
    end = b"]}"
    yield encode_json({"name": repository, "tags": first}).removesuffix(end)
    async for some in rest:
        yield b"," + encode_json(some)[1:-1]
    yield end


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
