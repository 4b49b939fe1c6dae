"""The changes of a bucket on a node: what waits becomes one batch, and each batch a new state that is pinned.

So every reader sees a state as a whole; what was acknowledged is below a pin, which no garbage collection touches; and
a pin that succeeded says that every block was there, which nothing else does without a trailer.
"""

from collections.abc import Awaitable, Callable, Container, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, TimeoutError, ensureDeferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...ipfs.cid import DAG_PB, cid_of, parse_cid
from ...ipfs.dag_pb import Link as Entry
from ...ipfs.directory import encode_directory
from ...ipfs.hamt import Block
from ...workers import Workers
from ..errors import BucketError, Unavailable
from ..shared_work import SharedWork
from .changes import Change
from .directories import Directories
from .draft import Draft
from .errors import RETRY_AFTER, GaveUp, Missing, NotPinned, Unreachable
from .markers import Markers
from .node import Node
from .notes import Notes
from .register import MARK, NOBODY_HELPS, Register, State
from .settling import Settling

BATCH = 64
"""Changes in one batch at most."""

GATHER_SECONDS = 0.002
TRIES = 4

LOOK_SECONDS = 3.0
"""How long an online node may look for a block that it lacks, before we look ourselves what is missing."""

CAREFUL_SECONDS = 60.0
"""After blocks were lost beside a change, for so long others are protected at once: it takes two more pins each."""

SLOWEST = 20 * 1024**2
"""Bytes a second that a node reads at least, where it is slow."""

STOP_SECONDS = 1.0
"""How long what is under way may hold up a stop, so that it leaves nothing for others to wait for."""


