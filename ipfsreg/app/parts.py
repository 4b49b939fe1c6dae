"""A registry with what it stands on, as `assembly` puts it together."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from ipfsreg.bucket.opened import Opened
from ipfsreg.flow.workers import Workers
from ipfsreg.registry.registry import Registry
from ipfsreg.registry.visibility import Visibility

if TYPE_CHECKING:
    from ipfsreg.access.authority import Authority

from .peer_id import PeerId
from .state_directory import StateDirectory


class Watcher(Protocol):
    """What looks on while clients are served, and serves none itself."""

    async def start(self) -> None:
        """Begin, before there are clients. :raises SetupError: where the user has to change something."""

    async def stop(self) -> None:
        """End, when all clients are gone, and write what there is to write. The threads are still there."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Nothing of it is open yet, and the threads do not run."""

    state: StateDirectory
    workers: Workers
    backend: Opened
    visibility: Visibility
    registry: Registry
    peer_id: PeerId
    authority: "Authority | None" = None
    """What says who may do what; None where everybody may do everything."""
    watchers: list[Watcher] = field(default_factory=list)
    """In the order in which they start."""
