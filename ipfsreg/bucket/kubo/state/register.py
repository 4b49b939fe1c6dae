"""Which state of the bucket counts, and whose turn it is to replace it.

A marker names the state that counts: ``1795678901234 bafy…``, its number and its CID. Who wants to replace the state
takes the marker away, which exactly one daemon succeeds in, pins the new state in place of the old one, and puts up a
marker for it. Each state holds its number itself (`Register.mark`), each new one a higher one, and exactly one state is
pinned: so where a daemon died before it put up a marker again, the pins say which state counts.

So who only reads needs no marker, and writes nothing.

Each daemon that changes the bucket has a marker of its own while it runs. One that sees no other needs not wait until
it is sure that nobody is still at it.
"""

import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import DeferredLock, FirstError, ensureDeferred, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ipfsreg.bucket.errors import BucketError, Unavailable
from ipfsreg.bucket.kubo.errors import RETRY_AFTER, GaveUp, Missing, Unreachable
from ipfsreg.bucket.kubo.node.contents import Target
from ipfsreg.bucket.kubo.node.directories import Directories
from ipfsreg.bucket.kubo.node.markers import Markers, bucket_id
from ipfsreg.bucket.kubo.node.node import WALK_SECONDS, Node
from ipfsreg.ipfs.cid import DAG_PB, CIDInvalid, inline_cid, inline_content, parse_cid

from .presence import Presence
from .states import MARK, CannotTell, Overtaken, State

POLL, POLL_MAX = 0.02, 0.5
"""Seconds between two looks for a marker that somebody else has taken, at first and later."""

LOOKS = 16
"""How many pins are looked at at the same time."""

FETCH_SECONDS = 3.0
"""How long a cluster's nodes may look for the first block of somebody's pin."""

STALE_TIMEOUTS = 4
"""After so many timeouts without a marker, whoever took it does not live any more: see `Register.check`."""

FIRST_SECONDS = 1.0
"""For so long nobody begins a bucket, or puts up a marker for one, who is not alone: somebody else may be about to."""

SETTLE_SECONDS = 2.0
"""How long a daemon that is not alone leaves the marker that it has put up for an old state: others may have, too."""

_COUNTING = re.compile(r"([0-9]{1,20}) ([A-Za-z0-9]{46,70})")
_MARK = re.compile(rb"ipfsreg ([0-9a-f]{16}) ([0-9]{1,20})\n")


