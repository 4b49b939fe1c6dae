"""Our own tokens: Docker's token authentication, whose claims are those of distribution's "Token Authentication
Implementation". Checking one needs no I/O.

An access token is good for minutes, for what was granted when it was issued. An offline token (what `docker login`
keeps in place of the password) is good for months, for nothing but getting access tokens. Both are bound to the account
by its stamp.
"""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from cachetools import LRUCache
from joserfc import jwt
from joserfc.errors import JoseError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .compact import unverified
from .errors import BadCredentials, BadScope
from .identity import Action, Grant, Kind, User
from .scopes import Granted, Scope
from .signing_keys import SigningKeys

ALGORITHM = "HS256"
LEEWAY_SECONDS = 30
"""By how much the clock may have been set back since a token was issued. No expired token is taken for it."""

ISSUED_MAX = 12 * 1024
"""Characters of a token that is issued: it comes back in a header, where other things have to have room."""

ACCESS_SECONDS = 300
"""How long an access token is good, by default; a request is only checked when it begins."""

OFFLINE_SECONDS = 90 * 86400

VERIFIED_MAX = 2000
"""Access tokens that need not be verified again: a client sends its own with each request."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A token for the answer to a client. Times are in seconds; ``issued_at`` is since 1970."""

    token: str
    expires_in: int
    issued_at: float
    offline_token: str | None = None


class _Entry(BaseModel):
    type: str
    name: str
    actions: list[str]


class _Claims(BaseModel):
    model_config = ConfigDict(strict=True)

    use: Literal["access", "offline"]
    iss: str
    aud: str
    sub: str
    kind: str
    stamp: str
    exp: int
    nbf: int
    iat: int
    jti: str
    groups: list[str] = []
    access: Annotated[list[_Entry], Field(max_length=100)] = []


@dataclass(frozen=True, slots=True)
class TokenTimes:
    """For how many seconds tokens are good."""

    access: int = ACCESS_SECONDS
    offline: int = OFFLINE_SECONDS


class Tokens:
    """Issues tokens, and tells whom they were issued to.

    ``service`` is the registry's name; ``now`` is the time of day.
    """

    def __init__(self, keys: SigningKeys, service: str, now: Callable[[], float], times: TokenTimes) -> None:
        self._keys = keys
        self._now = now
        self._times = times
        self._verified: LRUCache[bytes, User] = LRUCache(VERIFIED_MAX)
        self.service = service

    def load(self) -> None:
        """See `SigningKeys.load`."""
        self._keys.load()

    def stop(self) -> None:
        """Make no more keys."""
        self._keys.stop()

    def issue(self, user: User, granted: Sequence[Granted], *, offline: bool = False) -> Issued:
        """An access token, and with ``offline`` an offline token too, for a user of whom it is known who it is.

        :raises BadScope: where it would be too long.
        """
        now = self._now()
        seconds = self._seconds(self._times.access, user, now)
        access = [each.as_claim() for each in granted if each.actions]
        token = self._sign("access", user, seconds, access=access, groups=sorted(user.groups))
        if len(token) > ISSUED_MAX:
            raise BadScope("a token for all these scopes would be too long; ask for fewer at once")
        kept = self._sign("offline", user, self._seconds(self._times.offline, user, now)) if offline else None
        return Issued(token, seconds, now, kept)

    def verify_own(self, token: str) -> User | None:
        """`verify` for an access token; None where it does not name a key of ours.

        :raises BadCredentials: where it is no token, or one of ours that is not good.
        """
        known = self._verified.get(self._digest(token))
        if known is not None:
            return self._unexpired(known)
        if self._keys.find(unverified(token)[0].get("kid")) is None:
            return None
        return self.verify(token)

    def verify(self, token: str, use: Literal["access", "offline"] = "access") -> User:
        """Whom a token was issued to, with the scope that it was issued for.

        The caller sees whether the account still has the stamp that the token has.

        :raises BadCredentials: where it is not ours, not for that use, or not good any more.
        """
        digest = self._digest(token)
        user = self._verified.get(digest) if use == "access" else None
        if user is None:
            user = self._read(token, use)
            if use == "access":
                self._verified[digest] = user
        return self._unexpired(user)

    def check_time(self, user: User) -> None:
        """See whether a user is still who it was found to be.

        :raises BadCredentials: where what it came with has expired.
        """
        if user.expires is not None and user.expires <= self._now():
            raise BadCredentials("what the user came with has expired")

    def _unexpired(self, user: User) -> User:
        if user.expires is None or user.expires <= self._now():
            raise BadCredentials("a token that has expired")
        return user

    def _read(self, token: str, use: str) -> User:
        header, _ = unverified(token)
        key = self._keys.find(header.get("kid"))
        if key is None:
            raise BadCredentials("a token with an unknown key")
        try:
            claims = _Claims.model_validate(jwt.decode(token, key, algorithms=[ALGORITHM]).claims)
        except (JoseError, ValidationError, ValueError, RecursionError):
            raise BadCredentials("a token that was not signed here") from None
        if claims.use != use or claims.iss != self.service or claims.aud != self.service:
            raise BadCredentials("a token for something else")
        if claims.nbf > self._now() + LEEWAY_SECONDS:
            raise BadCredentials("a token of the future")
        try:
            kind = Kind(claims.kind)
        except ValueError:
            raise BadCredentials("a token for something else") from None
        scope = () if use == "offline" else tuple(_grant(entry) for entry in claims.access)
        return User(claims.sub, kind, frozenset(claims.groups), None, scope, claims.exp, claims.stamp)

    @staticmethod
    def _digest(token: str) -> bytes:
        return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()

    @staticmethod
    def _seconds(most: int, user: User, now: float) -> int:
        return most if user.expires is None else max(1, min(most, int(user.expires - now)))

    def _sign(self, use: str, user: User, seconds: int, **more: Any) -> str:
        kid, key = self._keys.current()
        now = int(self._now())
        claims = {
            "use": use,
            "iss": self.service,
            "aud": self.service,
            "sub": user.name,
            "kind": user.kind.value,
            "stamp": user.stamp,
            "exp": now + seconds,
            "nbf": now,
            "iat": now,
            "jti": secrets.token_urlsafe(12),
            **more,
        }
        return jwt.encode({"alg": ALGORITHM, "kid": kid}, claims, key, algorithms=[ALGORITHM])


def _grant(entry: _Entry) -> Grant:
    scope = Scope(entry.type, entry.name, tuple(entry.actions))
    # A name, never a pattern: what is not about a repository has actions that concern none.
    wanted: frozenset[Action] = scope.wanted
    return Grant(wanted, entry.name)
