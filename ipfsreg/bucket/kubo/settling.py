"""Pins that are not to stay: of states that were replaced, and of changes that nobody knows the end of.

A node pins a state in place of the last one in one step. The peers of a cluster learn of a pin in their own time, and
each then has its node pin it; so there the last states stay pinned for a while. Meanwhile a peer has all of the
newest state that it had before, and looks only at what differs; where the last one was unpinned it would look at every
block. And what is unpinned late, one by one, tells a peer of all before it: of many changes at once a peer of a crdt
cluster passes over the last ones until it hears of another (seen with 1.1.6: a queue of 32 that drops what is too
much, and the same news is not told again for half an hour).
"""

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..errors import BucketError, NotFound
from .errors import NotPinned
from .node import Node
from .notes import Notes

KEPT_SECONDS = 10.0
"""How long a state stays pinned after it was replaced in a cluster, unless it is one of too many."""

LAST_SECONDS = 60.0
"""How long the last one of them does: what peers have passed over of a long rush they hear of then."""

KEPT = 16
"""How many of them stay at most."""

PACE_SECONDS = 0.1
"""The time between two of them, so that no peer passes over any."""


class Settling:
    """See the module. What is to be unpinned is in the ``unsettled`` of ``notes``."""

    _log = Logger()

    def __init__(self, node: Node, notes: Notes, reactor: Any) -> None:
        self._node = node
        self._notes = notes
        self._reactor = reactor
        self._replaced: list[tuple[str, float]] = []
        self._waiting: IDelayedCall | None = None
        self._going: Deferred[None] | None = None
        self._stopped = False

    def replaced(self, root: str) -> None:
        """A state, which is unsettled, was replaced in a cluster: it is unpinned later."""
        self._replaced.append((root, self._reactor.seconds()))
        self._wait()

    async def settle(self, counts: str) -> None:
        """Unpin what is due, but not the state that counts. To be called where no change is under way."""
        for cid in self._notes.unsettled - {counts} - self._kept():
            await self.unpin(cid)

    async def unpin(self, cid: str) -> None:
        """Unpin one; where that fails it is tried again with the next change."""
        try:
            await self._node.unpin(cid)
        except (NotPinned, NotFound):
            pass
        except BucketError as error:
            self._log.info("{cid} stays pinned until the next change: {error}", cid=cid, error=error)
            return
        self._notes.unsettled.discard(cid)

    def stop(self) -> None:
        """Leave the rest for the next start."""
        self._stopped = True
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        if self._going is not None:
            self._going.cancel()

    def _kept(self) -> set[str]:
        self._replaced = [each for each in self._replaced if each[0] in self._notes.unsettled]
        now = self._reactor.seconds()
        young = [cid for cid, when in self._replaced[:-1] if now - when < KEPT_SECONDS]
        return {*young[-KEPT:], *(cid for cid, when in self._replaced[-1:] if now - when < LAST_SECONDS)}

    def _wait(self) -> None:
        if self._waiting is None and self._going is None and not self._stopped:
            self._waiting = self._reactor.callLater(KEPT_SECONDS, self._begin)

    def _begin(self) -> None:
        self._waiting = None
        self._going = ensureDeferred(self._unpin_late())
        self._going.addBoth(self._ended)

    async def _unpin_late(self) -> None:
        # Only what was replaced for good: what else is unsettled may be a change that is under way.
        kept = self._kept()
        for cid in [cid for cid, _ in self._replaced if cid not in kept]:
            await self.unpin(cid)
            await deferLater(self._reactor, PACE_SECONDS, lambda: None)

    def _ended(self, result: None | Failure) -> None:
        self._going = None
        if isinstance(result, Failure) and not result.check(CancelledError):
            self._log.failure("Unpinning what was replaced ended in an unforeseen way", result)
        if self._kept():
            self._wait()
