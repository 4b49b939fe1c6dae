"""The folder in which changes are made before they count, and what a change is."""

from typing import Protocol

from twisted.internet.defer import Deferred

from ..errors import NotFound
from .contents import Found
from .errors import Exists, Missing
from .node import Node


class Change(Protocol):
    """One change of the working copy. It may be made again, from the same state."""

    done: "Deferred[None]"

    async def make(self, folder: "WorkingCopy", again: int) -> None:
        """Make it. ``again`` counts how often it was tried before."""


class Nothing:
    """No change: it has the folder looked after."""

    def __init__(self) -> None:
        self.done: Deferred[None] = Deferred()

    async def make(self, folder: "WorkingCopy", again: int) -> None:
        """See `Change`."""


class WorkingCopy:
    """The folder that changes are made in, and what they say has to be there afterwards."""

    def __init__(self, node: Node, top: str) -> None:
        self.node = node
        self._top = top
        self.expected: dict[str, str | None] = {}
        self.changes = 0

    async def find(self, path: str) -> Found | None:
        """What a path leads to now."""
        try:
            return await self.node.stat(f"{self._top}/{path}")
        except NotFound:
            return None

    async def is_whole(self, cid: str) -> bool:
        """Whether the node has every block of a content."""
        try:
            return await self.node.is_whole(cid)
        except Missing:
            return False

    async def link(self, path: str, cid: str) -> None:
        """Let a path lead to content, in place of what was there.

        :raises Exists: for a directory. :raises Missing: where the node has lost the content.
        """
        try:
            await self.node.copy(cid, f"{self._top}/{path}")
        except Exists:
            found = await self.find(path)
            if found is None or found.is_directory:
                raise
            if found.cid != cid:
                self.changes += 1
                await self.node.remove(f"{self._top}/{path}")
                await self.node.copy(cid, f"{self._top}/{path}")
        self.changes += 1
        self.expected[path] = cid

    async def unlink(self, path: str) -> None:
        """Remove a file, and the directories that are empty then."""
        await self.node.remove(f"{self._top}/{path}")
        self.changes += 1
        self.expected[path] = None
        directory = path.rpartition("/")[0]
        while directory:
            found = await self.find(directory)
            if found is None or not found.is_directory or found.children:
                return
            await self.node.remove(f"{self._top}/{directory}")
            directory = directory.rpartition("/")[0]