class Index:
    """See the module. ``file`` is for what this daemon has to know when it starts again.

    ``shown`` answers the CID of a directory to begin with where the bucket was never there, or None. ``counts`` is told
    each state that counts.
    """

    _log = Logger()

    def __init__(
        self,
        node: Node,
        markers: Markers,
        directories: Directories,
        path: str,
        file: Path,
        workers: Workers,
        reactor: Any,
        *,
        shown: Callable[[], Awaitable[str | None]],
        counts: Callable[[str], None],
    ) -> None:
        self._node = node
        self._directories = directories
        self._workers = workers
        self._reactor = reactor
        self._shown = shown
        self._counts = counts
        self._register = Register(node, markers, directories, path, self._begin, reactor)
        self._notes = Notes(file, path, workers)
        self._settling = Settling(node, self._notes, reactor)
        self._queue: list[Change] = []
        self._running: Deferred[None] | None = None
        self._through: Deferred[None] | None = None
        self._current: SharedWork[State] = SharedWork(self._register.current)
        self._careful_until = 0.0
        self._stopped = False

    async def open(self) -> None:
        """Find the state that counts, or make the first one.

        :raises BucketError: where the node does not let us.
        """
        await self._notes.read()
        await self._register.open(self._notes.owner, self._notes.number)
        state = await self._register.current()
        if self._notes.root != state.root:
            self._notes.root, self._notes.number = state.root, state.number
            await self._notes.write()
        if self._node.cluster:
            for left in self._notes.unsettled - {state.root}:
                self._settling.replaced(left)
        self._counts(state.root)

    async def stop(self) -> None:
        """Give up what waits, and soon what is under way."""
        self._stopped = True
        self._settling.stop()
        queue, self._queue = self._queue, []
        _finish(queue, dict.fromkeys(queue, _stopping()))
        if self._running is not None:
            self._through = Deferred()
            late = self._reactor.callLater(STOP_SECONDS, self._running.cancel)
            await self._through
            if late.active():
                late.cancel()
        with suppress(BucketError, TimeoutError):
            await ensureDeferred(self._register.close()).addTimeout(STOP_SECONDS, self._reactor)

    async def root(self) -> str:
        """The CID of the state that counts now. All who ask at the same time share an answer."""
        return (await self._current.outcome()).root

    def change(self, change: Change) -> "Deferred[None]":
        """Have a change made in the next batch; fires when it is durable.

        Where that takes too long it is `Unavailable`, and may still be made later.
        """
        if self._stopped:
            change.done.errback(_stopping())
            return change.done
        self._queue.append(change)
        seconds = 2 * self._node.content.timeout + change.size / SLOWEST
        late = self._reactor.callLater(seconds, self._late, change)
        if self._running is None:
            self._running = ensureDeferred(self._run())
            self._running.addBoth(self._ended)

        def ended(result: None | Failure) -> None | Failure:
            if late.active():
                late.cancel()
            return result

        return change.done.addBoth(ended)

    def _late(self, change: Change) -> None:
        if change in self._queue:
            self._queue.remove(change)
        if not change.done.called:
            change.done.errback(Failure(Unavailable("the node does not answer in time", RETRY_AFTER)))

    def _ended(self, result: None | Failure) -> None:
        self._running = None
        if isinstance(result, Failure) and not result.check(CancelledError):
            self._log.failure("A change of the bucket ended in an unforeseen way", result)
        queue, self._queue = self._queue, []
        _finish(queue, dict.fromkeys(queue, _stopping()))
        if self._through is not None:
            self._through.callback(None)

    async def _run(self) -> None:
        while self._queue:
            await deferLater(self._reactor, GATHER_SECONDS, lambda: None)
            batch, self._queue = self._queue[:BATCH], self._queue[BATCH:]
            try:
                failed = await self._commit(batch)
            except BucketError as error:
                failed = dict.fromkeys(batch, Failure(error))
            except BaseException:
                _finish(batch, dict.fromkeys(batch, _stopping()))
                raise
            # What was asked before may be answered by what was before.
            self._current = SharedWork(self._register.current)
            _finish(batch, failed)

    async def _commit(self, batch: Sequence[Change]) -> dict[Change, Failure]:
        old = await self._register.take()
        failed: dict[Change, Failure] = {}
        lost: set[Change] = set()
        try:
            await self._settling.settle(old.root)
            for attempt in range(TRIES):
                self._register.check()
                draft = await self._drafted(batch, old, failed, lost)
                if not draft.changed:
                    break
                new, blocks = await self._built(draft, old)
                made = [change for change in batch if change not in failed]
                if not self._node.cluster and (attempt or self._reactor.seconds() < self._careful_until):
                    done = await self._replaced_protected(old, new, blocks, made, lost)
                else:
                    done = await self._replaced(old, new, blocks, sum(change.size for change in made))
                if done:
                    self._register.see(new)
                    old = new
                    break
                self._careful_until = self._reactor.seconds() + CAREFUL_SECONDS
            else:
                raise Unavailable(
                    "the node loses what is stored: is garbage being collected all the time?", RETRY_AFTER
                )
        except BaseException as error:
            if isinstance(error, BucketError) and not isinstance(error, Unreachable):
                with suppress(BucketError):
                    await self._register.put(old)
            else:
                self._register.lose()
            raise
        await self._register.put(old)
        self._notes.root, self._notes.number = old.root, old.number
        self._notes.unsettled.discard(old.root)
        if self._node.cluster:  # it is to be known even where the peer with the marker is lost
            await self._notes.write()
        self._counts(old.root)
        return failed

    async def _drafted(
        self, batch: Sequence[Change], old: State, failed: dict[Change, Failure], lost: Container[Change]
    ) -> Draft:
        draft = Draft(self._directories, old.cid, self._workers)
        for change in batch:
            if change in failed:
                continue
            take_back = draft.checkpoint()
            try:
                await change.make(draft, lost=change in lost)
            except BucketError as error:
                take_back()
                failed[change] = Failure(error)
        return draft

    async def _built(self, draft: Draft, old: State) -> tuple[State, Sequence[Block]]:
        number = self._register.number_after(old)
        await draft.link(MARK, self._register.mark(number))
        root, blocks = await draft.blocks()
        self._notes.unsettled |= {str(root), *([old.root] if self._node.cluster else ())}
        await self._notes.write()
        return State(number, str(root)), blocks

    async def _replaced(self, old: State, new: State, blocks: Sequence[Block], size: int) -> bool:
        """Store a state and pin it in place of the last one; answers whether the node had all that it takes."""
        await self._node.put_blocks(blocks)
        try:
            await self._node.move_pin(old.root, new.root, LOOK_SECONDS + size / SLOWEST)
        except GaveUp as error:
            self._log.info("A change is made again, since blocks may be lost: {error}", error=error)
            return await self._node.is_pinned(new.root)
        except Missing as error:
            self._log.info("A change is made again, since blocks are lost: {error}", error=error)
            return False
        except NotPinned:  # somebody unpinned it, or the peer of a cluster does not know of it yet
            await self._node.pin(new.root)
        if self._node.cluster:
            self._settling.replaced(old.root)
        return True

    async def _replaced_protected(
        self, old: State, new: State, blocks: Sequence[Block], made: Sequence[Change], lost: set[Change]
    ) -> bool:
        """As `_replaced`, where garbage is collected beside us, or the last state has lost a block itself.

        A block that leads to the new state is pinned first, and with it all that is below it: the node does not look
        whether that is there. So it is looked for here: ``lost`` takes the changes whose content is not. It is looked
        for before as well, since while something pinned is not whole the node collects nothing, and complains.
        """
        if await self._lost(made, lost):
            return False
        above = encode_directory([Entry(new.cid, "state", 0)])
        cid = cid_of(DAG_PB, above)
        self._notes.unsettled.add(str(cid))
        await self._notes.write()
        await self._node.put_blocks(blocks)
        await self._node.put_blocks([(cid, above)], pin=True)
        try:
            await self._node.put_blocks(blocks)
            if await self._lost(made, lost):
                return False
            await self._node.put_blocks(blocks[-1:], pin=True)
            await self._settling.unpin(old.root)
        finally:
            await self._settling.unpin(str(cid))
        return True

    async def _lost(self, made: Sequence[Change], lost: set[Change]) -> bool:
        missing = {
            change
            for change in made
            if change.content is not None and not await self._node.is_whole(str(change.content))
        }
        lost |= missing
        return bool(missing)

    async def _begin(self) -> State:
        known = self._notes.root
        if known is not None:
            if await self._node.is_pinned(known):  # of an earlier version, which put no mark into it
                return State(0, known)
            raise Unavailable(
                f"the node has no pin of {known}, the state of the bucket that this daemon knows, nor of a later "
                f"one; is it another node? To begin anew, remove {self._notes.file}",
                NOBODY_HELPS,
            )
        empty = encode_directory([])
        shown = await self._shown()
        top = cid_of(DAG_PB, empty)
        await self._node.put_blocks([(top, empty)])
        draft = Draft(self._directories, top if shown is None else parse_cid(shown), self._workers)
        await draft.link(MARK, self._register.mark(0))
        root, blocks = await draft.blocks()
        await self._node.put_blocks(blocks)
        await self._node.pin(str(root))
        return State(0, str(root))


def _stopping() -> Failure:
    return Failure(Unavailable("the daemon is stopping"))


def _finish(batch: Sequence[Change], failed: dict[Change, Failure]) -> None:
    for change in batch:
        if change.done.called:
            continue
        if change in failed:
            change.done.errback(failed[change])
        else:
            change.done.callback(None)
