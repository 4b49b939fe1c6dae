"""Tokens of others: JWTs that a CI service or an identity provider has issued, and whom they are about.

``[auth] issuers`` names a file with a section for each issuer::

    [github]
    issuer   = https://token.actions.githubusercontent.com
    audience = registry.example.org
    keys     = https://token.actions.githubusercontent.com/.well-known/jwks
    require  = repository_owner=acme
    user     = {repository}
    groups   = {repository_owner}, protected:{ref_protected}

A user's name is the section's, a ``+``, and what ``user`` says, such as ``github+acme/app``; a group is
``@github+acme``.
"""

import configparser
import math
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwt import JWTClaimsRegistry
from twisted.logger import Logger

from ipfsreg.config.patterns import Pattern
from ipfsreg.config.small_file import read_small_file
from ipfsreg.flow.workers import Workers

from .certificates import is_user_name
from .compact import unverified
from .errors import BadCredentials
from .identity import Kind, User
from .key_source import JWKS_MAX, KeySource
from .watched import LOOK_SECONDS, WatchedFile

LEEWAY_SECONDS = 60
"""By how much an issuer's clock may differ from ours."""

ISSUERS_MAX = 50
_GROUPS_MAX = 50
_SECTION = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
_CLAIM = re.compile(r"\{([A-Za-z0-9_./:-]{1,64})\}")
_KNOWN = {"issuer", "audience", "keys", "require", "user", "groups"}
_NEEDED = ("issuer", "audience", "keys", "require", "user")
_PLAIN = re.compile(r"http://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?/.*")

