"""A registry over an encrypted directory of this disk, or an encrypted bucket on a node of Kubo."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from ipfsreg.bucket.capabilities import Capabilities
from ipfsreg.bucket.encrypted.backend import encrypted_backend
from ipfsreg.bucket.kubo.state.presence import Clocks
from ipfsreg.bucket.local.bucket import LocalBucket
from ipfsreg.bucket.opened import Opened
from ipfsreg.flow.workers import Workers
from ipfsreg.registry.registry import OnIpfs, Registry
from ipfsreg.registry.runtime import Runtime
from ipfsreg.registry.visibility import Visibility
from tests.bucket.encrypted.keys import FIXED, own_key
from tests.bucket.kubo.simulated_bucket import PumpedClock, SimulatedKuboBucket, StoredNode

from .place import Place, pause

P = ParamSpec("P")
T = TypeVar("T")


async def _known() -> None:
    """The keys are those of the tests."""


class EncryptedPlace(Place):
    """As `Place`, encrypted."""

    async def start(self, *, shared: bool = False) -> Place:
        plain = self.below(shared)
        backend = encrypted_backend(plain, lambda: own_key(FIXED), FIXED, _known, self.workers, self.directory)
        self.bucket = backend.bucket
        self.registry = Registry(
            self.bucket,
            self.directory,
            Runtime(self.workers, self.clock),
            self.limits,
            OnIpfs(backend.ipfs, False, False, Visibility(encrypted=backend.encrypted)),
        )
        await self.registry.start()
        return self

    def below(self, shared: bool) -> Opened:
        """What is encrypted."""
        below = LocalBucket(self.directory, self.workers)
        below.shared = shared
        return Opened(below, ipfs=Capabilities(list_top=None if shared else below.list_top))


class _CountingWorkers(Workers):
    """``busy`` says how much they have to do."""

    def __init__(self, threads: int) -> None:
        super().__init__(reactor, threads)
        self.busy = 0

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Deferred[T]":
        self.busy += 1

        def done(result: Any) -> Any:
            self.busy -= 1
            return result

        return super().run(function, *args, **kwargs).addBoth(done)


class EncryptedKuboPlace(EncryptedPlace):
    """As `EncryptedPlace`, on a simulated node whose blocks are in a file of the directory."""

    def __init__(self, directory: Path, **limits: Any) -> None:
        super().__init__(directory, **limits)
        self.workers = self._counting = _CountingWorkers(8)
        self.workers.startService()
        self._passing = PumpedClock(lambda: self._counting.busy > 0)

    def below(self, shared: bool) -> Opened:
        clock = self._passing
        self.node = StoredNode(self.directory / "node", clock, self.step)
        clock.start()
        clocks = Clocks(clock, clock.seconds, clock.seconds)
        bucket = SimulatedKuboBucket(self.node, self.directory, self.workers, clocks)
        return Opened(bucket, ipfs=Capabilities(ahead=bucket.ahead))

    async def settle(self) -> None:
        while self._counting.busy:
            await pause()

    async def stop(self) -> None:
        await super().stop()
        self._passing.stop()

    def end(self) -> None:
        super().end()
        self._passing.stop()
