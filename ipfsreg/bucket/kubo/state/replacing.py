"""A new state of the bucket, stored and pinned in place of the last one, whatever the node collects meanwhile."""

from collections.abc import Sequence
from typing import Any

from twisted.logger import Logger

from ipfsreg.bucket.errors import BucketError, NotFound, Unavailable
from ipfsreg.bucket.kubo.errors import RETRY_AFTER, GaveUp, Missing, NotPinned
from ipfsreg.bucket.kubo.node.directories import Directories
from ipfsreg.bucket.kubo.node.node import WALK_SECONDS, Node
from ipfsreg.ipfs.cid import DAG_PB, cid_of
from ipfsreg.ipfs.dag_pb import Link
from ipfsreg.ipfs.hamt import Block
from ipfsreg.ipfs.unixfs import encode_directory

from .changes import Change
from .draft import Draft
from .late_unpinning import LateUnpinning
from .notes import Notes
from .register import Register
from .states import MARK, Overtaken, State

LOOK_SECONDS = 3.0
"""How long an online node may look for a block that it lacks, before we look ourselves what is missing."""

SLOWEST = 20 * 1024**2
"""Bytes a second that a node reads at least, where it is slow."""

NOBODY_HELPS = 60
"""Seconds after which a client may try again where somebody has to do something first."""

CAREFUL_SECONDS = 60.0
"""After blocks were lost beside a change, for so long others are protected at once: it takes two more pins each."""


