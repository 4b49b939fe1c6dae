"""A daemon's commits to a bucket, on a simulated node: it can be killed, and started again."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from ipfsreg.bucket.errors import BucketError, NotFound, Unavailable
from ipfsreg.bucket.kubo.node.markers import PinMarkers
from ipfsreg.bucket.kubo.node.node import Target
from ipfsreg.bucket.kubo.state.changes import Change, Link, Move, Remove, Store
from ipfsreg.bucket.kubo.state.commits import Commits
from ipfsreg.bucket.kubo.state.notes import Notes
from ipfsreg.bucket.kubo.state.presence import Clocks
from ipfsreg.bucket.kubo.state.signing import Signing
from ipfsreg.flow.single_flight import SingleFlight
from ipfsreg.ipfs.cid import CID, DAG_PB, RAW, cid_of
from ipfsreg.ipfs.dag_pb import PBLink, PBNode, encode_node
from ipfsreg.ipfs.unixfs import FILE, UnixFS, encode_unixfs

from .history import Write
from .simulated_node import Call, Connection, parse_cid

if TYPE_CHECKING:
    from .simulation import Simulation

FOLDER = "/ipfsreg"

SHARED = ("a", "d/b", "d/e/c")
"""Paths that all daemons change."""


class Violation(AssertionError):
    """Something happened that must not."""


class MemoryFile:
    """A file of the disk that is always there, as `JsonFile`."""

    path = Path("kubo.json")

    def __init__(self, files: dict[str, dict[str, Any]]) -> None:
        self._files = files

    async def read(self) -> dict[str, Any]:
        return self._files.get(self.path.name, {})

    async def write(self, document: dict[str, Any]) -> None:
        self._files[self.path.name] = document

    async def written(self) -> None:
        """It is written at once."""


class HiddenFolder:
    """As `ShownFolder`, where nothing is shown."""

    async def cid(self) -> None:
        return None

    def show(self, root: str) -> None:
        """Nobody looks."""

    def stop(self) -> None:
        """Nothing is under way."""


class Mortal:
    """A reactor of one daemon: when it is dead, nothing happens any more."""

    def __init__(self, clock: Clock) -> None:
        self.seconds = clock.seconds
        self._clock = clock
        self._calls: list[IDelayedCall] = []
        self._buried: list[Any] = []
        """What a coroutine waits for is kept: to forget it would be to tell it of the end."""

    def callLater(self, seconds: float, call: Callable[..., Any], *args: Any, **named: Any) -> IDelayedCall:
        later: IDelayedCall = self._clock.callLater(seconds, call, *args, **named)
        self._calls.append(later)
        return later

    def die(self) -> None:
        for call in self._calls:
            if call.active():
                self._buried.append((call.func, call.args))  # type: ignore[attr-defined]
                call.cancel()


class Daemon:
    """One daemon: its disk stays when it is killed."""

    def __init__(self, simulation: "Simulation", name: int) -> None:
        self.name = name
        self.alive = False
        self.busy = 0
        self._simulation = simulation
        self._files: dict[str, dict[str, Any]] = {}
        self._own: list[str] = []

    def start(self) -> None:
        simulation = self._simulation
        self.busy = 0
        self._reactor = Mortal(simulation.clock)
        self._connection = Connection(simulation.node, self._reactor)
        node: Any = self._connection
        shown: Any = HiddenFolder()
        file: Any = MemoryFile(self._files)
        notes = Notes(file, FOLDER)
        clocks = Clocks(self._reactor, simulation.clock.seconds, simulation.skewed)
        self.commits = Commits(node, PinMarkers(node, FOLDER), notes, shown, clocks, Signing())
        self.alive, self._ready = True, False
        self._opening = SingleFlight(self._open)
        self.spawn(self.read())

    def kill(self, *, forget: bool = False) -> None:
        self.alive = False
        self._connection.is_cut = True
        self._reactor.die()
        self._simulation.buried += [self._reactor, *(call.done for call in self._simulation.node.calls)]
        for call in [call for call in self._simulation.node.calls if call.owner is self._connection]:
            self._connection.give_up(call)
        if forget:
            self._files.clear()

    def owns(self, call: Call) -> bool:
        return call.owner is self._connection

    def spawn(self, work: Coroutine[Any, Any, object]) -> None:
        self.busy += 1
        connection = self._connection

        def ended(result: Any) -> None:
            if connection.is_cut:
                return
            self.busy -= 1
            if isinstance(result, Failure):
                self._simulation.problems.append(result.getTraceback())

        ensureDeferred(work).addBoth(ended)

    async def _open(self) -> None:
        await self.commits.open()
        self._ready = True

    async def _opened(self) -> Commits:
        if not self._ready:
            await self._opening.outcome()
        return self.commits

    async def _changed(self, change: Change) -> None:
        await (await self._opened()).change(change)

    def begin(self, what: int) -> None:
        """Begin some change; there are `CHANGES` kinds."""
        simulation = self._simulation
        fresh = f"{self.name}/{simulation.number()}"
        shared = SHARED[simulation.choose(len(SHARED))]
        if what == 0:
            self.spawn(self.store(fresh))
        elif what == 1:
            self.spawn(self.store(shared))
        elif what == 2:
            self.spawn(self.link(fresh))
        elif what == 3:
            self.spawn(self.link(shared))
        elif what == 4:
            self.spawn(self.remove(shared))
        elif what == 5 and self._own:
            self.spawn(self.move(self._own.pop(), f"moved/{fresh}"))
        else:
            self.spawn(self.read())

    CHANGES = 7

    async def store(self, path: str) -> bool:
        content = f"{self._simulation.number()} of {self.name}".encode()
        change = Store(path, content)
        return await self._watched(change, path, cid_of(RAW, content))

    async def link(self, path: str) -> bool:
        parts = [f"{part} of {self._simulation.number()}".encode() * 20 for part in range(2)]
        leaves = [(cid_of(RAW, part), part) for part in parts]
        sizes = [len(part) for part in parts]
        data = encode_unixfs(UnixFS(FILE, size=sum(sizes), block_sizes=sizes))
        block = encode_node(PBNode([PBLink(cid, "", len(part)) for cid, part in leaves], data))
        root = cid_of(DAG_PB, block)
        for _ in range(3):
            try:
                await self._connection.put_blocks([*leaves, (root, block)])
            except Unavailable:
                return False
            if await self._watched(Link(path, Target(root, len(block) + sum(sizes))), path, root):
                return True
        return False

    async def remove(self, path: str) -> bool:
        return await self._watched(Remove(path), path, None)

    async def move(self, source: str, destination: str) -> bool:
        content = next(w.content for w in self._simulation.history.writes[source] if w.acknowledged)
        simulation = self._simulation
        came = simulation.history.ask(destination, content, simulation.now)
        return await self._watched(Move(source, destination), source, None, came)

    async def _watched(self, change: Any, path: str, content: CID | None, *also: Write) -> bool:
        simulation = self._simulation
        writes = [simulation.history.ask(path, content, simulation.now), *also]
        try:
            await self._changed(change)
        except NotFound:
            for write in writes:
                write.refused = True
            return False
        except BucketError as error:
            simulation.note(f"daemon {self.name}: {path} is not acknowledged: {error}")
            if not isinstance(error, Unavailable):
                raise Violation(f"{type(error).__name__}: {error}") from error
            return False
        finally:
            for write in writes:
                write.told = simulation.tick()
        for write in writes:
            write.acknowledged = True
        simulation.note(f"daemon {self.name}: {path} is acknowledged")
        if content is not None and path.startswith(str(self.name)):
            self._own.append(path)
        simulation.check(f"{path} is acknowledged to {self.name}")
        return True

    async def read(self) -> bool:
        simulation, since = self._simulation, self._simulation.now
        try:
            root = (await (await self._opened()).register.current()).root
        except Unavailable:
            return False
        counting = simulation.counting()
        # It may have been replaced, and collected, while the answer was on its way; and a daemon that holds
        # the lease looks at no pin, though another may hold it as well after markers came late: then its change fails.
        if root in simulation.node.recursive or not self.commits.register.holds_lease:
            if simulation.node.below([parse_cid(root)])[1] is None:
                simulation.check_files(root, since, f"read by {self.name}")
            elif counting is not None and root == counting.root:
                raise Violation(f"{root} is not whole")
        return True
