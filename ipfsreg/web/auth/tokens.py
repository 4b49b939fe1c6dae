"""``/auth/token``: tokens for a password, a robot's secret, a certificate, another issuer's token, or nothing at all.

By GET as distribution's "Token Authentication Specification" has it, by POST as its "Token Authentication
Implementation" with OAuth 2.
"""

from collections.abc import Awaitable
from datetime import UTC, datetime

from ipfsreg.access.authority import Authority, Basic
from ipfsreg.access.errors import BadCredentials, BadScope, TooManyAttempts, Unavailable
from ipfsreg.access.identity import User
from ipfsreg.access.scopes import Scope, parse_scopes
from ipfsreg.access.tokens import Issued
from ipfsreg.web.errors import HttpError
from ipfsreg.web.forms import read_form
from ipfsreg.web.gate import TOKEN_PATH, Entry
from ipfsreg.web.http.budget import Budget
from ipfsreg.web.http.forwarded import TrustedProxies
from ipfsreg.web.http.request import Request
from ipfsreg.web.replies import parameter, parameters, reply_json
from ipfsreg.web.routes import Routes

from .credentials import credentials_of
from .guarded_gate import not_looked_at


class TokenRoutes:
    """The token service."""

    def __init__(self, authority: Authority, clients: TrustedProxies, memory: Budget) -> None:
        self._authority = authority
        self._clients = clients
        self._memory = memory

    def add_to(self, routes: Routes) -> None:
        """Add the routes. They look at credentials themselves: to ask for a token is how one says who one is."""
        routes.add(TOKEN_PATH, ["GET"], "token-get", self.get, Entry.EVERYBODY)
        routes.add(TOKEN_PATH, ["POST"], "token-post", self.post, Entry.EVERYBODY)

    async def get(self, request: Request) -> bytes:
        """A token for the credentials of the request; without any, one for what everybody may."""
        scopes = self._checked(parameter(request, "service"), parameters(request, "scope"))
        offline = parameter(request, "offline_token") == "true"
        return await self._answer(request, self._of_header(request), scopes, offline=offline)

    async def post(self, request: Request) -> bytes:
        """A token for the password or the offline token of a form."""
        form = await read_form(request, self._memory)
        fields = {name: values[0] for name, values in form.items()}
        scopes = self._checked(fields.get("service"), form.get("scope", []))
        asker = self._of_form(fields, self._clients.address_of(request))
        return await self._answer(request, asker, scopes, offline=fields.get("access_type") == "offline")

    def _checked(self, service: str | None, scopes: list[str]) -> tuple[Scope, ...]:
        if service and service != self._authority.service:
            raise HttpError(400, "UNSUPPORTED", f"this is the token service of {self._authority.service}")
        try:
            return parse_scopes(scopes)
        except BadScope as error:
            raise HttpError(400, "UNSUPPORTED", str(error)) from None

    async def _of_header(self, request: Request) -> User:
        return await self._authority.identify(credentials_of(request), self._clients.address_of(request))

    async def _of_form(self, form: dict[str, str], address: str) -> User:
        grant = form.get("grant_type")
        if grant == "refresh_token":
            return await self._authority.redeem(form.get("refresh_token", ""), address)
        if grant == "password":
            return await self._authority.identify(Basic(form.get("username", ""), form.get("password", "")), address)
        raise HttpError(400, "UNSUPPORTED", "grant_type is password or refresh_token")

    async def _answer(
        self, request: Request, asker: Awaitable[User], scopes: tuple[Scope, ...], *, offline: bool
    ) -> bytes:
        try:
            user = await asker
            issued = self._authority.issue_token(user, scopes, offline=offline)
        except BadCredentials:
            return _refusal(request)
        except (TooManyAttempts, Unavailable) as error:
            raise not_looked_at(error) from None
        except BadScope as error:
            raise HttpError(400, "UNSUPPORTED", str(error)) from None
        if not user.is_anonymous:
            self._authority.record("token", user, self._clients.address_of(request))
        return reply_json(request, 200, _document(issued), {"Cache-Control": "no-store"})


def _document(issued: Issued) -> dict[str, object]:
    document: dict[str, object] = {
        "token": issued.token,
        "access_token": issued.token,
        "expires_in": issued.expires_in,
        "issued_at": datetime.fromtimestamp(issued.issued_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    if issued.offline_token is not None:
        document["refresh_token"] = issued.offline_token
    return document


def _refusal(request: Request) -> bytes:
    """The answer to a wrong password. Without a challenge: who asks for a token knows how, and would ask for ever.

    Docker takes it for a refused login by its ``details`` alone (``parseHTTPErrorResponse`` in
    ``registry/client/errors.go`` of distribution): else it tries a registry on its own machine again by plain HTTP.
    """
    message = "incorrect username or password"
    document = {"errors": [{"code": "UNAUTHORIZED", "message": message}], "details": message}
    return reply_json(request, 401, document)
