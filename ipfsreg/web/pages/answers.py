"""Pages as answers to requests, errors too, and who may see them."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from werkzeug.exceptions import NotFound as RouteNotFound

from ipfsreg.access.identity import Action
from ipfsreg.bucket.errors import BucketError
from ipfsreg.web.errors import HttpError, answer_failure
from ipfsreg.web.gate import Entry, Needs
from ipfsreg.web.gateway.accept import preferred
from ipfsreg.web.http.forwarded import TrustedProxies
from ipfsreg.web.http.request import Request
from ipfsreg.web.replies import reply
from ipfsreg.web.routes import RouteHandler, Routes
from ipfsreg.web.visitors import Visitors

from .form_tokens import FormTokens
from .paths import HOME, SIGN_IN, is_page, sign_in_path
from .rendering import Rendering
from .text import clip

_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
"""Nothing from other hosts, nothing that stands in the page itself (https://www.w3.org/TR/CSP3/)."""

HEADERS: Mapping[str, object] = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Without a Referer a browser names no Origin with a form, and the form would be refused.
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
    "Vary": "Accept, Cookie",
}

_DOCUMENTS = ("application/json", "text/plain", "text/html")
"""What clients may like better than each other. Who takes anything is a program."""

_TITLES = {
    400: "That is not an address",
    403: "Not allowed",
    404: "Not found",
    405: "That cannot be done here",
    429: "Too many attempts",
    500: "The registry failed",
    502: "The storage refuses",
    503: "The storage does not answer",
    507: "The storage is full",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page stands: names and addresses from the top down to it."""

    name: str
    path: str


class Answers:
    """Makes pages out of templates for whom the gate admits.

    ``read_only`` says why nothing can be changed; None where it can. ``url`` is the registry's own where a proxy hides
    it.
    """

    _log = Logger()

    def __init__(
        self,
        rendering: Rendering,
        visitors: Visitors,
        clients: TrustedProxies,
        read_only: str | None,
        url: str | None,
        may_write: Callable[[], bool],
    ) -> None:
        self.rendering = rendering
        self.visitors = visitors
        self.forms = FormTokens(visitors, clients)
        self.read_only = read_only
        self._clients = clients
        self._url = url
        self._may_write = may_write

    def add(
        self, routes: Routes, path: str, methods: Sequence[str], name: str, handler: RouteHandler, needs: Needs
    ) -> None:
        """Route a path to a handler of pages, for whom the gate for pages admits."""
        routes.add(path, methods, f"page-{name}", self.guarded(handler, needs), Entry.EVERYBODY)

    def guarded(self, handler: RouteHandler, needs: Needs) -> RouteHandler:
        """A handler behind the gate, whose failures are pages."""

        async def answer(request: Request, **arguments: Any) -> bytes | None:
            try:
                await self.visitors.admit(request, needs, arguments.get("repository"))
                return await handler(request, **arguments)
            except Exception as error:
                return await self._failure(request, error)

        return answer

    async def page(
        self,
        request: Request,
        template: str,
        title: str,
        *,
        status: int = 200,
        where: Sequence[Place] = (),
        **more: Any,
    ) -> bytes:
        """Answer with a page."""
        visitors = self.visitors
        host, secure = self._host(request)
        values = {
            "title": title,
            "host": host,
            "secure": secure,
            "where": where,
            "visitor": visitors.name(request),
            "can_sign_in": visitors.can_sign_in,
            "may_see_status": visitors.may(request, Action.ADMIN),
            "token": self.forms.token(request),
            "here": request.uri.decode("latin-1"),
            "query": "",
            "links": True,
            **more,
        }
        return reply(request, status, HEADERS, await self.rendering.page(template, values))

    def _host(self, request: Request) -> tuple[str, bool]:
        """What image names begin with, and whether clients come by TLS."""
        if self._url is not None:
            scheme, _, host = self._url.partition("://")
            return host.rstrip("/"), scheme == "https"
        return request.asked_host, self._clients.is_secure(request)

    def may_delete(self, request: Request, repository: str) -> bool:
        """Whether the visitor may delete tags of a repository."""
        return self.can_change and self.visitors.may(request, Action.DELETE, repository)

    @property
    def can_change(self) -> bool:
        """Whether anybody may change anything through this daemon."""
        return self.read_only is None and self._may_write()

    def redirect(self, request: Request, path: str) -> bytes:
        """Answer with the address of another page here, which is to be had with GET."""
        return reply(request, 303, {"Location": path, "Cache-Control": "no-store"})

    def failed(self, request: Request, error: Exception) -> "bytes | Deferred[bytes | None] | None":
        """The answer where no handler was found: a page for who wants one."""
        if wants_page(request):
            if isinstance(error, RouteNotFound):
                error = HttpError(404, "UNSUPPORTED", "there is nothing at this address")
            return Deferred.fromCoroutine(self._unmatched(request, error))
        return answer_failure(request, error)

    async def _unmatched(self, request: Request, error: Exception) -> bytes | None:
        # The page says who looks at it, where that is known.
        with suppress(HttpError):
            await self.visitors.admit(request, Entry.ANYBODY, None)
        return await self._failure(request, error)

    async def refused(self, request: Request, why: str) -> bytes | None:
        """A page that answers 403 whoever it is, and has no links, as each would lead to the same."""
        return await self._failure(request, HttpError(403, "DENIED", why), links=False)

    async def _failure(self, request: Request, error: Exception, *, links: bool = True) -> bytes | None:
        if isinstance(error, HttpError) and error.status == 401:
            # Without the challenge, for which a browser would ask by itself.
            where = request.uri.decode("latin-1") if request.method == b"GET" else HOME
            return self.redirect(request, sign_in_path(where) if self.visitors.can_sign_in else SIGN_IN)
        document = answer_failure(request, error)
        if document is None:
            return None
        message = json.loads(document)["errors"][0]["message"]
        status = request.code
        title = _TITLES.get(status, HTTPStatus(status).phrase)
        try:
            message = clip(message, 500)
            return await self.page(
                request, "error.html", title, status=status, code=status, message=message, links=links
            )
        except BucketError:
            return document
        except Exception:
            self._log.failure("the page for an error failed", Failure())
            return document


def wants_page(request: Request) -> bool:
    """Whether a request is one for a page: of a browser, and not for the registry's API."""
    return is_page(request.path) and preferred(request, _DOCUMENTS) == "text/html"
