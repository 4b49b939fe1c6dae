"""All of `KuboBucket` but the wire: its node is a simulated one."""

import pickle
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import IO, Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from ipfsreg.bucket.errors import Corrupt, Unreachable
from ipfsreg.bucket.interface import IReader
from ipfsreg.bucket.kubo.bucket import KuboBucket
from ipfsreg.bucket.kubo.errors import Missing
from ipfsreg.bucket.kubo.node.node import Found, Target
from ipfsreg.bucket.kubo.options import KuboOptions
from ipfsreg.bucket.kubo.reading.by_blocks import ByBlocks
from ipfsreg.bucket.kubo.reading.contents import Child
from ipfsreg.bucket.kubo.reading.tree import NodeTree
from ipfsreg.bucket.kubo.state.presence import Clocks
from ipfsreg.bucket.sources import Source
from ipfsreg.flow.workers import Workers
from ipfsreg.ipfs.cid import raw_cid
from ipfsreg.ipfs.file_dag import PROFILE, FileDag
from ipfsreg.ipfs.hamt import Block
from ipfsreg.registry.content.content_hash import leaves_of
from tests.bucket.scheduled import Scheduler, current_owner

from .simulated_daemon import HiddenFolder
from .simulated_node import TIMEOUT, Call, Connection, SimulatedNode, Steps, parse_cid

CHANGING = frozenset({"add", "block/put", "block/put, pinned", "pin/add", "pin/add, direct", "pin/update", "pin/rm"})
"""The calls that change something."""


class _Wire:
    """What of `Rpc` a bucket asks for where nothing goes over a wire."""

    timeout = TIMEOUT

    async def stop(self) -> None:
        """Nothing is open."""


class BucketNode(Connection):
    """As `Node`, with what a bucket needs to store and read files. Without peers: what is missing is missing."""

    local = True
    chunk = PROFILE.chunk

    def __init__(self, node: SimulatedNode, reactor: Any) -> None:
        super().__init__(node, reactor)
        self.content: Any = _Wire()
        self.index = self.content

    async def look(self) -> None:
        """It is as new as it has to be."""

    async def add(self, source: Source, *, pin: bool = False) -> Target:
        content = b""
        while piece := await source.read(len(content)):
            content += piece
        dag = FileDag(leaves_of(content), len(content))
        blocks: list[Block] = [
            (raw_cid(dag.hash_at(place)), content[slice(*dag.range_at(place))])
            for place in dag.walk(dag.root)
            if not place.level
        ]
        blocks += [(dag.cid_at(place), dag.block(place)) for place in dag.inner_nodes()]
        await self._call("add", self.node.put_pinned(blocks) if pin else self.node.put(blocks))
        return Target(dag.cid, sum(len(block) for _, block in blocks))

    async def cat(self, cid: str) -> bytes:
        content: bytes = await self._call("cat", self.node.cat(parse_cid(cid)))
        return content

    async def ls(self, cid: str) -> Sequence[Child]:
        found: Sequence[Child] = await self._call("ls", self.node.ls(parse_cid(cid)))
        return found

    async def collect(self) -> None:
        """``repo/gc``"""
        await self._call("repo/gc", self.node.collect())


