"""What pages in a browser may ask of this daemon, which has no passwords that would keep them out.

A page of any site can make its reader's browser send requests to a daemon on the reader's own machine or network. Two
ways are closed here; programs send none of these headers and are not concerned.

* A request of another origin, such as a form or a ``text/plain`` POST that needs nobody's leave: browsers say so by
  ``Sec-Fetch-Site`` (https://www.w3.org/TR/fetch-metadata/) or ``Origin`` (https://fetch.spec.whatwg.org/).
* DNS rebinding: the page's own name is made to lead here, so that the browser takes the daemon for the page's origin.
  But it still says that name as ``Host``. Nobody can rebind an IP address, or ``localhost``.
"""

from dataclasses import dataclass
from ipaddress import ip_address

from .errors import refuse
from .http.request import Request
from .http.server import Handler

CORS_SECONDS = 600
"""For how long a browser may remember that pages of an origin are let in."""

EXPOSED = "Content-Range, Docker-Content-Digest, ETag, Link, OCI-Filters-Applied, X-Ipfs-Cid, X-Request-ID"
"""The headers of answers that a page may read, beside those that every page may."""

_OWN = frozenset({"same-origin", "none"})


@dataclass(frozen=True, slots=True)
class BrowserRules:
    """``hosts`` are names under which pages may ask, beside IP addresses and ``localhost``.

    Pages of ``origins`` may read, whatever the name; ``*`` is every page.
    """

    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()

    def knows_host(self, request: Request) -> bool:
        """Whether the request's Host header has one of the names that the configuration allows."""
        return host_of(request.header("host") or "") in self.hosts

    def refusal(self, request: Request) -> str | None:
        """Why a request is not answered, or None where it is."""
        if not self.is_browser(request) or self.lets_in(request):
            return None
        if _is_from_elsewhere(request):
            return "a page of another origin asks, which is not in [registry] cors_origins or wants to change something"
        if request.headers.get(b"sec-fetch-site") == b"none" or self.is_safe(request):
            return None
        return "a page asks by a name of this registry that is not in [registry] allowed_hosts"

    def lets_in(self, request: Request) -> bool:
        """Whether this is a page of another origin that may read, and reads."""
        return request.only_reads and self._is_listed(request)

    def may_ask_ahead(self, request: Request) -> bool:
        """Whether this is a browser that asks whether such a page may read (the "preflight" of CORS)."""
        wanted = request.header("access-control-request-method")
        return request.method == b"OPTIONS" and wanted in {"GET", "HEAD"} and self._is_listed(request)

    def _is_listed(self, request: Request) -> bool:
        """Whether a page of one of ``origins`` asks."""
        origin = request.header("origin")
        return origin is not None and ("*" in self.origins or origin.lower() in self.origins)

    def is_browser(self, request: Request) -> bool:
        """Whether a browser asks, and no program."""
        headers = request.headers
        agent = headers.get(b"user-agent", b"")
        return b"origin" in headers or b"sec-fetch-site" in headers or agent.startswith(b"Mozilla/")

    def is_safe(self, request: Request) -> bool:
        """Whether the name that a browser asks by is one that nobody can have made to lead here.

        Over TLS it has seen a certificate for that name.
        """
        if request.is_secure:
            return True
        host = host_of(request.header("host") or "")
        if host in self.hosts or host == "localhost" or host.endswith(".localhost"):
            return True
        try:
            ip_address(host)
        except ValueError:
            return False
        return True


def for_browsers(handler: Handler, rules: BrowserRules) -> Handler:
    """A handler that asks the rules first, and says in its answers what they allow."""

    def handle(request: Request) -> None:
        if rules.origins:
            request.add_header("Vary", "Origin")  # of every answer, since caches may keep it
            if rules.lets_in(request):
                request.set_header("Access-Control-Allow-Origin", request.header("origin"))
                request.set_header("Access-Control-Expose-Headers", EXPOSED)
            elif rules.may_ask_ahead(request):
                request.prepare(204, _ahead(request))
                request.end()
                return
        refusal = rules.refusal(request)
        if refusal is None:
            handler(request)
        else:
            refuse(request, 403, "DENIED", refusal)

    return handle


def _ahead(request: Request) -> dict[str, object]:
    return {
        "Access-Control-Allow-Origin": request.header("origin"),
        "Access-Control-Allow-Methods": "GET, HEAD",
        "Access-Control-Allow-Headers": "Accept, Cache-Control, If-None-Match, If-Range, Range",
        "Access-Control-Max-Age": CORS_SECONDS,
    }


def host_of(authority: str) -> str:
    """The host of a Host header or of an origin's last part: lower case, without port and brackets."""
    host, colon, port = authority.strip().lower().rpartition(":")
    if not colon or not (port.isdigit() or not port):
        host = authority.strip().lower()
    return host.removeprefix("[").removesuffix("]").removesuffix(".")


def _is_from_elsewhere(request: Request) -> bool:
    site, origin = request.header("sec-fetch-site"), request.header("origin")
    if site is not None:
        # Who follows a link to here sees the answer himself, and the page with the link does not.
        is_followed = request.header("sec-fetch-mode") == "navigate" and request.only_reads
        return site not in _OWN and not (is_followed and request.header("sec-fetch-dest") == "document")
    if origin is None:
        return False
    _, separator, authority = origin.lower().partition("://")
    return not separator or _with_port(authority) != _with_port((request.header("host") or "").lower())


def _with_port(authority: str) -> str:
    return authority.strip().removesuffix(":80").removesuffix(":443")
