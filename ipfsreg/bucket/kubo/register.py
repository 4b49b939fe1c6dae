"""Which state of the bucket counts, and whose turn it is to replace it.

A marker names the state that counts: ``1795678901234 bafy…``, its number and its CID. Who wants to replace the state
takes the marker away, which exactly one daemon succeeds in, pins the new state in place of the old one, and puts up a
marker for it. Each state holds its number itself (`Register.mark`), each new one a higher one, and exactly one state is
pinned: so where a daemon died before it put up a marker again, the pins say which state counts.

Each daemon has a marker of its own while it runs. One that sees no other needs not wait until it is sure that
nobody is still at it.
"""

import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import DeferredLock, FirstError, ensureDeferred, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ...ipfs.cid import CID, DAG_PB, CIDInvalid, parse_cid
from ...ipfs.inline import inline_cid, inline_content
from ..errors import Corrupt, Unavailable
from .contents import Target
from .directories import Directories
from .errors import RETRY_AFTER, GaveUp, Missing
from .markers import Markers, bucket_id
from .node import Node

NOBODY_HELPS = 60
"""Seconds after which a client may try again where somebody has to do something first."""

POLL = 0.02
"""Seconds between two looks for a marker that somebody else has taken."""

FETCH_SECONDS = 3.0
"""How long a cluster's nodes may look for the first block of somebody's pin."""

FETCHES = 16
"""For so many at once."""

STALE_TIMEOUTS = 4
"""After so many timeouts without a marker, whoever took it does not live any more: see `Register.check`."""

FIRST_SECONDS = 1.0
"""For so long nobody begins a bucket, or puts up a marker for one, who is not alone: somebody else may be about to."""

SETTLE_SECONDS = 2.0
"""How long a daemon that is not alone leaves the marker that it has put up for an old state: others may have, too."""

MARK = ".ipfsreg"
"""The file of each state that holds its number."""

_COUNTING = re.compile(r"([0-9]{1,20}) ([A-Za-z0-9]{46,70})")
_MARK = re.compile(rb"ipfsreg ([0-9a-f]{16}) ([0-9]{1,20})\n")


@dataclass(frozen=True, slots=True, order=True)
class State:
    """A state of the bucket. Of two the one with the higher number is the later."""

    number: int
    root: str

    @property
    def text(self) -> str:
        """What its marker says."""
        return f"{self.number} {self.root}"

    @property
    def cid(self) -> CID:
        """The CID of its directory."""
        return parse_cid(self.root)


class Replaced(Unavailable):
    """The node is another one than before, or its pins were removed."""


class CannotTell(Unavailable):
    """There are pins that may be of this bucket, and nobody has what they lead to."""


