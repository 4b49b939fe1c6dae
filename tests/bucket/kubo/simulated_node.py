"""A node in memory that does what it is asked in small steps, so that a test can choose what comes between any two.

It does to pins and blocks what Kubo does: boxo's ``pinning/pinner/dspinner`` and ``ipld/merkledag/dagutils``,
Kubo's ``core/coreapi`` and ``gc``. Changes of pins are shut out while garbage is collected, and while somebody waits
to; blocks are stored at any time.
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from functools import lru_cache
from itertools import count
from types import SimpleNamespace
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from ipfsreg.bucket.errors import BucketError, Unavailable, Unreachable
from ipfsreg.bucket.kubo.errors import AlreadyPinned, GaveUp, Missing, NotPinned
from ipfsreg.bucket.kubo.node.directories import Directories
from ipfsreg.bucket.kubo.node.node import PIN_PATIENCE, WALK_SECONDS
from ipfsreg.bucket.kubo.reading.contents import Child
from ipfsreg.bucket.kubo.state.states import MARK, BucketState
from ipfsreg.ipfs import cid as cids
from ipfsreg.ipfs.cid import CID, DAG_PB, IDENTITY, RAW, inline_content
from ipfsreg.ipfs.dag_pb import decode_node
from ipfsreg.ipfs.hamt import Block
from ipfsreg.ipfs.unixfs import DIRECTORY, decode_unixfs

Choose: TypeAlias = Callable[[int], int]
"""A number from 0 up to, and without, another one."""

Steps: TypeAlias = Generator[Callable[[], bool] | None, None, Any]
"""What the node does for a call: between two steps anything may happen, until what is yielded is true."""

TIMEOUT = 10.0

parse_cid = lru_cache(10_000)(cids.parse_cid)
"""Most of the time goes into this one."""


class Call:
    """A call that is under way. ``done`` is whom to tell, or None where nobody waits for it (any more)."""

    def __init__(self, what: str, steps: Steps, done: "Deferred[Any] | None", owner: object = None) -> None:
        self.what = what
        self.done = done
        self.owner = owner
        self.ended = False
        self._steps = steps
        self._until: Callable[[], bool] | None = None
        self._result: Any = None

    @property
    def ready(self) -> bool:
        """Whether there is anything to do: the next step, or to tell how it ended."""
        return self.ended or self._until is None or self._until()

    def step(self) -> None:
        """Do it."""
        if self.ended:
            done, self.done = self.done, None
            if done is not None:
                done.callback(self._result)
            return
        try:
            self._until = next(self._steps)
        except StopIteration as end:
            self.ended, self._result = True, end.value
        except BucketError as error:
            self.ended, self._result = True, Failure(error)

    def __str__(self) -> str:
        if not self.ended:
            return self.what
        error = isinstance(self._result, Failure)
        return f"{self.what} ends" + (f": {self._result.value}" if error else "")

    def drop(self) -> None:
        """Do nothing more of it."""
        self._steps.close()
        self.ended = True


class SimulatedNode:
    """What it has and does. ``calls`` are those that daemons wait for, ``late`` those that they have given up."""

    def __init__(self, clock: Clock, choose: Choose, *, online: bool) -> None:
        self.clock = clock
        self.online = online
        self.blocks: dict[CID, bytes] = {}
        self.recursive: dict[str, int] = {}
        """Each pin has a number: one that is made anew is another one."""
        self.direct: dict[str, None] = {}
        self.calls: list[Call] = []
        self.late: list[Call] = []
        self._choose = choose
        self._numbers = count()
        self._pinning = 0
        self._wants_to_collect = False
        self._collecting = False
        self._links: dict[CID, list[CID]] = {}

    def _may_pin(self) -> bool:
        return not (self._wants_to_collect or self._collecting)

    def has(self, cid: CID) -> bool:
        """Whether a block is there."""
        return cid.hash_code == IDENTITY or cid in self.blocks

    def links(self, cid: CID) -> list[CID]:
        """What a block leads to."""
        if cid.codec != DAG_PB:
            return []
        if cid not in self._links:
            self._links[cid] = [link.cid for link in decode_node(self.blocks[cid]).links]
        return self._links[cid]

    def below(self, roots: Iterable[CID], seen: set[CID] | None = None) -> tuple[set[CID], CID | None]:
        """All that roots lead to, with them, up to the first block that is missing, which is the second."""
        seen = set() if seen is None else seen
        left = list(roots)
        while left:
            cid = left.pop()
            if cid in seen:
                continue
            if not self.has(cid):
                return seen, cid
            seen.add(cid)
            left += self.links(cid)
        return seen, None

    def states(self) -> list[BucketState]:
        """All states that are pinned, but for those that came late and are not whole, where there are others."""
        states = sorted(state for state in map(self._state_of, self.recursive) if state is not None)
        while len(states) > 1 and self.below([states[-1].cid])[1] is not None:
            states.pop()
        return states

    def _state_of(self, root: str) -> BucketState | None:
        """The state that a pinned directory is, by its mark."""
        cid = parse_cid(root)
        if cid.codec != DAG_PB or cid not in self.blocks:
            return None
        for link in decode_node(self.blocks[cid]).links:
            text = inline_content(link.cid) if link.name == MARK else None
            if text is not None:
                return BucketState(int(text.split()[2]), root)
        return None

    def files(self, root: str) -> dict[str, CID]:
        """The files of a state, by their paths."""
        found: dict[str, CID] = {}
        left = [("", parse_cid(root))]
        while left:
            above, directory = left.pop()
            for link in decode_node(self.blocks[directory]).links:
                path = f"{above}{link.name}"
                if self.is_directory(link.cid):
                    left.append((f"{path}/", link.cid))
                elif path != MARK:
                    found[path] = link.cid
        return found

    def is_directory(self, cid: CID) -> bool:
        return cid.codec == DAG_PB and decode_unixfs(decode_node(self.blocks[cid]).data).kind == DIRECTORY

    def content(self, cid: CID) -> bytes:
        """What is in a file."""
        if cid.hash_code == IDENTITY:
            return cid.hash
        if cid not in self.blocks:
            raise Missing(f"{cid} is missing")
        return self.blocks[cid] if cid.codec == RAW else b"".join(map(self.content, self.links(cid)))

    def _lacking(self, old: CID, new: CID) -> CID | None:
        """As ``DiffEnumerate``: what is missing of what the one has and the other has not."""
        for cid in (old, new):
            if not self.has(cid):
                return cid
        before, after = self.links(old), self.links(new)
        gone = iter([cid for cid in before if cid not in after])
        came = [(next(gone, None), cid) for cid in after if cid not in before]
        seen = {before for before, _ in came if before is not None}
        for replaced, cid in came:
            lacking = self.below([cid], seen)[1] if replaced is None else self._lacking(replaced, cid)
            if lacking is not None:
                return lacking
        return None

    def _pin(self, cid: str) -> None:
        self.direct.pop(cid, None)
        self.recursive[cid] = next(self._numbers)

    def put(self, blocks: Sequence[Block]) -> Steps:
        """``block/put``"""
        for cid, content in blocks:
            yield None
            self.blocks[cid] = content

    def put_pinned(self, blocks: Sequence[Block]) -> Steps:
        """``block/put`` with ``pin``: nothing is walked."""
        for cid, content in blocks:
            yield self._may_pin
            self.blocks[cid] = content
            self._pin(str(cid))

    def get(self, cid: CID) -> Steps:
        """``block/get``"""
        yield None
        if not self.has(cid):
            raise Missing(f"{cid} is missing")
        return self.blocks[cid]

    def cat(self, cid: CID) -> Steps:
        """``cat``"""
        yield None
        return self.content(cid)

    def ls(self, cid: CID) -> Steps:
        """``ls``"""
        yield None
        if not self.has(cid):
            raise Missing(f"{cid} is missing")
        return [
            Child(link.name, str(link.cid), self.is_directory(link.cid)) for link in decode_node(self.blocks[cid]).links
        ]

    def is_whole(self, cid: CID) -> Steps:
        """``files/stat`` with ``with-local``"""
        yield None
        return self.below([cid])[1] is None

    def list_pins(self, kind: str) -> Steps:
        """``pin/ls``"""
        yield None
        return list(self.recursive if kind == "recursive" else self.direct)

    def pin_direct(self, cid: str) -> Steps:
        """``pin/add`` of one block"""
        yield self._may_pin
        if cid in self.recursive:
            raise AlreadyPinned(cid)
        self.direct[cid] = None

    def pin(self, cid: str) -> Steps:
        """``pin/add``, recursively"""
        yield self._may_pin
        self._pinning += 1
        try:
            self.recursive.pop(cid, None)
            yield from self._wait(lambda: self.below([parse_cid(cid)])[1], WALK_SECONDS)
            self._pin(cid)
        finally:
            self._pinning -= 1

    def unpin(self, cid: str) -> Steps:
        """``pin/rm``"""
        yield self._may_pin
        if cid not in self.recursive and cid not in self.direct:
            raise NotPinned(cid)
        self.recursive.pop(cid, None)
        self.direct.pop(cid, None)

    def move_pin(self, old: str, new: str, seconds: float) -> Steps:
        """``pin/update``"""
        yield self._may_pin
        pinned = self.recursive.get(old)
        if pinned is None:
            raise NotPinned(old)
        if new in self.recursive:
            raise AlreadyPinned(new)
        self._pinning += 1
        try:
            before, after = parse_cid(old), parse_cid(new)
            yield from self._wait(lambda: self._lacking(before, after), seconds)
            if self.recursive.get(old) != pinned:
                raise Unavailable("datastore: key not found")
            self._pin(new)
            del self.recursive[old]
        finally:
            self._pinning -= 1

    def _wait(self, lacking: Callable[[], CID | None], seconds: float) -> Steps:
        """Look for what is missing, if the node has anywhere to look for it."""
        until = self.clock.seconds() + seconds
        while (missing := lacking()) is not None:
            if not self.online:
                raise Missing(f"{missing} is missing")
            if self.clock.seconds() >= until:
                raise GaveUp(f"nobody has {missing}")
            self.clock.callLater(until - self.clock.seconds(), lambda: None)  # something to wait for
            yield lambda: lacking() is None or self.clock.seconds() >= until
        yield None

    def collect(self) -> Steps:
        """``repo/gc``"""
        if self._wants_to_collect or self._collecting:
            return
        self._wants_to_collect = True
        try:
            yield lambda: not self._pinning
            self._wants_to_collect, self._collecting = False, True
            needed, missing = self.below(map(parse_cid, self.recursive))
            if missing is not None:
                return
            yield None
            while garbage := [cid for cid in self.blocks if cid not in needed]:
                for _ in range(1 + self._choose(len(garbage))):
                    del self.blocks[garbage.pop(self._choose(len(garbage)))]
                yield None
        finally:
            self._wants_to_collect = self._collecting = False

    def kill(self) -> list[Call]:
        """Forget what is under way; what is on the disk stays. Answers what daemons wait for."""
        calls, self.calls = self.calls, []
        for call in calls:
            call.drop()
        return calls


class NoThreads:
    """As `Workers`, at once."""

    def run(self, function: Callable[..., Any], *args: Any) -> "Deferred[Any]":
        return succeed(function(*args))


class Connection:
    """A daemon's way to the node, as `Node`. Once it is cut, nothing is asked and nothing answered any more."""

    cluster = False
    patience = PIN_PATIENCE * TIMEOUT

    def __init__(self, node: SimulatedNode, reactor: Any) -> None:
        self.node = node
        self.content = SimpleNamespace(timeout=TIMEOUT)
        self.is_cut = False
        workers: Any = NoThreads()
        self.directories = Directories(self.get_block, workers)
        self._reactor = reactor

    async def _call(self, what: str, steps: Steps, seconds: float = TIMEOUT) -> Any:
        if self.is_cut:
            raise Unreachable("the daemon is dead")
        done: Deferred[Any] = Deferred(lambda _: self.give_up(call))
        call = Call(what, steps, done, self)
        self.node.calls.append(call)
        late = self._reactor.callLater(seconds, self.give_up, call)
        try:
            return await done
        finally:
            if late.active():
                late.cancel()

    def give_up(self, call: Call) -> None:
        """No answer has come; the node may still do it."""
        done, call.done = call.done, None
        if call in self.node.calls:
            self.node.calls.remove(call)
            if not call.ended:
                self.node.late.append(call)
        if done is not None and not self.is_cut:
            done.errback(Failure(Unreachable("no answer")))

    async def put_blocks(self, blocks: Sequence[Block], *, pin: bool = False) -> None:
        for codec in (RAW, DAG_PB):
            some = [block for block in blocks if block[0].codec == codec]
            if some and pin:
                await self._call("block/put, pinned", self.node.put_pinned(some), self.patience)
            elif some:
                await self._call("block/put", self.node.put(some))

    async def get_block(self, cid: CID) -> bytes:
        block: bytes = await self._call("block/get", self.node.get(cid))
        return block

    async def is_whole(self, cid: str, seconds: float | None = None) -> bool:
        return bool(await self._call("files/stat", self.node.is_whole(parse_cid(cid)), seconds or TIMEOUT))

    async def pin(self, cid: str) -> None:
        if not await self.is_whole(cid, WALK_SECONDS):
            raise Missing(f"the node has lost a part of {cid}")
        await self._call("pin/add", self.node.pin(cid), WALK_SECONDS)

    async def pin_direct(self, cid: str) -> None:
        await self._call("pin/add, direct", self.node.pin_direct(cid), self.patience)

    async def move_pin(self, old: str, new: str, seconds: float) -> None:
        await self._call("pin/update", self.node.move_pin(old, new, seconds), self.patience + seconds)

    async def unpin(self, cid: str) -> None:
        await self._call("pin/rm", self.node.unpin(cid), self.patience)

    async def is_pinned(self, cid: str, kind: str = "recursive") -> bool:
        return cid in await self.pins(kind)

    async def pins(self, kind: str) -> list[str]:
        found: list[str] = await self._call("pin/ls", self.node.list_pins(kind))
        return found
