"""The states of the bucket that are pinned; and the pins that this daemon has made and that are not to stay.

In a cluster a state that was replaced stays pinned for a while. A node pins a state in place of the last one in one
step, but the peers of a cluster learn of a pin in their own time, and each then has its node pin it. As long as the
last state is pinned there, a peer looks only at what differs, and keeps the rest; else it would look at every block.

Such states are unpinned late and one by one, which also tells a peer of all pins before. Of many changes at once a peer
of a crdt cluster passes over the last ones until it hears of another (seen with 1.1.6: its queue of 32 drops what is
too much, and the same news is not told again for half an hour).
"""

from typing import Any

from twisted.internet.task import deferLater
from twisted.logger import Logger

from ipfsreg.bucket.errors import BucketError, NotFound, Unreachable
from ipfsreg.bucket.kubo.errors import RETRY_AFTER, GaveUp, Missing, NotPinned
from ipfsreg.bucket.kubo.node.markers import bucket_id
from ipfsreg.bucket.kubo.node.node import WALK_SECONDS, Node
from ipfsreg.flow.background import Background
from ipfsreg.flow.gather import gather
from ipfsreg.ipfs.cid import DAG_PB, CIDInvalid, parse_cid

from .notes import Notes
from .states import MARK, BucketState, CannotTell, marked_number

FETCH_SECONDS = 3.0
"""How long a cluster's nodes may look for the first block of somebody's pin."""

KEPT_SECONDS = 10.0
"""How long a state of a cluster stays pinned after it was replaced, unless it is one of too many."""

LAST_SECONDS = 60.0
"""How long the last one of them does: unpinning it tells peers of the pins that they have passed over."""

KEPT = 16
"""How many of them stay at most."""

PACE_SECONDS = 0.1
"""The time between two of them, so that no peer passes over any."""


class Pins:
    """See the module. What is not to stay is in ``unsettled`` of the notes, over restarts."""

    _log = Logger()

    def __init__(self, node: Node, notes: Notes, reactor: Any) -> None:
        self.bucket = bucket_id(notes.folder)
        self._node = node
        self._notes = notes
        self._reactor = reactor
        self._since: dict[str, float] = {}
        """When each was noted, or was first found not to be pinned."""
        self._unsure = True
        """Whether any state may be pinned that is not noted."""
        self._replaced: list[tuple[str, float]] = []
        """The states of a cluster that were replaced, and when."""
        self._unpinning = Background("unpin what was replaced", self._unpin_late)

    def stop(self) -> None:
        """Leave what is to be unpinned later for the next start."""
        self._unpinning.stop()

    async def states(self, unknown: set[str] | None = None) -> list[BucketState]:
        """All states that are pinned: one, but for changes whose end nobody knows, and for a while in a cluster.

        ``unknown`` takes the pins of a cluster of which nobody can say what they are.
        """
        roots = await self._node.pins("recursive")
        if self._node.cluster:
            roots = [root for root in roots if _may_be_state(root)]

        async def state(root: str) -> BucketState | None:
            return await self._state(root, unknown)

        return [found for found in await gather(state, roots) if found is not None]

    async def newest(self) -> BucketState | None:
        """The pinned state with the highest number.

        :raises CannotTell: where there is none, but pins of a cluster that nobody has the first block of.
        """
        unknown: set[str] = set()
        newest = max(await self.states(unknown), default=None)
        if newest is None and unknown:
            raise CannotTell(
                f"of {len(unknown)} pins of the cluster nobody has the first block; one may be ours", RETRY_AFTER
            )
        return newest

    async def newest_whole(self) -> BucketState | None:
        """The pinned state with the highest number of those that have all their blocks, and the only one in any case.

        A call that was given up may pin its state late, when blocks of that were collected. Then the state that it was
        to replace is pinned as well: a state is unpinned only after the next one is whole, and pinned.
        """
        states = sorted(await self.states())
        while len(states) > 1 and not await self._node.is_whole(states[-1].root, WALK_SECONDS):
            states.pop()
        return states[-1] if states else None

    async def _state(self, root: str, unknown: set[str] | None) -> BucketState | None:
        try:
            if self._node.cluster:
                await self._node.get_block(parse_cid(root), FETCH_SECONDS)
            link = await self._node.directories.find(parse_cid(root), [MARK])
        except Unreachable:
            raise
        except (CIDInvalid, BucketError) as error:  # somebody else's pin, whatever it is
            if unknown is not None and self._node.cluster and isinstance(error, Missing | GaveUp):
                unknown.add(root)
            return None
        number = None if link is None else marked_number(self.bucket, link.cid)
        return None if number is None else BucketState(number, root)

    async def note(self, *cids: str) -> None:
        """Note what is about to be pinned and is not to stay so: should this daemon die, it is unpinned after that.

        `BucketError` where the disk does not let us.
        """
        self._notes.add_unsettled(cids)
        self._since.update(dict.fromkeys(cids, self._reactor.seconds()))
        await self._notes.write()

    async def unpin(self, cid: str) -> None:
        """Unpin what was noted; where that fails it is done with a later change.

        So it is where it is not pinned, for as long as the node may take to do what pins it.
        """
        now = self._reactor.seconds()
        try:
            await self._node.unpin(cid)
        except (NotPinned, NotFound):
            if now - self._since.setdefault(cid, now) < self._node.patience:
                return
        except BucketError as error:
            self._log.info("{cid} stays pinned until a later change: {error}", cid=cid, error=error)
            return
        self._forget(cid)

    def replaced(self, root: str) -> None:
        """A state, which is noted, was replaced for good: on a node it is not pinned any more."""
        if not self._node.cluster:
            self._forget(root)
            return
        self._replaced.append((root, self._reactor.seconds()))
        self._unpinning.start()

    def doubt(self) -> None:
        """Look at all pins with the next state: a change has ended without our knowing how."""
        self._unsure = True

    async def settle(self, state: BucketState) -> None:
        """Unpin what changes of unknown outcome have left pinned, as far as the node lets us.

        To be called once a later state is pinned: until then such a change might still replace the last state, and its
        pin be the only one.
        """
        try:
            if self._unsure and not self._node.cluster:  # it may have any number of pins of others
                self._notes.add_unsettled({other.root for other in await self.states() if other < state})
                self._unsure = False
        except BucketError as error:
            self._log.info("What else is pinned is looked for with the next change: {error}", error=error)
        self._forget(state.root)
        for cid in sorted(self._notes.unsettled - self._kept()):
            await self.unpin(cid)

    def _forget(self, cid: str) -> None:
        self._notes.drop_unsettled(cid)
        self._since.pop(cid, None)

    def _kept(self) -> set[str]:
        """The replaced states of a cluster that are to stay for now."""
        self._replaced = [each for each in self._replaced if each[0] in self._notes.unsettled]
        now = self._reactor.seconds()
        young = [cid for cid, when in self._replaced[:-1] if now - when < KEPT_SECONDS]
        return {*young[-KEPT:], *(cid for cid, when in self._replaced[-1:] if now - when < LAST_SECONDS)}

    async def _unpin_late(self) -> None:
        while True:
            await deferLater(self._reactor, KEPT_SECONDS, lambda: None)
            kept = self._kept()
            for cid in [cid for cid, _ in self._replaced if cid not in kept]:
                await self.unpin(cid)
                await deferLater(self._reactor, PACE_SECONDS, lambda: None)
            if not self._kept():
                return


def _may_be_state(root: str) -> bool:
    try:
        cid = parse_cid(root)
    except CIDInvalid:
        return False
    return cid.version == 1 and cid.codec == DAG_PB
