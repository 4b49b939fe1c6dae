"""One commit: changes become a draft, and the draft the state that is pinned in place of the last one.

A commit goes through phases. What may follow what, and what it means if a phase fails:

=========  ==================  =========================================================================================
phase      next                if it fails
=========  ==================  =========================================================================================
take       draft               Nothing has changed. If no answer came, the marker may be gone.
draft      replace, put        A change that cannot be made fails alone. Else as in *replace*.
replace    draft, put          If the node refused, the marker of the last state is put up again, where that is still
                               pinned. If no answer came, either state may be pinned, now or later.
put        settle, done        The new state is pinned, and counts, though the client is told to try again.
settle     done                Only a stop interrupts it. What it leaves is done with a later commit.
=========  ==================  =========================================================================================

Where no marker is left, the pins say which state counts: see `Register`. A commit goes back from *replace* to *draft*
where the node has lost blocks that the new state needs. Where nothing is to be changed it goes from *draft* to *put*,
and is done then.

Every reader sees a state as a whole. What was acknowledged is below a pin, which no garbage collection touches. A pin
that succeeded also says that every block was there, which the node says nowhere else but in a trailer.
"""

from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from enum import Enum, auto
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipfsreg.bucket.errors import BucketError, Unavailable, Unreachable
from ipfsreg.bucket.kubo.errors import RETRY_AFTER, GaveUp, Missing, NotPinned
from ipfsreg.bucket.kubo.node.node import WALK_SECONDS, Node
from ipfsreg.flow.gather import gather
from ipfsreg.ipfs.cid import DAG_PB, cid_of
from ipfsreg.ipfs.dag_pb import PBLink
from ipfsreg.ipfs.hamt import Block
from ipfsreg.ipfs.unixfs import encode_directory

from .changes import Change
from .draft import StateDraft
from .notes import Notes
from .register import Lease, Register
from .signing import Signing
from .states import MARK, NOBODY_HELPS, BucketState, Overtaken, mark_of

DRAFT_TRIES = 4
"""How often a draft is made while the node loses blocks."""

SEARCH_SECONDS = 3.0
"""How long an online node may look for a block that it lacks, before we look ourselves what is missing."""

SLOWEST = 20 * 1024**2
"""Bytes a second that a node reads at least, where it is slow."""

CAUTION_SECONDS = 60.0
"""After blocks were lost beside a commit, for so long states are protected at once: it takes two more pins each."""


class Phase(Enum):
    """Where a commit is: see the module."""

    NEW = auto()
    TAKE = auto()
    DRAFT = auto()
    REPLACE = auto()
    PUT = auto()
    SETTLE = auto()
    DONE = auto()
    FAILED = auto()


_NEXT = {
    Phase.NEW: {Phase.TAKE},
    Phase.TAKE: {Phase.DRAFT, Phase.FAILED},
    Phase.DRAFT: {Phase.REPLACE, Phase.PUT, Phase.FAILED},
    Phase.REPLACE: {Phase.DRAFT, Phase.PUT, Phase.FAILED},
    Phase.PUT: {Phase.SETTLE, Phase.DONE, Phase.FAILED},
    Phase.SETTLE: {Phase.DONE, Phase.FAILED},
    Phase.DONE: set(),
    Phase.FAILED: set(),
}


