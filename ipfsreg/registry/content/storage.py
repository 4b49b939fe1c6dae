"""What everything of a registry is built on: its bucket, and how content is kept there."""

from twisted.internet.interfaces import IReactorTime

from ipfsreg.bucket.capabilities import TellsLeaves
from ipfsreg.bucket.interface import IBucket
from ipfsreg.flow.throttle import Throttle
from ipfsreg.flow.workers import Workers

from .cid_index import CidIndex
from .dags import Dags
from .guard import Guard
from .parser import Parser
from .store import ContentStore


class Storage:
    """A bucket with its contents, their DAGs, and who uses them.

    ``max_manifest_size`` is in bytes. ``teller`` may know the DAGs of what the bucket stores. ``clock`` tells seconds
    since 1970.
    """

    def __init__(
        self,
        bucket: IBucket,
        index: CidIndex,
        guard: Guard,
        workers: Workers,
        clock: IReactorTime,
        max_manifest_size: int,
        teller: TellsLeaves | None = None,
    ) -> None:
        self.bucket = bucket
        self.index = index
        self.guard = guard
        self.workers = workers
        self.clock = clock
        self.max_manifest_size = max_manifest_size
        self.parser = Parser(workers)
        self.store = ContentStore(bucket, workers, max_manifest_size)
        self.dags = Dags(bucket, index, workers, teller)

    def throttle(self) -> Throttle:
        """A throttle for a loop of small steps on behalf of one client."""
        return Throttle(self.clock, steps=500)
