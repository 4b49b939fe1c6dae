"""The folder in the node's MFS: who may change it, and which state of it counts.

``FOLDER/bucket`` is the working copy, ``FOLDER/root`` a file with the CID of the state that counts, ``FOLDER/lock``
is there while somebody changes them. A batch of changes is made in the working copy; its CID is pinned, recursively, in
place of the last one; then the file names it. So every reader sees a state as a whole; what was acknowledged is below a
pin, which no garbage collection touches, whatever a node that collects beside us does to its MFS (which before Kubo
0.43 takes no lock for it; fact sheet, section 2); and a pin that succeeded says that every block is there, which
nothing else does without a trailer.
"""

import json
import secrets
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...workers import Workers
from ..errors import BucketError, NotFound, Refused, Unavailable
from ..sources import MemorySource
from .errors import RETRY_AFTER, AlreadyPinned, ContentLost, Missing, NotPinned
from .lock import FolderLock
from .node import CID, Node
from .working_copy import Change, Nothing, WorkingCopy

BATCH = 64
"""Changes in one batch at most: a node allows 256 that are not flushed, of all its clients."""

GATHER_SECONDS = 0.002
TRIES = 4

_POINTER_MAX = 256

NOBODY_HELPS = 60
"""Seconds after which a client may try again where somebody has to do something first."""

MARK = ".ipfsreg"
"""A file in every bucket's top directory, which nothing else reads."""


