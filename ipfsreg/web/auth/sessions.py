"""The gate that takes sessions of browsers: for pages alone, never for the registry's API.

A program that a page makes the browser ask the API has no session there, whatever the browser sends along.
"""

from ipfsreg.access.authority import Authority, Basic
from ipfsreg.access.errors import BadCredentials, TooManyAttempts, Unavailable
from ipfsreg.access.identity import Action, User
from ipfsreg.access.sessions import SESSION_SECONDS
from ipfsreg.web.cookies import cookie_name, read_cookie, set_cookie
from ipfsreg.web.gate import Entry, Needs
from ipfsreg.web.http.forwarded import TrustedProxies
from ipfsreg.web.http.request import Request

from .challenge import Challenge
from .guarded_gate import GuardedGate, not_looked_at, user_of

_COOKIE = "ipfsreg-session"


class SessionGate(GuardedGate):
    """A `GuardedGate` for pages: a session counts before the credentials of the request. See `Visitors`."""

    can_sign_in = True

    def __init__(self, authority: Authority, challenge: Challenge, clients: TrustedProxies) -> None:
        super().__init__(authority, challenge, clients)
        self._sessions = authority.sessions

    def knows(self, request: Request, needs: Needs, repository: str | None) -> bool:
        """See `Gate`. A session is looked at each time."""
        return needs is Entry.EVERYBODY

    async def identify(self, request: Request, action: Action | None, repository: str | None) -> User:
        """Who asks. The account is looked at each time: one that is gone, or has another password now, ends it."""
        secret = self._secret(request)
        user = self._sessions.find(secret)
        if user is not None:
            try:
                now = await self._authority.renew(user)
            except BadCredentials:
                await self._sessions.end(secret)
            else:
                request.identify(now)
                return now
        return await super().identify(request, action, repository)

    def may(self, request: Request, action: Action, repository: str | None = None) -> bool:
        return bool(self._authority.allows(user_of(request), action, repository))

    def name(self, request: Request) -> str | None:
        user = user_of(request)
        return None if user.is_anonymous else user.name

    async def sign_in(self, request: Request, name: str, password: str) -> bool:
        """See `Visitors`. A session that the browser has already ends."""
        address = self._clients.address_of(request)
        try:
            user = await self._authority.identify(Basic(name, password), address)
        except BadCredentials:
            return False
        except (TooManyAttempts, Unavailable) as error:
            raise not_looked_at(error) from None
        self._authority.record("session", user, address)
        await self._sessions.end(self._secret(request))
        self._set(request, await self._sessions.begin(user), int(SESSION_SECONDS))
        return True

    async def sign_out(self, request: Request) -> None:
        await self._sessions.end(self._secret(request))
        self._set(request, "", 0)

    def session(self, request: Request) -> str:
        secret = self._secret(request)
        return secret if self._sessions.find(secret) is not None else ""

    def _secret(self, request: Request) -> str:
        return read_cookie(request, cookie_name(_COOKIE, secure=self._clients.is_secure(request))) or ""

    def _set(self, request: Request, value: str, seconds: int) -> None:
        secure = self._clients.is_secure(request)
        name = cookie_name(_COOKIE, secure=secure)
        set_cookie(request, name, value, secure=secure, same_site="Lax", seconds=seconds)