@implementer(IReader)
class _Reader:
    file: IO[bytes] | None = None

    def __init__(self, node: BucketNode, found: Found) -> None:
        self.size: int | None = found.size
        self._node = node
        self._cid = found.cid

    async def pieces(self, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        try:
            content = await self._node.cat(self._cid)
        except Missing as error:
            raise Corrupt(str(error)) from None
        yield content[offset : offset + length]

    def close(self) -> None:
        """Nothing is open."""


class _Contents(ByBlocks):
    def __init__(self, node: BucketNode) -> None:
        super().__init__(node)  # type: ignore[arg-type]
        self._simulated = node

    async def links(self, cid: str) -> Sequence[Child]:
        return await self._simulated.ls(cid)

    async def read(self, cid: str, size: int) -> bytes:
        return await self._simulated.cat(cid)

    async def open(self, found: Found) -> IReader:
        return _Reader(self._simulated, found)


class SimulatedKuboBucket(KuboBucket):
    """A bucket on a simulated node. ``directory`` is its own on this disk."""

    def __init__(self, node: BucketNode, directory: Path, workers: Workers, clocks: Clocks) -> None:
        super().__init__(KuboOptions(directory=directory), node.content, node.content, workers, clocks)
        self.node = node  # type: ignore[assignment]
        self._folder = HiddenFolder()  # type: ignore[assignment]
        NodeTree.__init__(self, _Contents(node), self.root)


class ScheduledNode(BucketNode):
    """Each step of a call, and its answer, is an event of a scheduler."""

    def __init__(self, node: SimulatedNode, reactor: Any, scheduler: Scheduler) -> None:
        super().__init__(node, reactor)
        self._scheduler = scheduler

    async def _call(self, what: str, steps: Steps, seconds: float = TIMEOUT) -> Any:
        done: Deferred[Any] = Deferred()
        call, owner = Call(what, steps, done, self), current_owner.get()

        def go_on() -> None:
            if call.ready:
                call.step()
            if call.done is not None:
                self._scheduler.add(f"node: {call}", go_on, owner)

        self._scheduler.add(f"node: {call}", go_on, owner)
        return await done


class StoredNode(BucketNode):
    """Answers at once, and has what it stores in a file. ``step`` is called before and after each change of it, and may
    fail: the call does not come to the node then, or its answer does not come back.
    """

    def __init__(self, file: Path, clock: "PumpedClock", step: Callable[[str], None]) -> None:
        node = SimulatedNode(clock, lambda _: 0, online=False)
        super().__init__(node, clock)
        self._file = file
        self._step = step
        self._clock = clock
        if file.exists():
            node.blocks, node.recursive, node.direct, seconds = pickle.loads(file.read_bytes())
            clock.advance(max(0.0, seconds - clock.seconds()))

    async def _call(self, what: str, steps: Steps, seconds: float = TIMEOUT) -> Any:
        if what not in CHANGING:
            return self._result(what, steps)
        try:
            self._step(f"node: {what}")
            result = self._result(what, steps)
            self._save()
            self._step(f"node: told of {what}")
        except OSError as error:
            raise Unreachable(f"no answer: {error}") from error
        return result

    def _result(self, what: str, steps: Steps) -> Any:
        call = Call(what, steps, Deferred(), self)
        assert call.done is not None
        done = call.done
        while not done.called:
            assert call.ready, what
            call.step()
        found: list[Any] = []
        done.addBoth(found.append)
        if isinstance(found[0], Failure):
            found[0].raiseException()
        return found[0]

    def _save(self) -> None:
        state = (self.node.blocks, self.node.recursive, self.node.direct, self._clock.seconds())
        with open(self._file, "wb") as file:  # the crash tests count what `pathlib` opens
            pickle.dump(state, file)


class PumpedClock(Clock):
    """Time that passes when nothing else happens: a wait for a lease that was left behind takes no time of the test's.

    ``busy`` says whether threads are at work.
    """

    def __init__(self, busy: Callable[[], bool]) -> None:
        super().__init__()
        self.advance(1000.0)
        self._busy = busy
        self._idle = 0
        self._next: IDelayedCall | None = None

    def start(self) -> None:
        """Let time pass."""
        self._next = reactor.callLater(0, self._pump)

    def stop(self) -> None:
        """Let it stand still."""
        if self._next is not None and self._next.active():
            self._next.cancel()

    def _pump(self) -> None:
        self._next = reactor.callLater(0.0002, self._pump)
        self._idle = 0 if self._busy() else self._idle + 1
        waits = [call.getTime() - self.seconds() for call in self.getDelayedCalls()]
        if waits and (min(waits) < _SHORT or self._idle > _IDLE):
            self.advance(max(0.0, min(waits)))


_SHORT = 0.1
_IDLE = 5
"""So often nothing happened, for a wait that is longer than that."""
