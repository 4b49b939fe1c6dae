"""A registry with what it stands on, as `assembly` puts it together."""

from dataclasses import dataclass

from ipfsreg.bucket.opened import Opened
from ipfsreg.flow.workers import Workers
from ipfsreg.registry.registry import Registry
from ipfsreg.registry.visibility import Visibility

from .peer_id import PeerId
from .state_directory import StateDirectory


@dataclass(frozen=True, slots=True)
class Parts:
    """Nothing of it is open yet, and the threads do not run."""

    state: StateDirectory
    workers: Workers
    backend: Opened
    visibility: Visibility
    registry: Registry
    peer_id: PeerId