class Index:
    """See the module. ``state`` is a file of this disk in which the daemon notes what it pinned."""

    _log = Logger()

    def __init__(self, node: Node, folder: str, state: Path, workers: Workers, reactor: Any) -> None:
        self._node = node
        self._folder = folder
        self._top = f"{folder}/bucket"
        self._pointer = f"{folder}/root"
        self._state = state
        self._workers = workers
        self._reactor = reactor
        self._queue: list[Change] = []
        self._running: Deferred[None] | None = None
        self._asking: list[Deferred[str]] | None = None
        self._owner = ""
        self._known: str | None = None
        self._stopped = False
        self._lock: FolderLock | None = None

    async def open(self) -> None:
        """Make the folder where it is not there, or bring it back from what this daemon last saw of it.

        :raises BucketError: where the node does not let us.
        """
        noted = await self._workers.run(self._read_state)
        if self._lock is None:
            self._owner = noted.get("owner") or secrets.token_hex(16)
            self._lock = FolderLock(self._node, self._folder, self._owner, self._state_or_none, self._reactor)
        lock = self._lock
        self._known = self._known or noted.get("root")
        await self._note(noted.get("root"), noted.get("pinning"))
        await self._node.make_directory(self._folder)
        await lock.acquire()
        try:
            root = await self._counting_root()
            if root is None:
                root = await self._begin(noted.get("root"))
            left = noted.get("pinning")
            if left is not None and left != root:
                root = await self._after_crash(root, left)
            await self._note(root)
        finally:
            await lock.release()
        await self._node.flush(self._folder)

    async def _after_crash(self, root: str, left: str) -> str:
        """Which state counts, where this daemon was about to make another one count: the one that is pinned."""
        if await self._node.is_pinned(left) and not await self._node.is_pinned(root):
            await self._point_to(left)
            return left
        await self._unpin(left)
        return root

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
        try:
            return await self._stored_root()
        except Missing:
            await self.change(Nothing())  # which makes the folder anew, if anybody can
            return await self._stored_root()

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
        assert self._lock is not None
        await self._lock.acquire()
        try:
            failed = await self._changed(batch)
        finally:
            await self._lock.release()
        # Without the lock: a node that is killed now comes back without it, too.
        await self._node.flush(self._folder)
        return failed

    async def _changed(self, batch: Sequence[Change]) -> dict[Change, Failure]:
        assert self._lock is not None
        old = await self._counting_root()
        if old is None:
            raise FolderGone(f"{self._pointer} is not there any more", RETRY_AFTER)
        failed: dict[Change, Failure] = {}
        for again in range(TRIES):
            self._lock.check()
            await self._reset(old)
            copy = WorkingCopy(self._node, self._top)
            try:
                for change in batch:
                    if change not in failed:
                        await self._make(change, copy, again, failed)
                if not copy.changes:
                    return failed
                new = (await self._node.stat(self._top)).cid
                if new != old:
                    await self._check(new, copy.expected)
                    await self._pin(old, new)
                    await self._point_to(new)
                    await self._note(new)
                return failed
            except Missing as error:
                self._log.info("A change is made again, since blocks were lost beside it: {error}", error=error)
        raise Unavailable("the node loses what is stored: is garbage being collected all the time?", RETRY_AFTER)

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

    async def _pin(self, old: str, new: str) -> None:
        await self._note(old, new)
        try:
            await self._node.move_pin(old, new)
        except AlreadyPinned:
            await self._unpin(old)
        except NotPinned:
            # Somebody unpinned it, or a crash came between the pin and the pointer.
            await self._node.pin(new)
            await self._unpin(old)
        self._known = new

    async def _unpin(self, cid: str) -> None:
        try:
            await self._node.unpin(cid)
        except (NotPinned, NotFound):
            return

    async def _begin(self, known: str | None) -> str:
        """The first state that counts: the one that this daemon knows where the node has lost it, else an empty one."""
        found = await WorkingCopy(self._node, self._folder).find("bucket")
        if known is not None:
            # Exactly one state is pinned: another daemon may have stored a newer one, which must not be lost to this.
            if not await self._node.is_pinned(known):
                raise Unavailable(
                    f"the node has no {self._pointer}, and {known}, which this daemon stored last, is not pinned "
                    "there; if another daemon stored later, start that one; to begin with an empty folder, remove "
                    f"{self._state}",
                    NOBODY_HELPS,
                )
            self._log.warn(
                "The node has no {path}; bringing back {root}, which this daemon stored last.",
                path=self._pointer,
                root=known,
            )
            if found is not None:
                await self._node.remove(self._top)
            await self._node.copy(known, self._top)
        elif found is None:
            # With a mark, so that no two folders are ever the same: a node counts one pin for both.
            mark = await self._node.add(MemorySource(f"{secrets.token_hex(16)}\n".encode()))
            await self._node.make_directory(self._top)
            await self._node.copy(mark, f"{self._top}/{MARK}")
        root = (await self._node.stat(self._top)).cid
        await self._node.pin(root)
        await self._node.write(self._pointer, root.encode())
        return root

    async def _counting_root(self) -> str | None:
        """See `_stored_root`; where the node has lost blocks of the folder itself, it is made anew."""
        try:
            return await self._stored_root()
        except Missing as error:
            known = self._known
            # Exactly one state is pinned, and that is the one that counts: no daemon may bring back an older one.
            if known is None or not await self._node.is_pinned(known):
                raise
            await self._make_anew(known, error)
            return known

    async def _point_to(self, root: str) -> None:
        try:
            await self._node.write(self._pointer, root.encode())
        except Missing as error:
            await self._make_anew(root, error)

    async def _state_or_none(self) -> str | None:
        try:
            return await self._stored_root()
        except Missing:
            return None

    async def _make_anew(self, root: str, why: Missing) -> None:
        assert self._lock is not None
        self._log.warn(
            "The node has lost a part of {folder}, which is made anew: {error}", folder=self._folder, error=why
        )
        await self._node.remove(self._folder)
        await self._node.make_directory(self._folder)
        await self._lock.take()
        await self._node.copy(root, self._top)
        await self._node.write(self._pointer, root.encode())

    async def _stored_root(self) -> str | None:
        try:
            text = (await self._node.read_path(self._pointer, _POINTER_MAX)).decode("ascii", "replace").strip()
        except NotFound:
            return None
        if not CID.fullmatch(text):
            # The node reports what it lacks in a trailer, after an answer that is merely empty.
            raise Missing(f"{self._pointer} holds no CID, or did not come whole", RETRY_AFTER)
        return text

    def _read_state(self) -> dict[str, Any]:
        try:
            found = json.loads(self._state.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        # What was noted of another folder is of no use for this one.
        return found if isinstance(found, dict) and found.get("folder") == self._folder else {}

    async def _note(self, root: str | None, pinning: str | None = None) -> None:
        self._known = root
        noted = json.dumps({"folder": self._folder, "owner": self._owner, "root": root, "pinning": pinning})
        await self._workers.run(_replace, self._state, noted + "\n")


class FolderGone(Unavailable):
    """The node has not the folder that it had: another node, or one that was emptied."""


def _replace(path: Path, text: str) -> None:
    draft = path.with_suffix(".new")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


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
