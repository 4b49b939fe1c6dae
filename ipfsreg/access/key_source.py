"""The public keys of another issuer (a JWKS, RFC 7517), fetched when they are needed."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, RSAKey
from pydantic_core import from_json
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ipfsreg.flow.single_flight import SingleFlight

from .errors import Unavailable

JWKS_MAX = 256 * 1024
"""Bytes that an issuer's keys may have."""

EVERY_SECONDS = 60.0
"""How often keys are fetched at most, whatever tokens come."""

_AGAIN_SECONDS = 10.0
"""The same while there are none at all."""

OLD_SECONDS = 3600.0
"""Keys that are older are fetched again, since one may have been withdrawn."""

_FETCH_SECONDS = 10.0
_KEYS_MAX = 100
_RSA_BITS = range(2048, 4097)
_OF_CURVE = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_OF_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """A key, and the algorithms that it may verify: public ones only, whatever a token's header says."""

    key: RSAKey | ECKey
    algorithms: tuple[str, ...]


def parse_jwks(content: bytes) -> Mapping[str, IssuerKey]:
    """The keys by their ``kid``; those that cannot verify signatures here are passed over.

    :raises ValueError: where it is no JWKS, or nothing in it can be used.
    """
    try:
        listed = from_json(content)["keys"]
    except (ValueError, TypeError, KeyError):
        listed = None
    if not isinstance(listed, list):
        raise ValueError("not a JSON object with a list of keys (JWKS)")
    found = {}
    for data in listed[:_KEYS_MAX]:
        key = _key(data)
        if key is not None:
            found[str(data.get("kid", ""))] = key
    if not found:
        raise ValueError("no RSA key of 2048 to 4096 bits, and no key on P-256, P-384 or P-521")
    return found


def _key(data: Any) -> IssuerKey | None:
    if not isinstance(data, dict) or data.get("use", "sig") != "sig" or "d" in data:
        return None
    try:
        key = JWKRegistry.import_key(data)
        algorithms: Collection[str] = ()
        if isinstance(key, RSAKey) and key.public_key.key_size in _RSA_BITS:
            algorithms = _OF_RSA
        elif isinstance(key, ECKey) and key.curve_name in _OF_CURVE:
            algorithms = (_OF_CURVE[key.curve_name],)
        else:
            return None
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    kept = tuple(each for each in algorithms if data.get("alg", each) == each)
    return IssuerKey(key, kept) if kept else None


class KeySource:
    """Keys that ``fetch`` brings; the last good ones stay while it fails. ``what`` names them for the log.

    ``every`` is how often they are fetched at most, in seconds, and ``old`` when they are fetched again anyway.
    """

    _log = Logger()

    def __init__(
        self,
        what: str,
        fetch: Callable[[], Awaitable[bytes]],
        reactor: Any,
        every: float = EVERY_SECONDS,
        old: float = OLD_SECONDS,
    ) -> None:
        self._what = what
        self._fetch = fetch
        self._reactor = reactor
        self._every = every
        self._old = old
        self._keys: Mapping[str, IssuerKey] | None = None
        self._fetched: float | None = None
        self._told: str | None = None
        self._flight = SingleFlight(self._refresh)

    async def find(self, kid: str | None) -> IssuerKey | None:
        """The key of that name; without a name the only one.

        :raises Unavailable: where the keys have never been had.
        """
        age = None if self._fetched is None else self._reactor.seconds() - self._fetched
        if self._known(kid) is None:
            if age is None or age >= (self._every if self._keys else min(self._every, _AGAIN_SECONDS)):
                await self._flight.outcome()
        elif age is not None and age >= self._old:
            self._flight.outcome()
        if self._keys is None:
            raise Unavailable(f"{self._what} cannot be had")
        return self._known(kid)

    def _known(self, kid: str | None) -> IssuerKey | None:
        if self._keys is None:
            return None
        if kid is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(kid)

    async def _refresh(self) -> None:
        try:
            fetching = Deferred.fromCoroutine(self._fetched_once()).addTimeout(_FETCH_SECONDS, self._reactor)
            content = await fetching
            self._keys = parse_jwks(content)
            self._told = None
        except Exception as error:  # whatever a fetch can fail with
            problem = f"{type(error).__name__}: {error}"
            if problem != self._told:
                self._log.error("{what} cannot be had: {problem}", what=self._what, problem=problem[:300])
            self._told = problem
        self._fetched = self._reactor.seconds()

    async def _fetched_once(self) -> bytes:
        content = await self._fetch()
        if len(content) > JWKS_MAX:
            raise ValueError(f"longer than {JWKS_MAX} bytes")
        return content
