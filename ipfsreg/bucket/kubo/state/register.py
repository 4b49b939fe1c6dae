"""Which state of the bucket counts, and which daemon may replace it.

A marker names the state that counts: ``1795678901234 bafy…``, its number and its CID. A daemon that wants to replace
the state takes the marker away, which exactly one daemon succeeds in: that is its lease. It pins the new state in place
of the old one, and puts up a marker for it. Each state holds its number itself (`mark_of`), each new one a higher one,
and exactly one state is pinned. So where a daemon died before it put up a marker again, the pins say which state
counts.

So readers need no marker, and write nothing.

Each daemon has a marker of its own while it runs (`Presence`), from before it reads what a change will rely on. One
that sees no other need not wait until a lease has certainly ended.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto

from twisted.internet.defer import DeferredLock
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ipfsreg.bucket.errors import Unavailable
from ipfsreg.bucket.kubo.errors import RETRY_AFTER
from ipfsreg.bucket.kubo.node.markers import Markers
from ipfsreg.bucket.kubo.node.node import Node
from ipfsreg.flow.single_flight import SingleFlight

from .notes import Notes
from .pins import Pins
from .presence import Clocks, Presence
from .states import BucketState, CannotTell, Overtaken

POLL, POLL_MAX = 0.02, 0.5
"""Seconds between two looks for a marker that somebody else has taken, at first and later."""

STALE_TIMEOUTS = 4
"""After so many timeouts without a marker the lease of the daemon that took it has ended; it gives up after half."""

FIRST_SECONDS = 1.0
"""How long a daemon that is not alone waits before it begins a bucket or puts up a marker: another may be about to."""

SETTLE_SECONDS = 2.0
"""How long a daemon that is not alone leaves the marker that it has put up for an old state: others may have, too."""

_COUNTING = re.compile(r"([0-9]{1,20}) ([A-Za-z0-9]{46,70})")


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to replace ``state``, ``since`` a time by `Clocks.uptime`."""

    state: BucketState
    since: float


class Holding(Enum):
    """What this daemon has of the lease."""

    NOTHING = auto()
    ASKING = auto()
    """It tries to take the marker: it may have it already."""
    LEASE = auto()


