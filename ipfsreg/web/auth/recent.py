"""Who was let in a moment ago, and to what, so that a client's next request costs next to nothing."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256

from ipfsreg.access.authority import Authority
from ipfsreg.access.identity import User
from ipfsreg.web.gate import Needs
from ipfsreg.web.http.request import Request

MOST = 4096
"""Clients that are remembered, with what they have asked for; a few MiB at most."""

_ASKED_MOST = 64
"""Things that a client was let in to; it begins anew with the next one."""


@dataclass(slots=True)
class _Admitted:
    user: User
    to: set[tuple[Needs, str | None]] = field(default_factory=set)


class Recent:
    """What an authority has said since it looked at its files, which is for a second; see `Authority.epoch`.

    Nothing is remembered of what was refused. Credentials are kept as a hash of them and the client's address, keyed by
    a secret of this process. ``now`` is the time of day, by which a token or a certificate ends.
    """

    def __init__(self, authority: Authority, now: Callable[[], float]) -> None:
        self._authority = authority
        self._now = now
        # A block of secret bytes before them keys a hash that nobody sees. For a token it takes half of BLAKE2's time.
        self._keyed = sha256(secrets.token_bytes(64))
        self._known: dict[bytes, _Admitted] = {}
        self._epoch = authority.epoch

    def admits(self, request: Request, address: str, needs: Needs, repository: str | None) -> User | None:
        """Who asks, if it was let in to this already."""
        if self._authority.is_due or self._epoch != self._authority.epoch:
            return None
        known = self._known.get(self._digest(request, address))
        if known is None or (needs, repository) not in known.to:
            return None
        user = known.user
        return user if user.expires is None or user.expires > self._now() else None

    def remember(self, request: Request, address: str, user: User, needs: Needs, repository: str | None) -> None:
        """The authority has just let a request in."""
        if self._epoch != self._authority.epoch or len(self._known) >= MOST:
            self._known.clear()
            self._epoch = self._authority.epoch
        known = self._known.setdefault(self._digest(request, address), _Admitted(user))
        if known.user != user or len(known.to) >= _ASKED_MOST:
            known.user = user
            known.to.clear()
        known.to.add((needs, repository))

    def _digest(self, request: Request, address: str) -> bytes:
        keyed = self._keyed.copy()
        header = request.headers.get(b"authorization")
        # No header is taken for a certificate, and no address has either of these ends in it.
        if header is not None:
            keyed.update(address.encode() + b"\n" + header)
        else:
            keyed.update(address.encode() + b"\r" + (request.client_certificate() or b""))
        return keyed.digest()