Fetch = Callable[[str, int], Awaitable[bytes]]
"""GET of a URL with status 200 and at most so many bytes; follows no redirects. It may fail with any exception."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """A section of the file."""

    name: str
    issuer: str
    audience: str
    keys: str
    require: tuple[tuple[str, Pattern], ...]
    """Claims, and what they have to be like for anybody to be a user here."""
    user: str
    groups: tuple[str, ...]

    def identify(self, claims: Mapping[str, Any]) -> User:
        """Whom verified claims are about.

        :raises BadCredentials: where they are not as the section requires.
        """
        for claim, pattern in self.require:
            text = _text(claims.get(claim))
            if text is None or not pattern.matches(text):
                raise BadCredentials(f"a token of {self.name} whose claim {claim} is not as required")
        names = _filled(self.user, claims)
        if len(names) != 1 or not is_user_name(names[0]):
            raise BadCredentials(f"a token of {self.name} without what makes a user's name")
        groups = [each for template in self.groups for each in _filled(template, claims) if is_user_name(each)]
        return User(
            f"{self.name}+{names[0]}",
            Kind.TOKEN,
            frozenset(f"{self.name}+{group}" for group in groups[:_GROUPS_MAX]),
            expires=float(claims["exp"]),
        )


class Issuers:
    """The issuers of a file. Their keys are fetched when the first token comes, and then as `KeySource` says."""

    _log = Logger()

    def __init__(
        self,
        file: WatchedFile[tuple[Issuer, ...]],
        fetch: Fetch,
        workers: Workers,
        reactor: Any,
        now: Callable[[], float],
    ) -> None:
        self.file = file
        self._fetch = fetch
        self._workers = workers
        self._reactor = reactor
        self._now = now
        self._sources: dict[str, KeySource] = {}

    def named(self, name: str) -> bool:
        """Whether there is an issuer of that name, with which a user may log in and a token as the password."""
        return any(each.name == name for each in self.file.value)

    async def identify(self, token: str, name: str | None = None) -> User:
        """Whom a token is about; ``name`` is the issuer that it has to be of, if that is said.

        :raises BadCredentials: where it is not good, or of an issuer that is not known.
        :raises Unavailable: where the issuer's keys cannot be had.
        """
        header, believed = unverified(token)
        kid = header.get("kid")
        if not isinstance(kid, str | None):
            raise BadCredentials("a token whose key has no sensible name")
        failed = BadCredentials("a token of an issuer that is not known")
        # Several sections may be about one issuer, with other audiences or requirements.
        for issuer in self.file.value:
            if issuer.issuer == believed.get("iss") and name in (None, issuer.name):
                try:
                    return issuer.identify(await self._verified(issuer, token, kid))
                except BadCredentials as error:
                    failed = error
        raise failed

    async def _verified(self, issuer: Issuer, token: str, kid: str | None) -> dict[str, Any]:
        key = await self._source(issuer.keys).find(kid)
        if key is None:
            raise BadCredentials(f"a token of {issuer.name} with an unknown key")
        try:
            claims: dict[str, Any] = jwt.decode(token, key.key, algorithms=key.algorithms).claims
            JWTClaimsRegistry(
                lambda: int(self._now()),
                LEEWAY_SECONDS,
                iss={"essential": True, "value": issuer.issuer},
                aud={"essential": True, "value": issuer.audience},
                exp={"essential": True},
            ).validate(claims)
            if not math.isfinite(float(claims["exp"])):
                raise ValueError("without an end")
        except (JoseError, ValueError, TypeError, OverflowError, RecursionError) as error:
            # The name of the error's class says what it is; its text may quote the token.
            raise BadCredentials(f"a token of {issuer.name} that is not good: {type(error).__name__}") from None
        return claims

    def _source(self, keys: str) -> KeySource:
        if keys not in self._sources:
            used = {issuer.keys for issuer in self.file.value}
            self._sources = {each: source for each, source in self._sources.items() if each in used}
            what = f"The keys {keys}"
            if "://" in keys:
                self._sources[keys] = KeySource(what, partial(self._fetch, keys, JWKS_MAX), self._reactor)
            else:
                read = partial(self._workers.run, read_small_file, Path(keys), JWKS_MAX)
                self._sources[keys] = KeySource(what, read, self._reactor, LOOK_SECONDS, LOOK_SECONDS)
        return self._sources[keys]


def parse_issuers(content: bytes) -> tuple[Issuer, ...]:
    """Read the file.

    :raises ValueError: with one line.
    """
    parser = configparser.ConfigParser(interpolation=None, default_section="")
    try:
        parser.read_string(content.decode("utf-8-sig"))
    except configparser.Error as error:
        raise ValueError(" ".join(str(error).split())[:200]) from None
    if len(parser.sections()) > ISSUERS_MAX:
        raise ValueError(f"more than {ISSUERS_MAX} issuers")
    return tuple(_parse_issuer(name, dict(parser.items(name))) for name in parser.sections())


def _parse_issuer(name: str, options: Mapping[str, str]) -> Issuer:
    if not _SECTION.fullmatch(name) or name == "robot":
        raise ValueError(f"[{name[:40]}]: an issuer's name is small letters, digits, . _ and -, and not robot")
    for option in options:
        if option not in _KNOWN:
            raise ValueError(f"[{name}] {option}: unknown option")
    for option in _NEEDED:
        if not options.get(option):
            raise ValueError(f"[{name}] {option} is missing")
    keys = options["keys"]
    if "://" in keys:
        if not keys.startswith("https://") and not _PLAIN.fullmatch(keys):
            raise ValueError(f"[{name}] keys: a URL begins with https://, or is on this machine")
    else:
        keys = str(Path(keys).expanduser().absolute())
    if not _CLAIM.search(options["user"]):
        raise ValueError(f"[{name}] user: has no claim in braces, such as {{sub}}, so all would be one user")
    return Issuer(
        name=name,
        issuer=options["issuer"],
        audience=options["audience"],
        keys=keys,
        require=_parse_required(name, options["require"]),
        user=options["user"],
        groups=tuple(each.strip() for each in options.get("groups", "").split(",") if each.strip()),
    )


def _parse_required(name: str, text: str) -> tuple[tuple[str, Pattern], ...]:
    if text.strip() == "nothing":
        return ()
    found = []
    for each in text.split(","):
        claim, equals, pattern = each.strip().partition("=")
        if not equals or not claim.strip() or not pattern.strip():
            raise ValueError(
                f"[{name}] require: {each.strip()[:80]!r} is not CLAIM=PATTERN, such as repository_owner=acme; where "
                "all that the issuer knows shall be users here, write nothing"
            )
        found.append((claim.strip(), Pattern(pattern.strip())))
    return tuple(found)


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int):
        return str(value)[:512]
    return None


def _filled(template: str, claims: Mapping[str, Any]) -> list[str]:
    """A template with its claims. None where one is missing; where it is one claim with a list, one for each entry."""
    single = _CLAIM.fullmatch(template)
    if single and isinstance(claims.get(single[1]), list):
        return [text for each in claims[single[1]][:_GROUPS_MAX] if (text := _text(each)) is not None]
    values = {claim: _text(claims.get(claim)) for claim in _CLAIM.findall(template)}
    if None in values.values():
        return []
    return [_CLAIM.sub(lambda found: values[found[1]] or "", template)]
