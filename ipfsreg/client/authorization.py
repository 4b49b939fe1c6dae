"""What a registry wants to see before it does something: nothing, a password, or a token for the scope.

Sources: distribution-spec, "Authentication"; Docker's "Token Authentication" (challenges, scopes, tokens, and the
OAuth 2 form of it for identity tokens).
"""

from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode
from urllib.request import parse_http_list, parse_keqv_list

from ipfsreg.flow.locks import KeyedLock
from ipfsreg.registry.documents import read_json
from ipfsreg.registry.errors import ManifestInvalid

from .address import RegistryAddress, origin_of
from .credentials import Credentials
from .errors import AccessDenied, Untrustworthy

Scope = tuple[str, ...]
"""What a request needs, such as ``("repository:busybox:pull",)``."""

CATALOG: Scope = ("registry:catalog:*",)
NO_SCOPE: Scope = ()

Fetch = Callable[[Scope, str, Mapping[str, str], bytes | None], Awaitable[bytes]]
"""Asks a token server for a scope: its URL, headers, and the body of a POST or None for GET."""

_LIFE_DEFAULT = 60
_LIFE_MAX = 3600
_LATEST = 0.8  # of a token's life it is used
_TOKEN_MAX = 16 * 1024  # characters, as long as servers take a header


def scope_of(repository: str, actions: str = "pull") -> Scope:
    """The scope of something that is done to a repository; several actions have commas between them."""
    return (f"repository:{repository}:{actions}",)


def repository_of(scope: Scope) -> str:
    """The repository whose credentials count; empty where it is about none."""
    kind, _, rest = scope[0].partition(":") if scope else ("", "", "")
    return rest.rpartition(":")[0] if kind == "repository" else ""


@dataclass(frozen=True, slots=True)
class _Token:
    header: str = field(repr=False)
    until: float


@dataclass(frozen=True, slots=True)
class _Challenge:
    is_basic: bool
    realm: str = ""
    service: str = ""


class Authorization:
    """The ``Authorization`` headers for one registry. Tokens are kept for as long as they are good."""

    def __init__(
        self,
        address: RegistryAddress,
        credentials: Callable[[Scope], Awaitable[Credentials | None]],
        fetch: Fetch,
        seconds: Callable[[], float],
    ) -> None:
        self._address = address
        self._credentials = credentials
        self._fetch = fetch
        self._seconds = seconds
        self._challenge: _Challenge | None = None
        self._tokens: dict[Scope, _Token] = {}
        self._told: dict[Scope, str] = {}
        self._asking = KeyedLock()

    async def header(self, scope: Scope) -> str | None:
        """The header for a request; None while the registry has wanted none.

        :raises RemoteError: where no token is to be had.
        """
        challenge = self._challenge
        if challenge is None:
            return None
        if challenge.is_basic:
            found = await self._credentials(scope)
            return None if found is None else _basic(found)
        async with self._asking.of(scope):
            token = self._tokens.get(scope)
            if token is None or token.until <= self._seconds():
                token = self._tokens[scope] = await self._new_token(challenge, scope)
            return token.header

    async def challenged(self, challenges: list[str], scope: Scope, sent: str | None) -> None:
        """The registry answered 401 to a request with the header ``sent``: the next one is to have another.

        :raises AccessDenied: where there is none to try.
        """
        if not self._address.origin.is_private:  # who answers, and names a token server, may be anybody
            raise AccessDenied(
                f"{self._address.name} wants credentials, which are not sent over http to another machine", 401
            )
        challenge = self._read(challenges, scope)
        known = self._tokens.get(scope)
        if known is not None and known.header == sent:
            del self._tokens[scope]
        self._challenge = challenge
        if challenge.is_basic and (sent is not None or await self._credentials(scope) is None):
            raise await self.denied(401, scope)

    async def denied(self, status: int, scope: Scope) -> AccessDenied:
        """What to tell the user."""
        name = self._address.name
        if await self._credentials(scope) is None:
            return AccessDenied(f"{name} wants to know who asks: `docker login {name}`", status)
        return AccessDenied(f"{name} refuses the credentials that `docker login {name}` stored", status)

    def _read(self, challenges: list[str], scope: Scope) -> _Challenge:
        basic = False
        for text in challenges:
            kind, _, rest = text.strip().partition(" ")
            if kind.lower() == "bearer":
                values = {
                    name.lower(): value
                    for name, value in parse_keqv_list([each for each in parse_http_list(rest) if "=" in each]).items()
                }
                realm = origin_of(values.get("realm", ""))
                if realm is None or not realm.is_private or (realm.scheme == "http" != self._address.origin.scheme):
                    raise Untrustworthy(f"{self._address.name} names a token server that is not safe to ask")
                if values.get("scope"):
                    self._told[scope] = values["scope"]
                return _Challenge(False, values["realm"], values.get("service", ""))
            basic = basic or kind.lower() == "basic"
        if not basic:
            raise AccessDenied(f"{self._address.name} wants credentials of a kind that is not known", 401)
        return _Challenge(True)

    async def _new_token(self, challenge: _Challenge, scope: Scope) -> _Token:
        found = await self._credentials(scope)
        scopes = dict.fromkeys([*scope, *self._told.get(scope, "").split()])
        fields = [("service", challenge.service)] if challenge.service else []
        if found is not None and found.identity_token:
            body = [*fields, ("grant_type", "refresh_token"), ("client_id", "ipfsreg"), ("scope", " ".join(scopes))]
            content = urlencode([*body, ("refresh_token", found.identity_token)]).encode()
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = await self._fetch(scope, challenge.realm, headers, content)
        else:
            query = urlencode([*fields, *(("scope", each) for each in scopes)])
            url = f"{challenge.realm}{'&' if '?' in challenge.realm else '?'}{query}"
            answer = await self._fetch(scope, url, {} if found is None else {"Authorization": _basic(found)}, None)
        return self._parse(answer)

    def _parse(self, answer: bytes) -> _Token:
        try:
            document = read_json(answer)
        except ManifestInvalid:
            document = {}
        token = document.get("token") or document.get("access_token")
        if type(token) is not str or len(token) > _TOKEN_MAX or not (token.isascii() and token.isprintable()):
            raise Untrustworthy(f"the token server of {self._address.name} answers no token")
        life = document.get("expires_in")
        if type(life) is not int or life <= 0:
            life = _LIFE_DEFAULT
        return _Token(f"Bearer {token}", self._seconds() + min(life, _LIFE_MAX) * _LATEST)


def _basic(found: Credentials) -> str:
    return "Basic " + b64encode(f"{found.username}:{found.password}".encode()).decode()