class Register:
    """See the module. ``first`` makes the state of a bucket that was never there."""

    _log = Logger()

    def __init__(
        self,
        node: Node,
        markers: Markers,
        pins: Pins,
        first: Callable[[], Awaitable[BucketState]],
        notes: Notes,
        clocks: Clocks,
    ) -> None:
        self.presence = Presence(markers, notes, clocks)
        self._node = node
        self._markers = markers
        self.pins = pins
        self._first = first
        self._notes = notes
        self._clocks = clocks
        self._holding = Holding.NOTHING
        self._state: BucketState | None = None
        """The state that counted last, as far as this daemon knows."""
        self._since: float | None = None
        """Since when it holds the lease, or held one that nobody else can have for a while."""
        self._asked = 0
        """How often it has tried to take a marker."""
        self._flight = SingleFlight(self._counting)
        self._finding = DeferredLock()
        self._none_since: tuple[float, BucketState | None] | None = None
        """Since when there is no marker, and which state has been pinned all the time."""
        self._scanned = -FIRST_SECONDS
        self._warned = False

    @property
    def holds_lease(self) -> bool:
        """Whether this daemon may replace the state now."""
        return self._holding is Holding.LEASE

    # Reading

    async def current(self) -> BucketState:
        """The state that counts now. All who ask at the same time share an answer.

        Nothing is written, but where there is no state at all.

        :raises Unavailable: where that is older than one that this daemon knows.
        """
        state = await self._flight.outcome()
        try:
            self._notes.check(state)
        except Unavailable:
            if self._holding is Holding.NOTHING:
                self._state = None
            raise
        return state

    def look_anew(self) -> None:
        """Look again for those who ask from now on: a look under way may find what was before a commit."""
        self._flight = SingleFlight(self._counting)

    async def _counting(self) -> BucketState:
        last = self._state
        if last is not None and (self.holds_lease or await self._still_counts(last)):
            return last
        states = await self._marked()
        for state in reversed(states):
            # The pins of a cluster are agreed upon in their own time.
            if self._node.cluster or await self._node.is_pinned(state.root):
                return self._seen(state)
        if self._node.cluster and last is not None and await self._node.is_pinned(last.root):
            return last  # it stays pinned for a while; and what is pinned for it, another peer may not know yet
        pinned = await self.pins.newest()  # somebody is about to replace it, or died then
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

    def _seen(self, state: BucketState) -> BucketState:
        self._warned = False
        if self._holding is Holding.NOTHING:
            self._state = state if self._state is None else max(state, self._state)
        return state

    async def _still_counts(self, state: BucketState) -> bool:
        """Whether a state that counted has not been replaced.

        Its marker may have come back late, but not its pin; but for the pin of the first state, since several daemons
        can begin a bucket.
        """
        if (self._node.cluster or state.number <= 1) and not await self._markers.has(state.text):
            return False
        return self._node.cluster or await self._node.is_pinned(state.root)

    async def _marked(self) -> list[BucketState]:
        """The states that markers name, the latest last."""
        found = [_COUNTING.fullmatch(text) for text in await self._markers.all()]
        return sorted(BucketState(int(match[1]), match[2]) for match in found if match is not None)

    # The lease

    async def take(self) -> Lease:
        """Wait for the lease. One of `put` and `lose` has to follow.

        :raises Unavailable: where others have it for too long, or this daemon has only now joined them.
        """
        await self.presence.check_joined()
        until = self._clocks.reactor.seconds() + self._node.content.timeout
        while True:
            state = self._state or await self._find()
            self._holding = Holding.ASKING
            self._asked += 1
            began = self._clocks.uptime()
            try:
                taken = await self._markers.take(state.text)
            except BaseException:
                self.lose()
                raise
            if taken:
                self._holding, self._state, self._since = Holding.LEASE, state, began
                return Lease(state, began)
            self.lose()
            if self._clocks.reactor.seconds() > until:
                raise Unavailable("other daemons change the bucket all the time", RETRY_AFTER)

    def check(self) -> None:
        """Whether the lease goes on; later others may take this daemon for dead.

        :raises Overtaken: where it does not.
        """
        if not self._is_fresh():
            raise Overtaken("the node, or this machine, is too slow for a change to be made", RETRY_AFTER)

    def _is_fresh(self) -> bool:
        """Whether this daemon, which holds the lease or held it last, cannot be taken for dead yet."""
        passed = -1.0 if self._since is None else self._clocks.uptime() - self._since
        return 0 <= passed <= STALE_TIMEOUTS / 2 * self._node.content.timeout

    def number_after(self, state: BucketState) -> int:
        """The number for a state that comes after another: the time in milliseconds, or one more."""
        return max(state.number + 1, int(self._clocks.now() * 1000))

    def see(self, state: BucketState) -> None:
        """Let readers here see a state that is pinned already, but has no marker yet."""
        self._state = state

    async def put(self, state: BucketState) -> None:
        """End the lease: with the state that is pinned in place of the last one, or with the last one.

        :raises Overtaken: where others took this daemon for dead.
        """
        try:
            self.check()
            await self._markers.add(state.text)
            await self._check_only(state)
        except BaseException as error:
            self.lose(sure=not isinstance(error, Overtaken))
            raise
        self._holding, self._state, self._since = Holding.NOTHING, state, None

    async def _check_only(self, state: BucketState) -> None:
        """Remove markers of before; and one's own, where there is one of a later state."""
        for other in await self._marked():
            if other < state:
                await self._markers.take(other.text)
            elif other > state:
                await self._markers.take(state.text)
                raise Overtaken("another daemon has replaced the state of the bucket meanwhile", RETRY_AFTER)

    def lose(self, *, sure: bool = True) -> None:
        """Give up the lease, without knowing which state is pinned: the pins will tell.

        ``sure`` says that nobody else can have it already.
        """
        if self.holds_lease and not sure:
            self._since = None
        self._holding, self._state = Holding.NOTHING, None

    def resume(self, since: float) -> None:
        """This daemon held the lease when it was killed, since then."""
        if self._holding is Holding.NOTHING:
            self._since = since

    # Finding a marker

    async def _find(self) -> BucketState:
        """Look for a marker until there is one; the state that it names."""
        until, pause = self._clocks.reactor.seconds() + self._node.content.timeout, POLL
        while True:
            async with self._finding:
                if self.holds_lease and self._state is not None:
                    return self._state
                asked = self._asked
                state = await self._look()
                if state is None and self._holding is Holding.NOTHING:  # else it may be this daemon that has taken it
                    state = await self._restored(asked)
                if state is not None:
                    if not self.holds_lease:
                        self._state = state if self._state is None else max(state, self._state)
                    return state
            if self._clocks.reactor.seconds() > until:
                raise Unavailable("another daemon does not get on with a change of the bucket", RETRY_AFTER)
            await deferLater(self._clocks.reactor, pause, lambda: None)
            pause = min(1.5 * pause, POLL_MAX)

    async def _look(self) -> BucketState | None:
        """The state that there is a marker for, which can be taken."""
        states = await self._marked()
        if not states:
            return None
        newest = states.pop()
        if not await self._node.is_pinned(newest.root):
            try:
                pinned = await self.pins.newest()
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

    async def _restored(self, asked: int) -> BucketState | None:
        """The state that counts though no marker names it, as soon as every lease has ended; None before.

        ``asked`` is how often this daemon had tried to take a marker when it found none.
        """
        await self.presence.begin()
        ours = self._is_fresh()
        alone, now = await self.presence.is_alone(), self._clocks.uptime()
        only_ours, alone = ours and not alone, alone or ours
        if not alone and now - self._scanned < FIRST_SECONDS:
            return None
        self._scanned, pinned = now, await self.pins.newest()
        if self._none_since is None or self._none_since[1] != pinned:
            self._none_since = (now, pinned)
        stale = FIRST_SECONDS if pinned is None else STALE_TIMEOUTS * self._node.content.timeout
        if not alone and now - self._none_since[0] < stale:
            return None
        if pinned is not None:
            pinned = await self.pins.newest_whole()
        state = await self._first() if pinned is None else BucketState(pinned.number + 1, pinned.root)
        now = self._clocks.uptime()
        found = await self._look()
        if found is not None or self._asked != asked:
            return found
        if only_ours and not self._is_fresh():  # it took too long to find out what counts
            return None
        self._since = None
        await self._markers.add(state.text)
        if pinned is not None:
            self._log.info(
                "Nobody said which state of the bucket is to be replaced next; it is the one that is pinned."
            )
        if alone and self._clocks.uptime() - now < FIRST_SECONDS:
            return state
        await deferLater(self._clocks.reactor, SETTLE_SECONDS, lambda: None)
        return await self._look()
