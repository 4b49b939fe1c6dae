"""The folder in the node's MFS and the pin: which state counts, also after a crash, a late call or a loss."""

import secrets
from typing import Any

from twisted.logger import Logger

from ..errors import NotFound, Unavailable
from ..sources import MemorySource
from .errors import RETRY_AFTER, AlreadyPinned, Missing, NotPinned
from .lock import FolderLock
from .node import CID, Node
from .noted import Noted
from .working_copy import WorkingCopy

HANG_SECONDS = 60
"""How long an MFS that hung is left alone: looking at it takes two seconds."""

_POINTER_MAX = 256

NOBODY_HELPS = 60
"""Seconds after which a client may try again where somebody has to do something first."""

MARK = ".ipfsreg"
"""A file in every bucket's top directory, which nothing else reads."""


MFS_HANGS = (
    "the node's MFS does not answer: garbage was collected beside a change, and a node before Kubo 0.43 now looks for "
    "a directory in the network; restart the node"
)


class FolderGone(Unavailable):
    """The node has not the folder that it had: another node, or one that was emptied."""


class Folder:
    """See the module. ``noted`` is what this daemon noted of it."""

    _log = Logger()

    def __init__(self, node: Node, folder: str, noted: Noted, reactor: Any) -> None:
        self._node = node
        self._folder = folder
        self._top = f"{folder}/bucket"
        self._pointer = f"{folder}/root"
        self._noted = noted
        self._reactor = reactor
        self._hung_until = 0.0
        self._lock = FolderLock(node, folder, self._state_or_none, reactor)

    async def open(self) -> None:
        """Make the folder where it is not there, or bring it back from what this daemon last saw of it.

        :raises BucketError: where the node does not let us.
        """
        noted = self._noted
        if not noted.owner:
            await noted.load()
            noted.owner = noted.owner or secrets.token_hex(16)
            self._lock.owned_by(noted.owner)
        await noted.write(noted.root, noted.pinning)
        if await self._hangs() and await self._pinned_state() is not None:
            return
        await self._node.make_directory(self._folder)
        await self._lock.acquire()
        try:
            root, left = await self._counting_root(), noted.pinning
            if root is None:
                root = await self._begin(noted.root)
            if left is not None and left != root:
                root = await self._after_crash(root, left)
            await noted.write(root)
            await self._settle()
        finally:
            await self._lock.release()
        await self._node.flush(self._folder)

    async def _after_crash(self, root: str, left: str) -> str:
        """Which state counts, where this daemon was about to make another one count: the one that is pinned."""
        if await self._node.is_pinned(left) and not await self._node.is_pinned(root):
            await self._point_to(left)
            return left
        await self._unpin(left)
        return root

    async def _pinned_instead(self, root: str | None) -> str | None:
        """What counts, where the file names ``root``: a late call may have written it, after a newer one was pinned."""
        known = self._noted.root
        if root is None or known is None or root == known:
            return root
        if not await self._node.is_pinned(root):
            return await self._pinned_state() or root
        self._noted.root, self._noted.shared = root, True
        return root

    async def _pinned_state(self) -> str | None:
        """The state that this daemon knows to count, if it is still pinned: exactly one is."""
        for cid in (self._noted.root, self._noted.pinning):
            if cid is not None and await self._node.is_pinned(cid):
                return cid
        return None

    async def _hangs(self, look: bool = True) -> bool:
        """Whether the node's MFS hangs; only where that is not known to be so, it is looked at."""
        now = self._reactor.seconds()
        if now < self._hung_until:
            return True
        if not look or not await self._node.mfs_hangs(self._folder):
            return False
        if not self._hung_until:
            self._log.error(MFS_HANGS)
        self._hung_until = now + HANG_SECONDS
        return True

    async def _pin(self, old: str, new: str) -> None:
        noted = self._noted
        await noted.write(old, new)
        try:
            await self._node.move_pin(old, new)
        except AlreadyPinned:
            noted.unsettled.append(old)
        except NotPinned:
            if await self._stored_root() != old:
                raise Unavailable(f"another daemon changed {self._folder} beside this one", RETRY_AFTER) from None
            # Somebody unpinned it.
            await self._node.pin(new)
            noted.unsettled.append(old)

    async def _settle(self) -> None:
        """Unpin what does not count: with the lock, which says that nobody makes it count again meanwhile."""
        noted = self._noted
        for cid in list(noted.unsettled):
            if cid != noted.root:
                await self._unpin(cid)
            noted.unsettled.remove(cid)
            await noted.write(noted.root)

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
                    f"{self._noted.file}",
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
        """The state to change. Where the node has lost blocks of the folder itself, that is made anew."""
        try:
            root = await self._stored_root()
        except Missing as error:
            known = await self._pinned_state()
            # Exactly one state is pinned, and that is the one that counts: no daemon may bring back an older one.
            if known is None:
                raise
            await self._make_anew(known, error)
            return known
        counts = await self._pinned_instead(root)
        if counts is not None and counts != root:
            self._log.warn(
                "{path} names {root}, which is not pinned; {counts} is, and counts.",
                path=self._pointer,
                root=root,
                counts=counts,
            )
            await self._point_to(counts)
        return counts

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
        self._log.warn(
            "The node has lost a part of {folder}, which is made anew: {error}", folder=self._folder, error=why
        )
        await self._node.remove(self._folder)
        await self._node.make_directory(self._folder)
        await self._lock.take()
        await self._node.copy(root, self._top)
        await self._node.write(self._pointer, root.encode())

    async def _stored_root(self, seconds: float | None = None) -> str | None:
        try:
            text = (await self._node.read_path(self._pointer, _POINTER_MAX, seconds)).decode("ascii", "replace").strip()
        except NotFound:
            return None
        if not CID.fullmatch(text):
            # The node reports what it lacks in a trailer, after an answer that is merely empty.
            raise Missing(f"{self._pointer} holds no CID, or did not come whole", RETRY_AFTER)
        return text