class Caution:
    """Whether blocks were lost beside a commit lately: garbage is being collected then."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._until = 0.0

    def begin(self) -> None:
        """Blocks were lost."""
        self._until = self._clock.seconds() + CAUTION_SECONDS

    @property
    def is_wanted(self) -> bool:
        """Whether the next state is to be protected."""
        return self._clock.seconds() < self._until


class Commit:
    """The commit of one batch.

    After `run` ``failed`` has the changes that could not be made; all others are durable.
    """

    _log = Logger()

    def __init__(
        self,
        batch: Sequence[Change],
        node: Node,
        register: Register,
        notes: Notes,
        caution: Caution,
        signing: Signing,
    ) -> None:
        self.phase = Phase.NEW
        self.failed: dict[Change, Failure] = {}
        self._batch = batch
        self._node = node
        self._register = register
        self._pins = register.pins
        self._notes = notes
        self._caution = caution
        self._signing = signing
        self._lost: set[Change] = set()
        """Those whose content the node has not all of."""

    async def run(self) -> BucketState:
        """Go through all phases; answers the state that counts now. `BucketError` where the batch as a whole fails."""
        try:
            return await self._run()
        except BaseException:
            self._enter(Phase.FAILED)
            raise

    async def _run(self) -> BucketState:
        self._enter(Phase.TAKE)
        lease = await self._register.take()
        try:
            new = await self._made(lease)
        except BaseException as error:
            await self._give_up(lease.state, error)
            raise
        self._enter(Phase.PUT)
        await self._register.put(new)
        if new is not lease.state:
            self._enter(Phase.SETTLE)
            await self._pins.settle(new)
        if new is not lease.state or self._notes.lease is not None:
            self._notes.settled(new)
        self._enter(Phase.DONE)
        return new

    def _enter(self, phase: Phase) -> None:
        if phase not in _NEXT[self.phase]:
            raise RuntimeError(f"a commit cannot go from {self.phase.name} to {phase.name}")
        self.phase = phase

    async def _made(self, lease: Lease) -> BucketState:
        """The state with all changes, which is pinned; the last one where nothing is changed."""
        for attempt in range(DRAFT_TRIES):
            self._enter(Phase.DRAFT)
            draft = await self._draft(lease.state)
            if not draft.changed:
                return lease.state
            self._enter(Phase.REPLACE)
            new = await self._replace(lease, draft, protect=attempt > 0 or self._caution.is_wanted)
            if new is not None:
                return new
            self._caution.begin()
        raise Unavailable("the node loses what is stored: is garbage being collected all the time?", RETRY_AFTER)

    async def _give_up(self, old: BucketState, error: BaseException) -> None:
        if isinstance(error, BucketError) and not isinstance(error, Unreachable):
            with suppress(BucketError):
                await self._put_back(old)
        else:
            self._register.lose(sure=not isinstance(error, Overtaken))
        self._pins.doubt()

    async def _put_back(self, old: BucketState) -> None:
        """Let a state count again that could not be replaced, unless it was: by a call that had been given up."""
        try:
            # In a cluster it stays pinned, and this peer may not know of it yet.
            pinned = self._node.cluster or await self._node.is_pinned(old.root)
        except BaseException:
            self._register.lose()
            raise
        if pinned:
            await self._register.put(old)
            await self._notes.end_lease()
        else:
            self._register.lose()

    # Draft

    async def _draft(self, old: BucketState) -> StateDraft:
        self._notes.check(old)
        self._register.check()
        draft = StateDraft(self._node.directories, old.cid)
        for change in self._batch:
            if change in self.failed:
                continue
            take_back = draft.checkpoint()
            try:
                await change.make(draft, lost=change in self._lost)
            except BucketError as error:
                take_back()
                self.failed[change] = Failure(error)
        return draft

    # Replace

    async def _replace(self, lease: Lease, draft: StateDraft, *, protect: bool) -> BucketState | None:
        """Make a draft the state that is pinned; None where the node had not all that it takes.

        :raises Overtaken: where another state has replaced the last one.
        """
        old = lease.state
        number = self._register.number_after(old)
        await draft.link(MARK, mark_of(self._pins.bucket, number))
        root, blocks = await self._signing.blocks(draft, number)
        new = BucketState(number, str(root))
        self._notes.hold_lease(lease.since)
        if protect and not self._node.cluster:
            done = await self._pin_first(old, new, blocks)
        else:
            done = await self._move_pin(old, new, blocks)
        if not done:
            return None
        self._register.see(new)
        return new

    async def _move_pin(self, old: BucketState, new: BucketState, blocks: Sequence[Block]) -> bool:
        """Store a state and pin it in place of the last one; answers whether the node had all that it takes."""
        await _together(lambda: self._pins.note(old.root, new.root), lambda: self._node.put_blocks(blocks))
        size = sum(change.size for change in self._batch if change not in self.failed)
        try:
            await self._node.move_pin(old.root, new.root, SEARCH_SECONDS + size / SLOWEST)
        except GaveUp as error:
            self._log.info("A change is made again, since blocks may be lost: {error}", error=error)
            if not await self._node.is_pinned(new.root):
                return False
            await self._pins.unpin(old.root)
            return True
        except Missing as error:
            self._log.info("A change is made again, since blocks are lost: {error}", error=error)
            return False
        except NotPinned:
            await self._check_alone(old, new)
            if not self._node.cluster:
                await self._check_whole(old)
                return False
            await self._node.pin(new.root)
        self._pins.replaced(old.root)
        return True

    async def _pin_first(self, old: BucketState, new: BucketState, blocks: Sequence[Block]) -> bool:
        """As `_move_pin`, where garbage is collected beside us, or the last state has lost a block itself.

        A block that leads to the new state is pinned first, and with it all that is below it: the node does not look
        whether that is there. So it is looked for here, and before as well, since while something pinned is not whole
        the node collects nothing, and complains.
        """
        await self._pins.note(old.root, new.root)
        if await self._has_lost_content():
            return False
        above = encode_directory([PBLink(new.cid, "state", 0)])
        cid = cid_of(DAG_PB, above)
        await self._pins.note(str(cid))
        await self._node.put_blocks(blocks)
        await self._node.put_blocks([(cid, above)], pin=True)
        try:
            await self._node.put_blocks(blocks)
            if await self._has_lost_content():
                return False
            await self._node.put_blocks(blocks[-1:], pin=True)
            try:
                await self._node.unpin(old.root)
            except NotPinned:
                await self._check_alone(old, new)
            self._pins.replaced(old.root)
        finally:
            await self._pins.unpin(str(cid))
        return True

    async def _has_lost_content(self) -> bool:
        """Whether the node has not all of the content of a change; notes of which."""
        missing = {
            change
            for change in self._batch
            if change not in self.failed
            and change.content is not None
            and not await self._node.is_whole(str(change.content))
        }
        self._lost |= missing
        return bool(missing)

    async def _check_alone(self, old: BucketState, new: BucketState) -> None:
        """Whether a state that is not pinned any more was unpinned by somebody, and not replaced.

        :raises Overtaken: where it was replaced by another one than ``new``, which is unpinned.
        """
        # The marker of a state may have a number that is one higher than its own. What a peer of a cluster did not
        # know of may be known to it by now.
        others = [state for state in await self._pins.states() if state.root not in {old.root, new.root}]
        if any(state.number >= old.number for state in others):
            await self._pins.unpin(new.root)
            raise Overtaken("a change of the bucket that was given up came late", RETRY_AFTER)

    async def _check_whole(self, state: BucketState) -> None:
        """Whether the node still has a state that nobody has pinned: at least all of its directories.

        :raises Unavailable: where it has not.
        """
        if await self._node.is_whole(state.root, WALK_SECONDS):
            return
        try:
            await self._node.directories.walk(state.cid)
        except Missing as error:
            raise Unavailable(
                f"{state.root}, the state of the bucket, was unpinned, and the node has collected directories of it "
                f"({error}); to begin anew, remove its pins and {self._notes.file.path}",
                NOBODY_HELPS,
            ) from None
        self._log.error("The bucket was unpinned, and the node has lost content of it: `ipfsreg verify` says which.")


async def _together(*work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    await gather(lambda each: each(), work)
