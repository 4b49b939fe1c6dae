"""The changes of a bucket on a node: what waits becomes one batch, and each batch a new state that is pinned.

So every reader sees a state as a whole; what was acknowledged is below a pin, which no garbage collection touches; and
a pin that succeeded says that every block was there, which nothing else does without a trailer.
"""

from collections.abc import Awaitable, Callable, Container, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, TimeoutError, ensureDeferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipfsreg.bucket.errors import BucketError, Corrupt, Refused, Unavailable
from ipfsreg.bucket.kubo.errors import RETRY_AFTER, Missing, Unreachable
from ipfsreg.bucket.kubo.node.directories import Directories
from ipfsreg.bucket.kubo.node.markers import Markers
from ipfsreg.bucket.kubo.node.node import Node
from ipfsreg.flow.single_flight import SingleFlight
from ipfsreg.flow.workers import Workers
from ipfsreg.ipfs.cid import DAG_PB, cid_of, parse_cid
from ipfsreg.ipfs.unixfs import encode_directory

from .changes import Change
from .draft import Draft
from .notes import Notes
from .register import Register, uptime
from .replacing import NOBODY_HELPS, SLOWEST, Replacement
from .states import MARK, Overtaken, State

BATCH = 64
"""Changes in one batch at most."""

GATHER_SECONDS = 0.002
TRIES = 4

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
        seconds: Callable[[], float] = uptime,
    ) -> None:
        self._node = node
        self._directories = directories
        self._workers = workers
        self._reactor = reactor
        self._shown = shown
        self._counts = counts
        self._notes = Notes(file, path, workers)
        self._register = Register(
            node, markers, directories, path, lambda: self._notes.owner, self._begin, reactor, seconds
        )
        self._queue: list[Change] = []
        self._running: Deferred[None] | None = None
        self._through: Deferred[None] | None = None
        self._current: SingleFlight[State] = SingleFlight(self._register.current)
        self._replacement = Replacement(node, directories, self._register, self._notes, reactor)
        self._stopped = False

    async def open(self) -> None:
        """Find the state that counts, or make the first one.

        :raises BucketError: where the node does not let us.
        """
        await self._notes.read()
        if self._notes.turn is not None and self._running is None:
            self._register.resume(self._notes.turn)
        state = self._known(await self._register.current())
        if self._notes.root != state.root:
            self._notes.root, self._notes.number = state.root, state.number
            await self._notes.write()
        self._counts(state.root)

    async def renew(self) -> None:
        """Tell other daemons that this one still changes the bucket: now and then."""
        await self._register.renew()

    def _known(self, state: State) -> State:
        """A state, unless it is older than one that this daemon has seen counting."""
        # A marker that was put up anew has a number that is one higher than the state's own.
        if state.number + 1 < self._notes.number:
            self._register.forget()
            raise Unavailable(
                f"the node has the bucket as it was at {_when(state.number)}, and this daemon knows of a state of "
                f"{_when(self._notes.number)}: was the node restored from a copy, or does this peer of a cluster not "
                f"know of the newest pins? To go on with what it has, remove {self._notes.file} while the daemon is "
                "stopped",
                NOBODY_HELPS,
            )
        return state

    async def keep_pinned(self, cid: str) -> None:
        """Note something that is about to be pinned, and is not to stay so: until `let_go`, or else a later change."""
        await self._replacement.note(cid)

    async def let_go(self, cid: str) -> None:
        """Unpin it; where that fails it is done with a later change."""
        await self._replacement.unpin(cid)

    async def stop(self) -> None:
        """Give up what waits, and soon what is under way."""
        self._stopped = True
        self._replacement.stop()
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
        return self._known(await self._current.outcome()).root

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
                failed = await self._committed(batch)
            except BaseException:
                _finish(batch, dict.fromkeys(batch, _stopping()))
                raise
            # What was asked before may be answered by what was before.
            self._current = SingleFlight(self._register.current)
            _finish(batch, failed)

    async def _committed(self, batch: Sequence[Change]) -> dict[Change, Failure]:
        try:
            return await self._commit(batch)
        except (Corrupt, Refused) as error:
            if len(batch) == 1:
                return {batch[0]: Failure(error)}
        except BucketError as error:
            return dict.fromkeys(batch, Failure(error))
        # One of them cannot be made, which is no concern of the others.
        failed: dict[Change, Failure] = {}
        for change in batch:
            failed |= await self._committed([change])
        return failed

    async def _commit(self, batch: Sequence[Change]) -> dict[Change, Failure]:
        began = old = await self._register.take()
        failed: dict[Change, Failure] = {}
        lost: set[Change] = set()
        try:
            self._known(old)
            for attempt in range(TRIES):
                self._register.check()
                draft = await self._drafted(batch, old, failed, lost)
                if not draft.changed:
                    break
                made = [change for change in batch if change not in failed]
                new = await self._replacement.replace(old, draft, made, lost, again=attempt > 0)
                if new is not None:
                    self._register.see(new)
                    old = new
                    break
            else:
                raise Unavailable(
                    "the node loses what is stored: is garbage being collected all the time?", RETRY_AFTER
                )
        except BaseException as error:
            if isinstance(error, BucketError) and not isinstance(error, Unreachable):
                with suppress(BucketError):
                    await self._put_back(old)
            else:
                self._register.lose(sure=not isinstance(error, Overtaken))
            self._replacement.doubt()
            raise
        await self._register.put(old)
        self._counts(old.root)
        if old is not began:
            await self._replacement.settle(old)
            self._notes.root, self._notes.number, self._notes.turn = old.root, old.number, None
            try:
                await self._notes.write()
            except BucketError as error:
                self._log.error("{file} is not written: {error}", file=self._notes.file, error=error)
        return failed

    async def _put_back(self, state: State) -> None:
        """Let a state count again that could not be replaced, unless it was: by a call that had been given up."""
        try:
            # In a cluster it stays pinned, and this peer may not know of it yet.
            pinned = self._node.cluster or await self._node.is_pinned(state.root)
        except BaseException:
            self._register.lose()
            raise
        if pinned:
            await self._register.put(state)
            self._notes.turn = None
            await self._notes.write()
        else:
            self._register.lose()

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
        if self._node.cluster:
            await self._node.pin(str(root))
            return State(0, str(root))
        await self._replacement.note(str(root))
        # While a node walks what it pins, it looks on its network for what is missing, and pins nothing else.
        await self._node.put_blocks(blocks[-1:], pin=True)
        await self._node.put_blocks(blocks)
        if not await self._node.is_whole(str(root)):
            await self._replacement.unpin(str(root))
            raise Missing(f"the node has lost a part of {root}", RETRY_AFTER)
        if any(state.root != str(root) for state in await self._register.pinned()):
            await self._replacement.unpin(str(root))
            raise Overtaken("another daemon has begun the bucket", RETRY_AFTER)
        return State(0, str(root))


def _when(number: int) -> str:
    """A state's number, as a time that says something to people."""
    return datetime.fromtimestamp(number / 1000, UTC).isoformat(" ", "seconds") if number > 1 else "its beginning"


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