class Replacement:
    """How states replace each other, by whose turn it is; and what is to be unpinned after that."""

    _log = Logger()

    def __init__(self, node: Node, directories: Directories, register: Register, notes: Notes, reactor: Any) -> None:
        self._node = node
        self._directories = directories
        self._register = register
        self._notes = notes
        self._reactor = reactor
        self._careful_until = 0.0
        self._unsure = True
        self._late = LateUnpinning(self.unpin, notes, reactor)
        self._noted: dict[str, float] = {}

    async def note(self, *cids: str) -> None:
        """Note what is about to be pinned and is not to stay so: should this daemon die, it is unpinned after that."""
        self._notes.unsettled.update(cids)
        self._noted.update(dict.fromkeys(cids, self._reactor.seconds()))
        await self._notes.write()

    async def replace(
        self, old: State, draft: Draft, made: Sequence[Change], lost: set[Change], *, again: bool
    ) -> State | None:
        """Make a draft the state that is pinned in place of ``old``; None where the node had not all that it takes.

        ``made`` are the changes in it; ``lost`` takes those whose content is not there. ``again`` says that it was
        tried before.

        :raises Overtaken: where another state has replaced the old one.
        """
        number = self._register.number_after(old)
        await draft.link(MARK, self._register.mark(number))
        root, blocks = await draft.blocks()
        new = State(number, str(root))
        self._notes.turn = self._register.taken
        await self.note(old.root, new.root)
        if not self._node.cluster and (again or self._reactor.seconds() < self._careful_until):
            done = await self._protected(old, new, blocks, made, lost)
        else:
            done = await self._replaced(old, new, blocks, sum(change.size for change in made))
        if done:
            return new
        self._careful_until = self._reactor.seconds() + CAREFUL_SECONDS
        return None

    async def _replaced(self, old: State, new: State, blocks: Sequence[Block], size: int) -> bool:
        """Store a state and pin it in place of the last one; answers whether the node had all that it takes."""
        await self._node.put_blocks(blocks)
        try:
            await self._node.move_pin(old.root, new.root, LOOK_SECONDS + size / SLOWEST)
        except GaveUp as error:
            self._log.info("A change is made again, since blocks may be lost: {error}", error=error)
            if not await self._node.is_pinned(new.root):
                return False
            await self.unpin(old.root)
        except Missing as error:
            self._log.info("A change is made again, since blocks are lost: {error}", error=error)
            return False
        except NotPinned:
            await self._check_alone(old, new)
            if not self._node.cluster:
                await self._check_whole(old)
                return False
            await self._node.pin(new.root)
        else:
            if not self._node.cluster:
                self._forget(old.root)
        if self._node.cluster:
            self._late.add(old.root)
        return True

    async def _check_alone(self, old: State, new: State) -> None:
        """Whether a state that is not pinned any more was unpinned by somebody, and not replaced.

        :raises Overtaken: where it was replaced by another one than ``new``, which is unpinned.
        """
        # The marker of a state may have a number that is one higher than its own. What a peer of a cluster did not
        # know of may be known to it by now.
        others = [state for state in await self._register.pinned() if state.root not in {old.root, new.root}]
        if any(state.number >= old.number for state in others):
            await self.unpin(new.root)
            raise Overtaken("a change of the bucket that was given up came late", RETRY_AFTER)

    async def _check_whole(self, state: State) -> None:
        """Whether the node still has a state that nobody has pinned: at least all of its directories.

        :raises Unavailable: where it has not.
        """
        if await self._node.is_whole(state.root, WALK_SECONDS):
            return
        try:
            await self._directories.walk(state.cid)
        except Missing as error:
            raise Unavailable(
                f"{state.root}, the state of the bucket, was unpinned, and the node has collected directories of it "
                f"({error}); to begin anew, remove its pins and {self._notes.file}",
                NOBODY_HELPS,
            ) from None
        self._log.error("The bucket was unpinned, and the node has lost content of it: `ipfsreg verify` says which.")

    async def _protected(
        self, old: State, new: State, blocks: Sequence[Block], made: Sequence[Change], lost: set[Change]
    ) -> bool:
        """As `_replaced`, where garbage is collected beside us, or the last state has lost a block itself.

        A block that leads to the new state is pinned first, and with it all that is below it: the node does not look
        whether that is there. So it is looked for here: ``lost`` takes the changes whose content is not. It is looked
        for before as well, since while something pinned is not whole the node collects nothing, and complains.
        """
        if await self._lost(made, lost):
            return False
        above = encode_directory([Link(new.cid, "state", 0)])
        cid = cid_of(DAG_PB, above)
        await self.note(str(cid))
        await self._node.put_blocks(blocks)
        await self._node.put_blocks([(cid, above)], pin=True)
        try:
            await self._node.put_blocks(blocks)
            if await self._lost(made, lost):
                return False
            await self._node.put_blocks(blocks[-1:], pin=True)
            try:
                await self._node.unpin(old.root)
            except NotPinned:
                await self._check_alone(old, new)
            self._forget(old.root)
        finally:
            await self.unpin(str(cid))
        return True

    async def _lost(self, made: Sequence[Change], lost: set[Change]) -> bool:
        missing = {
            change
            for change in made
            if change.content is not None and not await self._node.is_whole(str(change.content))
        }
        lost |= missing
        return bool(missing)

    def doubt(self) -> None:
        """Look at all pins with the next state: a change has ended without our knowing how."""
        self._unsure = True

    async def settle(self, state: State) -> None:
        """Unpin what was left pinned by changes that nobody knows the end of, as far as the node lets us.

        Not before a state is pinned that they were not made upon: until then one of them might yet come to replace the
        last one, and be all that is pinned.
        """
        try:
            if self._unsure and not self._node.cluster:  # it may have any number of pins of others
                self._notes.unsettled |= {other.root for other in await self._register.pinned() if other < state}
                self._unsure = False
        except BucketError as error:
            self._log.info("What else is pinned is looked for with the next change: {error}", error=error)
        self._forget(state.root)
        for cid in sorted(self._notes.unsettled - self._late.kept()):
            await self.unpin(cid)

    def stop(self) -> None:
        """Leave what is to be unpinned later for the next start."""
        self._late.stop()

    async def unpin(self, cid: str) -> None:
        """Unpin something; where that fails it is done with a later change.

        So it is where it is not pinned, for as long as the node may take to do what pins it.
        """
        now = self._reactor.seconds()
        try:
            await self._node.unpin(cid)
        except (NotPinned, NotFound):
            if now - self._noted.setdefault(cid, now) < self._node.patience:
                return
        except BucketError as error:
            self._log.info("{cid} stays pinned until a later change: {error}", cid=cid, error=error)
            return
        self._forget(cid)

    def _forget(self, cid: str) -> None:
        self._notes.unsettled.discard(cid)
        self._noted.pop(cid, None)
