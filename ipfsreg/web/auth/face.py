"""Access control as routes see it."""

from ipfsreg.access.authority import Authority
from ipfsreg.web.http.budget import Budget
from ipfsreg.web.http.forwarded import TrustedProxies
from ipfsreg.web.routes import Routes

from .challenge import Challenge, ChallengeKind
from .guarded_gate import GuardedGate
from .sessions import SessionGate
from .tokens import TokenRoutes


class AccessControl:
    """The gate and the token service over one authority; see `Challenge` for ``kind`` and ``url``."""

    def __init__(self, authority: Authority, kind: ChallengeKind, url: str | None, clients: TrustedProxies) -> None:
        challenge = Challenge(kind, authority.service, url, clients)
        self.gate = GuardedGate(authority, challenge, clients)
        self.visitors = SessionGate(authority, challenge, clients)
        self._authority = authority
        self._clients = clients

    def add_to(self, routes: Routes, memory: Budget) -> None:
        """Add the routes by which one says who one is."""
        TokenRoutes(self._authority, self._clients, memory).add_to(routes)
