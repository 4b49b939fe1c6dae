"""The states of the bucket that are pinned.

That is one, but for changes whose end nobody knows, and for a while in a cluster.
"""

from ipfsreg.bucket.errors import BucketError
from ipfsreg.bucket.kubo.errors import RETRY_AFTER, GaveUp, Missing, Unreachable
from ipfsreg.bucket.kubo.node.markers import bucket_id
from ipfsreg.bucket.kubo.node.node import WALK_SECONDS, Node
from ipfsreg.flow.gather import gather
from ipfsreg.ipfs.cid import DAG_PB, CIDInvalid, parse_cid

from .states import MARK, CannotTell, State, marked_number

FETCH_SECONDS = 3.0
"""How long a cluster's nodes may look for the first block of somebody's pin."""


class PinnedStates:
    """See the module. ``folder`` is the bucket's path."""

    def __init__(self, node: Node, folder: str) -> None:
        self.bucket = bucket_id(folder)
        self._node = node

    async def all(self, unknown: set[str] | None = None) -> list[State]:
        """All of them, in no order. ``unknown`` takes the pins of a cluster of which nobody can say what they are."""
        roots = await self._node.pins("recursive")
        if self._node.cluster:
            roots = [root for root in roots if _may_be_state(root)]

        async def state(root: str) -> State | None:
            return await self._state(root, unknown)

        return [found for found in await gather(state, roots) if found is not None]

    async def newest(self) -> State | None:
        """The state with the highest number.

        :raises CannotTell: where there is none, but pins of a cluster that nobody has the first block of.
        """
        unknown: set[str] = set()
        newest = max(await self.all(unknown), default=None)
        if newest is None and unknown:
            raise CannotTell(
                f"of {len(unknown)} pins of the cluster nobody has the first block; one may be ours", RETRY_AFTER
            )
        return newest

    async def newest_whole(self) -> State | None:
        """The state with the highest number of those that have all their blocks, and the only one in any case.

        A call that was given up may pin its state late, when blocks of that were collected. Then the state that it was
        to replace is pinned as well: a state is unpinned only after the next one is whole, and pinned.
        """
        states = sorted(await self.all())
        while len(states) > 1 and not await self._node.is_whole(states[-1].root, WALK_SECONDS):
            states.pop()
        return states[-1] if states else None

    async def _state(self, root: str, unknown: set[str] | None) -> State | None:
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
        return None if number is None else State(number, root)


def _may_be_state(root: str) -> bool:
    try:
        cid = parse_cid(root)
    except CIDInvalid:
        return False
    return cid.version == 1 and cid.codec == DAG_PB
