"""How long the daemon waits, and the sizes that its buckd refuses."""

from dataclasses import dataclass

from tests.bucket.textile.double.settings import NO_PUSH_PATHS, Limits

BUCKD = NO_PUSH_PATHS
"""The release of Textile that the daemon's own buckd comes from (docs/protocols/space.md, "Adding files")."""

__all__ = ["BUCKD", "Limits", "Patience"]


@dataclass(slots=True)
class Patience:
    """Seconds that a call waits before it fails. A test that needs the failure makes them short.

    See docs/protocols/space.md, "Readiness".
    """

    initialised: float = 60.0
    """For the daemon to be initialised, which it never is without a key pair."""

    hub: float = 180.0
    """For the hub, in the few calls that need it."""
