"""The folder in the node's MFS: who may change it, and which state of it counts.

``FOLDER/bucket`` is the working copy, ``FOLDER/root`` a file with the CID of the state that counts, ``FOLDER/lock``
is there while somebody changes them. A batch of changes is made in the working copy; its CID is pinned, recursively, in
place of the last one; then the file names it. So every reader sees a state as a whole; what was acknowledged is below a
pin, which no garbage collection touches, whatever a node that collects beside us does to its MFS (which before Kubo
0.43 takes no lock for it; fact sheet, section 2); and a pin that succeeded says that every block is there, which
nothing else does without a trailer.

So the pin decides: a file that names another state than the pinned one is one that a late call wrote. And where the
MFS hangs, as it does on a node before 0.43 that looks for a lost directory in the network, the last state that is
pinned is read, and changed without the MFS as long as no other daemon uses the folder.
"""

from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, gatherResults
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from ...workers import Workers
from ..errors import BucketError, NotFound, Refused, Unavailable
from .errors import RETRY_AFTER, ContentLost, Missing, Unreachable
from .folder import MFS_HANGS, NOBODY_HELPS, Folder, FolderGone
from .node import LOOK_SECONDS, Node
from .noted import Noted
from .patched import PatchedCopy
from .working_copy import Change, Nothing, WorkingCopy

BATCH = 64
"""Changes in one batch at most: a node allows 256 that are not flushed, of all its clients."""

GATHER_SECONDS = 0.002
TRIES = 4
PATCH_TRIES = 12
"""The same without the MFS, where nothing but a pin keeps what was made."""

_LOSES = "the node loses what is stored: is garbage being collected all the time?"


