"""Sessions of browsers, and the gate that takes them: for pages alone, never for the registry's API.

A program that a page makes the browser ask the API has no session there, whatever the browser sends along.
"""

import hashlib
import secrets
from collections.abc import Callable

from cachetools import TTLCache

from ipfsreg.access.authority import Authority, Basic
from ipfsreg.access.errors import BadCredentials, TooManyAttempts, Unavailable
from ipfsreg.access.identity import Action, User
from ipfsreg.flow.clock import MonotonicClock
from ipfsreg.web.cookies import cookie_name, read_cookie, set_cookie
from ipfsreg.web.gate import Entry, Needs
from ipfsreg.web.http.forwarded import TrustedProxies
from ipfsreg.web.http.request import Request

from .challenge import Challenge
from .guarded_gate import GuardedGate, not_looked_at, user_of

SESSION_SECONDS = 12 * 3600
SESSIONS_MAX = 10_000
"""How many there are at once; for one more the oldest ends."""

_COOKIE = "ipfsreg-session"


class Sessions:
    """Whose a secret is that a browser was given. They are in memory: a restart ends them all.

    Only the hash of a secret is kept.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._users: TTLCache[bytes, User] = TTLCache(SESSIONS_MAX, SESSION_SECONDS, timer=seconds)

    def begin(self, user: User) -> str:
        """A new session of a user; answers its secret."""
        secret = secrets.token_urlsafe(32)
        self._users[_hash(secret)] = user
        return secret

    def find(self, secret: str) -> User | None:
        """Whose session it is; None for none, or one that has ended."""
        return self._users.get(_hash(secret))

    def end(self, secret: str) -> None:
        """End a session, if it is one."""
        self._users.pop(_hash(secret), None)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


class SessionGate(GuardedGate):
    """A `GuardedGate` for pages: a session counts before the credentials of the request. See `Visitors`."""

    can_sign_in = True

    def __init__(self, authority: Authority, challenge: Challenge, clients: TrustedProxies) -> None:
        super().__init__(authority, challenge, clients)
        self._sessions = Sessions(MonotonicClock().seconds)

    def knows(self, request: Request, needs: Needs, repository: str | None) -> bool:
        """See `Gate`. A session is looked at each time."""
        return needs is Entry.EVERYBODY

    async def identify(self, request: Request, action: Action | None, repository: str | None) -> User:
        """Who asks. The account is looked at each time: one that is gone, or has another password now, ends it."""
        secret = self.session(request)
        user = self._sessions.find(secret) if secret else None
        if user is not None:
            try:
                now = await self._authority.renew(user)
            except BadCredentials:
                self._sessions.end(secret)
            else:
                request.identify(now)
                return now
        return await super().identify(request, action, repository)

    def may(self, request: Request, action: Action, repository: str | None = None) -> bool:
        """See `Visitors`."""
        return bool(self._authority.allows(user_of(request), action, repository))

    def name(self, request: Request) -> str | None:
        """See `Visitors`."""
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
        self._sessions.end(self.session(request))
        self._set(request, self._sessions.begin(user), SESSION_SECONDS)
        return True

    def sign_out(self, request: Request) -> None:
        """See `Visitors`."""
        self._sessions.end(self.session(request))
        self._set(request, "", 0)

    def session(self, request: Request) -> str:
        """See `Visitors`."""
        return read_cookie(request, cookie_name(_COOKIE, secure=self._clients.is_secure(request))) or ""

    def _set(self, request: Request, value: str, seconds: int) -> None:
        secure = self._clients.is_secure(request)
        name = cookie_name(_COOKIE, secure=secure)
        set_cookie(request, name, value, secure=secure, same_site="Lax", seconds=seconds)
