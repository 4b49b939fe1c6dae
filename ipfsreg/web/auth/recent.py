"""Who was let in a moment ago, and to what, so that a client's next request costs next to nothing."""

from collections.abc import Callable
from dataclasses import dataclass, field

from ipfsreg.access.authority import Authority
from ipfsreg.access.identity import User
from ipfsreg.web.gate import Needs
from ipfsreg.web.http.request import Request

_ASKED_MOST = 64
"""Things that a client was let in to; it begins anew with the next one."""


@dataclass(slots=True)
class _Admitted:
    by: "Recent"
    epoch: int
    user: User
    to: set[tuple[Needs, str | None]] = field(default_factory=set)


class Recent:
    """What an authority has said since it looked at its files, which is for a second; see `Authority.epoch`.

    It counts for requests with the very same headers on the same connection: credentials, address and certificate are
    the same then. Nothing is remembered of what was refused. ``now`` is the time of day, by which a token or a
    certificate ends.
    """

    def __init__(self, authority: Authority, now: Callable[[], float]) -> None:
        self._authority = authority
        self._now = now

    def admits(self, request: Request, needs: Needs, repository: str | None) -> User | None:
        """Who asks, if it was let in to this already."""
        known = request.fields.remembered
        if not isinstance(known, _Admitted) or known.by is not self or known.epoch != self._authority.epoch:
            return None
        if (needs, repository) not in known.to or self._authority.is_due:
            return None
        user = known.user
        return user if user.expires is None or user.expires > self._now() else None

    def remember(self, request: Request, user: User, needs: Needs, repository: str | None) -> None:
        """The authority has just let a request in."""
        known, epoch = request.fields.remembered, self._authority.epoch
        if (
            not isinstance(known, _Admitted)
            or (known.by, known.epoch, known.user) != (self, epoch, user)
            or len(known.to) >= _ASKED_MOST
        ):
            known = request.fields.remembered = _Admitted(self, epoch, user)
        known.to.add((needs, repository))
