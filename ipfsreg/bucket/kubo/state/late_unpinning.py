"""States that a cluster has replaced stay pinned for a while.

A node pins a state in place of the last one in one step. The peers of a cluster learn of a pin in their own time, and
each then has its node pin it. As long as the last one is pinned there, a peer looks only at what differs, and has all
the rest pinned; else it would look at every block.

And what is unpinned late, one by one, tells a peer of all before it: of many changes at once a peer of a crdt cluster
passes over the last ones until it hears of another (seen with 1.1.6: a queue of 32 that drops what is too much, and the
same news is not told again for half an hour).
"""

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from .notes import Notes

KEPT_SECONDS = 10.0
"""How long a state stays pinned after it was replaced, unless it is one of too many."""

LAST_SECONDS = 60.0
"""How long the last one of them does: what peers have passed over of a long rush they hear of then."""

KEPT = 16
"""How many of them stay at most."""

PACE_SECONDS = 0.1
"""The time between two of them, so that no peer passes over any."""


class LateUnpinning:
    """See the module. ``unpin`` unpins one of the CIDs in the ``unsettled`` of ``notes``, and takes it from there."""

    _log = Logger()

    def __init__(self, unpin: Callable[[str], Awaitable[None]], notes: Notes, reactor: Any) -> None:
        self._unpin = unpin
        self._notes = notes
        self._reactor = reactor
        self._replaced: list[tuple[str, float]] = []
        self._waiting: IDelayedCall | None = None
        self._going: Deferred[None] | None = None
        self._stopped = False

    def add(self, root: str) -> None:
        """A state, which is unsettled, was replaced for good."""
        self._replaced.append((root, self._reactor.seconds()))
        self._wait()

    def kept(self) -> set[str]:
        """Those that are to stay for now."""
        self._replaced = [each for each in self._replaced if each[0] in self._notes.unsettled]
        now = self._reactor.seconds()
        young = [cid for cid, when in self._replaced[:-1] if now - when < KEPT_SECONDS]
        return {*young[-KEPT:], *(cid for cid, when in self._replaced[-1:] if now - when < LAST_SECONDS)}

    def stop(self) -> None:
        """Leave the rest for the next start."""
        self._stopped = True
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        if self._going is not None:
            self._going.cancel()

    def _wait(self) -> None:
        if self._waiting is None and self._going is None and not self._stopped:
            self._waiting = self._reactor.callLater(KEPT_SECONDS, self._begin)

    def _begin(self) -> None:
        self._waiting = None
        self._going = ensureDeferred(self._unpin_late())
        self._going.addBoth(self._ended)

    async def _unpin_late(self) -> None:
        kept = self.kept()
        for cid in [cid for cid, _ in self._replaced if cid not in kept]:
            await self._unpin(cid)
            await deferLater(self._reactor, PACE_SECONDS, lambda: None)

    def _ended(self, result: None | Failure) -> None:
        self._going = None
        if isinstance(result, Failure) and not result.check(CancelledError):
            self._log.failure("Unpinning what was replaced ended in an unforeseen way", result)
        if self.kept():
            self._wait()