def uptime() -> float:
    """Seconds that go on while the machine sleeps, whatever becomes of its clock."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Register:
    """See the module. ``begin`` makes and pins the first state where there was never one: always the same, number 0.

    ``owner`` answers this daemon's name, ``seconds`` how time goes by.
    """

    _log = Logger()

    def __init__(
        self,
        node: Node,
        markers: Markers,
        directories: Directories,
        path: str,
        owner: Callable[[], str],
        begin: Callable[[], Awaitable[State]],
        reactor: Any,
        seconds: Callable[[], float] = uptime,
    ) -> None:
        self._node = node
        self._markers = markers
        self._directories = directories
        self._id = bucket_id(path)
        self._begin = begin
        self._reactor = reactor
        self._seconds = seconds
        self._presence = Presence(markers, owner, seconds)
        self._state: State | None = None
        self._asking = False
        self._at_it = False
        self._turns = 0
        self.taken = 0.0
        """Since when it is this daemon's turn, or was the last time."""
        self._had: float | None = None
        """Since when it was, where it ended without our knowing how: for a while nobody else can have it."""
        self._finding: DeferredLock = DeferredLock()
        self._none_since: tuple[float, State | None] | None = None
        self._scanned = -FIRST_SECONDS
        self._warned = False

    async def close(self) -> None:
        """Say that this daemon does not change the bucket any more."""
        await self._presence.end()

    async def renew(self) -> None:
        """Say that it still does: now and then."""
        await self._presence.renew()

    async def current(self) -> State:
        """The state that counts now, for who only reads. Nothing is written, but where there is no state at all."""
        last = self._state
        if last is not None and (self._at_it or await self._counts(last)):
            return last
        states = await self._states()
        for state in reversed(states):
            # The pins of a cluster are agreed upon in their own time.
            if self._node.cluster or await self._node.is_pinned(state.root):
                return self._seen(state)
        if self._node.cluster and last is not None and await self._node.is_pinned(last.root):
            return last  # it stays pinned for a while; and what is pinned for it, another peer may not know yet
        pinned = await self.newest_pinned()  # somebody is about to replace it, or died then
        if pinned is not None:
            return self._seen(pinned)
        if states:
            if not self._warned:
                self._warned = True
                self._log.error(
                    "Somebody has unpinned {root}, the state of the bucket: the node's garbage collection may take "
                    "all of it. The next push pins it again; so does `ipfs pin add {root}`.",
                    root=states[-1].root,
                )
            return states[-1]
        return await self._find()

    def _seen(self, state: State) -> State:
        self._warned = False
        if not self._at_it and not self._asking:
            self._state = state if self._state is None else max(state, self._state)
        return state

    def forget(self) -> None:
        """Look for the state that counts anew."""
        if not self._at_it and not self._asking:
            self._state = None

    async def _counts(self, state: State) -> bool:
        """Whether a state that counted has not been replaced. Its marker may have come back late, but not its pin.

        Only the first one's may, since several daemons can begin a bucket.
        """
        if (self._node.cluster or state.number <= 1) and not await self._markers.has(state.text):
            return False
        return self._node.cluster or await self._node.is_pinned(state.root)

    async def take(self) -> State:
        """Wait for one's turn; answers the state to replace. One of `put` and `lose` has to follow.

        :raises Unavailable: where others are at it for too long.
        """
        await self._presence.begin()
        until = self._reactor.seconds() + self._node.content.timeout
        while True:
            state = self._state or await self._find()
            self._asking = True
            self._turns += 1
            began = self._seconds()
            try:
                taken = await self._markers.take(state.text)
            except BaseException:
                self.lose()
                raise
            finally:
                self._asking = False
            if taken:
                self._state, self._at_it, self.taken, self._had = state, True, began, None
                return state
            self.lose()
            if self._reactor.seconds() > until:
                raise Unavailable("other daemons change the bucket all the time", RETRY_AFTER)

    def check(self) -> None:
        """Whether whoever has the turn may still go on; later the others think that it is dead.

        :raises Overtaken: where it may not.
        """
        if self._seconds() - self.taken > STALE_TIMEOUTS / 2 * self._node.content.timeout:
            raise Overtaken("the node, or this machine, is too slow for a change to be made", RETRY_AFTER)

    def see(self, state: State) -> None:
        """Let readers here see a state that is pinned already, but has no marker yet."""
        self._state = state

    async def put(self, state: State) -> None:
        """Let a state be replaced again: one that is pinned in place of the one that was taken, or that one.

        :raises Overtaken: where others took this daemon for dead.
        """
        try:
            self.check()
            await self._markers.add(state.text)
            await self._check_only(state)
        except BaseException as error:
            self.lose(sure=not isinstance(error, Overtaken))
            raise
        self._state, self._at_it = state, False

    async def _check_only(self, state: State) -> None:
        """Remove markers of before; and one's own, where there is one of a later state."""
        for other in await self._states():
            if other < state:
                await self._markers.take(other.text)
            elif other > state:
                await self._markers.take(state.text)
                raise Overtaken("another daemon has replaced the state of the bucket meanwhile", RETRY_AFTER)

    def lose(self, *, sure: bool = True) -> None:
        """Give up the turn, without knowing which state is pinned: the pins will tell.

        ``sure`` says that nobody else can have it already.
        """
        if self._at_it:
            self._had = self.taken if sure else None
        self._state, self._at_it = None, False

    def resume(self, taken: float) -> None:
        """It was this daemon's turn when it was killed, since then."""
        self._had = taken

    def _has_had_turn(self) -> bool:
        """Whether nobody else can think yet that this daemon is dead, whose turn it was."""
        passed = -1.0 if self._had is None else self._seconds() - self._had
        return 0 <= passed < STALE_TIMEOUTS / 2 * self._node.content.timeout

    def number_after(self, state: State) -> int:
        """The number for a state that comes after another: the time in milliseconds, or one more."""
        return max(state.number + 1, int(time.time() * 1000))

    def mark(self, number: int) -> Target:
        """The file that says a state's number; its content is in its CID, so it takes no block."""
        content = f"ipfsreg {self._id} {number}\n".encode()
        return Target(inline_cid(content), len(content))

    async def newest_pinned(self) -> State | None:
        """The state with the highest number of all that are pinned.

        :raises CannotTell: where there is none, but pins of a cluster that nobody has the first block of.
        """
        unknown: set[str] = set()
        newest = max(await self.pinned(unknown), default=None)
        if newest is None and unknown:
            raise CannotTell(
                f"of {len(unknown)} pins of the cluster nobody has the first block; one may be ours", RETRY_AFTER
            )
        return newest

    async def _newest_whole(self) -> State | None:
        """The state with the highest number of those that are pinned and have all their blocks.

        One that was given up may have been pinned late, when blocks of it were collected. Then the one that it was to
        replace is pinned as well: a state is unpinned only after the next one is there, and pinned.
        """
        states = sorted(await self.pinned())
        while len(states) > 1 and not await self._node.is_whole(states[-1].root, WALK_SECONDS):
            states.pop()
        return states[-1] if states else None

    async def pinned(self, unknown: set[str] | None = None) -> list[State]:
        """All states that are pinned: one, but for changes that nobody knows the end of, and for a while in a cluster.

        ``unknown`` takes the pins of a cluster of which nobody can say what they are.
        """
        roots = await self._node.pins("recursive")
        found: list[State] = []
        if self._node.cluster:
            roots = [root for root in roots if _may_be_state(root)]
        for first in range(0, len(roots), LOOKS):
            some = [ensureDeferred(self._marked(root, unknown)) for root in roots[first : first + LOOKS]]
            try:
                found += [state for state in await gatherResults(some, consumeErrors=True) if state is not None]
            except FirstError as error:
                error.subFailure.raiseException()
        return found

    async def _marked(self, root: str, unknown: set[str] | None) -> State | None:
        try:
            if self._node.cluster:
                await self._node.get_block(parse_cid(root), FETCH_SECONDS)
            link = await self._directories.find(parse_cid(root), [MARK])
        except Unreachable:
            raise
        except (CIDInvalid, BucketError) as error:  # somebody else's pin, whatever it is
            if unknown is not None and self._node.cluster and isinstance(error, Missing | GaveUp):
                unknown.add(root)
            return None
        content = None if link is None else inline_content(link.cid)
        match = None if content is None else _MARK.fullmatch(content)
        return State(int(match[2]), root) if match is not None and match[1].decode() == self._id else None

    async def _find(self) -> State:
        """Look for a marker until there is one."""
        until, pause = self._reactor.seconds() + self._node.content.timeout, POLL
        while True:
            await self._finding.acquire()
            try:
                if self._at_it and self._state is not None:
                    return self._state
                turns = self._turns
                state = await self._look()
                if state is None and not self._asking:  # else it may be this daemon that has just taken it
                    state = await self._restored(turns)
                if state is not None:
                    if not self._at_it:
                        self._state = state if self._state is None else max(state, self._state)
                    return state
            finally:
                self._finding.release()
            if self._reactor.seconds() > until:
                raise Unavailable("another daemon does not get on with a change of the bucket", RETRY_AFTER)
            await deferLater(self._reactor, pause, lambda: None)
            pause = min(1.5 * pause, POLL_MAX)

    async def _states(self) -> list[State]:
        """What the markers say, the latest last."""
        found = [_COUNTING.fullmatch(text) for text in await self._markers.all()]
        return sorted(State(int(match[1]), match[2]) for match in found if match is not None)

    async def _look(self) -> State | None:
        """The state that a marker is there for, so that it can be taken."""
        states = await self._states()
        if not states:
            return None
        newest = states.pop()
        if not await self._node.is_pinned(newest.root):
            try:
                pinned = await self.newest_pinned()
            except CannotTell:
                pinned = None
            if pinned is not None and pinned > newest:
                states.append(newest)
        for late in states:  # each came from a request that somebody had given up
            await self._markers.take(late.text)
        if newest in states:
            return None
        self._none_since = None
        return newest

    async def _restored(self, turns: int) -> State | None:
        """The state that counts though no marker says so, as soon as nobody can be at it any more.

        ``turns`` is how many this daemon had begun when it found no marker.
        """
        await self._presence.begin()
        ours = self._has_had_turn()
        alone, now = await self._presence.is_alone(), self._seconds()
        by_turn, alone = ours and not alone, alone or ours
        if not alone and now - self._scanned < FIRST_SECONDS:
            return None
        self._scanned, pinned = now, await self.newest_pinned()
        if self._none_since is None or self._none_since[1] != pinned:
            self._none_since = (now, pinned)
        stale = FIRST_SECONDS if pinned is None else STALE_TIMEOUTS * self._node.content.timeout
        if not alone and now - self._none_since[0] < stale:
            return None
        if pinned is not None:
            pinned = await self._newest_whole()
        state = await self._begin() if pinned is None else State(pinned.number + 1, pinned.root)
        now = self._seconds()
        found = await self._look()
        if found is not None or self._turns != turns:
            return found
        if by_turn and not self._has_had_turn():  # it took too long to find out what counts
            return None
        self._had = None
        await self._markers.add(state.text)
        if pinned is not None:
            self._log.info(
                "Nobody said which state of the bucket is to be replaced next; it is the one that is pinned."
            )
        if alone and self._seconds() - now < FIRST_SECONDS:
            return state
        await deferLater(self._reactor, SETTLE_SECONDS, lambda: None)
        return await self._look()


def _may_be_state(root: str) -> bool:
    try:
        cid = parse_cid(root)
    except CIDInvalid:
        return False
    return cid.version == 1 and cid.codec == DAG_PB