class Register:
    """See the module. ``begin`` makes and pins the first state where there was never one: always the same, number 0."""

    _log = Logger()

    def __init__(
        self,
        node: Node,
        markers: Markers,
        directories: Directories,
        path: str,
        begin: Callable[[], Awaitable[State]],
        reactor: Any,
    ) -> None:
        self._node = node
        self._markers = markers
        self._directories = directories
        self._id = bucket_id(path)
        self._begin = begin
        self._reactor = reactor
        self._owner = ""
        self._least = 0
        self._state: State | None = None
        self._at_it = False
        self._turns = 0
        self._taken = 0.0
        self._finding: DeferredLock = DeferredLock()
        self._none_since: tuple[float, State | None] | None = None
        self._scanned = 0.0

    async def open(self, owner: str, number: int) -> None:
        """Say that this daemon is there, by its name. ``number`` is that of the last state that it saw counting."""
        self._owner = f"daemon {owner}"
        self._least = number
        await self._markers.add(self._owner)

    async def close(self) -> None:
        """Say that it is not any more."""
        await self._markers.take(self._owner)

    async def current(self) -> State:
        """The state that counts now, for who only reads."""
        last = self._state
        if last is not None and (self._at_it or await self._markers.has(last.text)):
            return last
        return await self._find(last)

    async def take(self) -> State:
        """Wait for one's turn; answers the state to replace. One of `put` and `lose` has to follow.

        :raises Unavailable: where others are at it for too long.
        """
        until = self._reactor.seconds() + self._node.content.timeout
        while True:
            state = self._state or await self._find(None)
            self._state, self._at_it = state, True  # also while the answer is on its way: nobody else can tell
            self._turns += 1
            try:
                taken = await self._markers.take(state.text)
            except BaseException:
                self.lose()
                raise
            if taken:
                self._taken = self._reactor.seconds()
                return state
            self.lose()
            if self._reactor.seconds() > until:
                raise Unavailable("other daemons change the bucket all the time", RETRY_AFTER)

    def check(self) -> None:
        """Whether whoever has the turn may still go on; later the others think that it is dead.

        :raises Unavailable: where it may not.
        """
        if self._reactor.seconds() - self._taken > STALE_TIMEOUTS / 2 * self._node.content.timeout:
            raise Unavailable("the node is too slow for a change to be made", RETRY_AFTER)

    def see(self, state: State) -> None:
        """Let readers here see a state that is pinned already, but has no marker yet."""
        self._state = state

    async def put(self, state: State) -> None:
        """Let a state count: one that is pinned in place of the one that was taken, or that one again."""
        try:
            self.check()
            await self._markers.add(state.text)
        except BaseException:
            self.lose()
            raise
        self._state, self._at_it = state, False

    def lose(self) -> None:
        """Give up the turn, without knowing which state is pinned: the pins will tell."""
        self._state, self._at_it = None, False

    def number_after(self, state: State) -> int:
        """The number for a state that comes after another: the time in milliseconds, or one more."""
        return max(state.number + 1, int(time.time() * 1000))

    def mark(self, number: int) -> Target:
        """The file that says a state's number; its content is in its CID, so it takes no block."""
        content = f"ipfsreg {self._id} {number}\n".encode()
        return Target(inline_cid(content), len(content))

    async def newest_pinned(self) -> State | None:
        """The state with the highest number of all that are pinned.

        :raises CannotTell: where there is none, but pins that nobody has the first block of.
        """
        roots = await self._node.pins("recursive")
        unknown = await self._fetched(roots) if self._node.cluster else set()
        found = [await self._marked(root) for root in roots if root not in unknown]
        newest = max((state for state in found if state is not None), default=None)
        if newest is None and unknown:
            raise CannotTell(
                f"of {len(unknown)} pins of the cluster nobody has the first block; one may be ours", RETRY_AFTER
            )
        return newest

    async def _fetched(self, roots: Sequence[str]) -> set[str]:
        """Have the node fetch the first blocks of all that may be states; answers what nobody has of these."""
        unknown: set[str] = set()
        left = iter(roots)

        async def fetch() -> None:
            for root in left:
                try:
                    if (cid := parse_cid(root)).codec == DAG_PB and cid.version:
                        await self._node.get_block(cid, FETCH_SECONDS)
                except (CIDInvalid, Corrupt):
                    pass
                except (Missing, GaveUp):
                    unknown.add(root)

        try:
            await gatherResults([ensureDeferred(fetch()) for _ in range(FETCHES)], consumeErrors=True)
        except FirstError as error:
            error.subFailure.raiseException()
        return unknown

    async def _marked(self, root: str) -> State | None:
        try:
            link = await self._directories.find(parse_cid(root), [MARK])
        except (CIDInvalid, Corrupt, Missing):  # somebody else's pin
            return None
        content = None if link is None else inline_content(link.cid)
        match = None if content is None else _MARK.fullmatch(content)
        return State(int(match[2]), root) if match is not None and match[1].decode() == self._id else None

    async def _find(self, last: State | None) -> State:
        """Look for a marker until there is one; ``last`` is as good as long as nobody has replaced it."""
        until = self._reactor.seconds() + self._node.content.timeout
        while True:
            await self._finding.acquire()
            try:
                if self._at_it and self._state is not None:
                    return self._state
                turns = self._turns
                state = await self._look() or await self._restored(turns)
                if state is not None:
                    if not self._at_it:
                        self._state = state if self._state is None else max(state, self._state)
                    return state
            finally:
                self._finding.release()
            if last is not None and await self._node.is_pinned(last.root):
                return last
            if self._reactor.seconds() > until:
                raise Unavailable("another daemon does not get on with a change of the bucket", RETRY_AFTER)
            await deferLater(self._reactor, POLL, lambda: None)

    async def _look(self) -> State | None:
        """What the markers say."""
        found = [_COUNTING.fullmatch(text) for text in await self._markers.all()]
        states = sorted(State(int(match[1]), match[2]) for match in found if match is not None)
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
        names = [text for text in await self._markers.all() if text.startswith("daemon ")]
        if self._owner not in names:
            raise Replaced("the node has not got what this daemon left there", RETRY_AFTER)
        alone, now = len(names) == 1, self._reactor.seconds()
        if not alone and now - self._scanned < FIRST_SECONDS:
            return None
        self._scanned, pinned = now, await self.newest_pinned()
        if self._none_since is None or self._none_since[1] != pinned:
            self._none_since = (now, pinned)
        stale = FIRST_SECONDS if pinned is None else STALE_TIMEOUTS * self._node.content.timeout
        if not alone and now - self._none_since[0] < stale:
            return None
        if pinned is not None and pinned.number < self._least:
            raise Unavailable(
                f"what is pinned, {pinned.root}, is older than what this daemon has seen; a peer of a cluster may not "
                "know of the newest pin yet. To go on from there, remove this daemon's kubo.json",
                NOBODY_HELPS,
            )
        state = await self._begin() if pinned is None else State(pinned.number + 1, pinned.root)
        now = self._reactor.seconds()
        found = await self._look()
        if found is not None or self._turns != turns:
            return found
        await self._markers.add(state.text)
        if pinned is not None:
            self._log.warn("No daemon says which state of the bucket counts; the one that is pinned does.")
        if alone and self._reactor.seconds() - now < FIRST_SECONDS:
            return state
        await deferLater(self._reactor, SETTLE_SECONDS, lambda: None)
        return await self._look()