class Index(Folder):
    """See the module. ``state`` is a file of this disk in which the daemon notes what it pinned."""

    def __init__(self, node: Node, folder: str, state: Path, workers: Workers, reactor: Any) -> None:
        super().__init__(node, folder, Noted(state, folder, workers), reactor)
        self._queue: list[Change] = []
        self._running: Deferred[None] | None = None
        self._asking: list[Deferred[str]] | None = None
        self._stopped = False

    def stop(self) -> None:
        """Give up what waits and what is under way."""
        self._stopped = True
        if self._running is not None:
            self._running.cancel()

    def root(self) -> "Deferred[str]":
        """The CID of the state that counts now. All who ask at the same time share an answer."""
        done: Deferred[str] = Deferred()
        if self._asking is not None:
            self._asking.append(done)
            return done
        self._ask([done])
        return done

    def _ask(self, waiting: "list[Deferred[str]]") -> None:
        self._asking = waiting

        def answered(result: str | Failure | None) -> None:
            if self._asking is waiting:
                self._asking = None
            for each in waiting:
                if each.called:
                    continue
                if isinstance(result, Failure):
                    each.errback(result)
                elif result is None:
                    each.errback(Failure(FolderGone(f"{self._pointer} is not there any more", RETRY_AFTER)))
                else:
                    each.callback(result)

        ensureDeferred(self._readable_root()).addBoth(answered)

    async def _readable_root(self) -> str | None:
        if not await self._hangs(look=False):
            try:
                return await self._pinned_instead(await self._stored_root(min(LOOK_SECONDS, self._node.index.timeout)))
            except Missing:
                await self.change(Nothing())  # which makes the folder anew, if anybody can
                return await self._stored_root()
            except Unreachable:
                raise
            except Unavailable:
                if not await self._hangs():
                    return await self._pinned_instead(await self._stored_root())
        root = await self._pinned_state()
        if root is None:
            raise Unavailable(MFS_HANGS, NOBODY_HELPS)
        return root

    def change(self, change: Change) -> "Deferred[None]":
        """Have a change made in the next batch; fires when it is durable."""
        if self._stopped:
            change.done.errback(Failure(Unavailable("the daemon is stopping")))
            return change.done
        self._queue.append(change)
        if self._running is None:
            self._running = ensureDeferred(self._run())
            self._running.addBoth(self._ended)
        return change.done

    def _ended(self, result: None | Failure) -> None:
        self._running = None
        stopped = Unavailable("the daemon is stopping")
        if isinstance(result, Failure) and not result.check(CancelledError):
            self._log.failure("A change of the node's folder ended in an unforeseen way", result)
        queue, self._queue = self._queue, []
        for change in queue:
            if not change.done.called:
                change.done.errback(Failure(stopped))

    async def _run(self) -> None:
        while self._queue:
            await deferLater(self._reactor, GATHER_SECONDS, lambda: None)
            batch, self._queue = self._queue[:BATCH], self._queue[BATCH:]
            try:
                failed = await self._commit(batch)
            except BucketError as error:
                failed = dict.fromkeys(batch, Failure(error))
            except BaseException:
                _finish(batch, dict.fromkeys(batch, Failure(Unavailable("the daemon is stopping"))))
                raise
            # Who asks from now on has to see it: an answer that is on its way may be older.
            self._asking = None
            _finish(batch, failed)

    async def _commit(self, batch: Sequence[Change]) -> dict[Change, Failure]:
        if await self._hangs(look=bool(self._hung_until)):
            return await self._patched(batch)
        self._hung_until = 0.0
        try:
            await self._lock.acquire()
            try:
                failed = await self._changed(batch)
            finally:
                await self._lock.release()
            # Without the lock: a node that is killed now comes back without it, too.
            await self._node.flush(self._folder)
        except (Missing, Unreachable):
            raise
        except Unavailable:
            if not await self._hangs():
                raise
            return await self._patched(batch)
        return failed

    async def _changed(self, batch: Sequence[Change]) -> dict[Change, Failure]:
        old = await self._counting_root()
        if old is None:
            raise FolderGone(f"{self._pointer} is not there any more", RETRY_AFTER)
        failed: dict[Change, Failure] = {}
        for again in range(TRIES):
            self._lock.check()
            await self._reset(old)
            copy = WorkingCopy(self._node, self._top)
            try:
                await self._make_all(batch, copy, again, failed)
                if not copy.changes:
                    return failed
                new = (await self._node.stat(self._top)).cid
                if new != old:
                    await self._check(new, copy.expected)
                    await self._lock.confirm()
                    await self._pin(old, new)
                    await self._lock.confirm()
                    await self._point_to(new)
                    await self._noted.write(new)
                    await self._settle()
                return failed
            except Missing as error:
                self._log.info("A change is made again, since blocks were lost beside it: {error}", error=error)
        raise Unavailable(_LOSES, RETRY_AFTER)

    async def _patched(self, batch: Sequence[Change]) -> dict[Change, Failure]:
        """Make changes without the MFS. There is no lock, but pinning fails where another state is pinned by now."""
        old = await self._pinned_state()
        if old is None or self._noted.shared or not self._node.can_patch:
            raise Unavailable(MFS_HANGS, NOBODY_HELPS)
        failed: dict[Change, Failure] = {}
        for again in range(PATCH_TRIES):
            copy = PatchedCopy(self._node, old)
            try:
                await self._make_all(batch, copy, again, failed)
                if copy.root != old:
                    await self._noted.write(old, copy.root)
                    await self._node.move_pin(old, copy.root)
                    await self._noted.write(copy.root)
                return failed
            except Missing as error:
                self._log.info("A change is made again, since blocks were lost beside it: {error}", error=error)
        raise Unavailable(_LOSES, RETRY_AFTER)

    async def _make_all(
        self, batch: Sequence[Change], copy: WorkingCopy, again: int, failed: dict[Change, Failure]
    ) -> None:
        for change in batch:
            if change not in failed:
                await self._make(change, copy, again, failed)

    async def _make(self, change: Change, copy: WorkingCopy, again: int, failed: dict[Change, Failure]) -> None:
        before = copy.changes
        try:
            await change.make(copy, again)
        except (NotFound, Refused, ContentLost) as error:
            if copy.changes != before:  # half of it is made: the others have to begin anew, without it
                failed[change] = Failure(error)
                raise Missing(str(error)) from None
            failed[change] = Failure(error)

    async def _reset(self, root: str) -> None:
        """Make the working copy what counts: what a crash or a failure left there was never acknowledged."""
        found = await WorkingCopy(self._node, self._folder).find("bucket")
        if found is not None and found.cid == root:
            return
        if found is not None:
            await self._node.remove(self._top)
        await self._node.copy(root, self._top)

    async def _check(self, root: str, expected: dict[str, str | None]) -> None:
        """Look whether every change is in a state: another client of the MFS may have undone one."""

        async def look(path: str, cid: str | None) -> None:
            try:
                found = (await self._node.stat(f"/ipfs/{root}/{path}")).cid
            except NotFound:
                found = None
            if found != cid:
                raise Missing(f"{path} was changed by somebody else", RETRY_AFTER)

        await _all(*(look(path, cid) for path, cid in expected.items()))


def _finish(batch: Sequence[Change], failed: dict[Change, Failure]) -> None:
    for change in batch:
        if change.done.called:
            continue
        if change in failed:
            change.done.errback(failed[change])
        else:
            change.done.callback(None)


async def _all(*work: Awaitable[None]) -> None:
    async def run(each: Awaitable[None]) -> None:
        await each

    results: list[Failure] = []
    await gatherResults([ensureDeferred(run(each)).addErrback(results.append) for each in work])
    if results:
        results[0].raiseException()
