"""The changes of a bucket."""

from abc import ABC, abstractmethod

from twisted.logger import Logger

from ipfsreg.bucket.errors import NotFound
from ipfsreg.bucket.kubo.errors import RETRY_AFTER, ContentLost
from ipfsreg.bucket.kubo.node.node import Target
from ipfsreg.ipfs.cid import CID

from .draft import StateDraft


class Change(ABC):
    """One change. It may be made again, upon the same state or a later one.

    ``size`` is the length of what the node has to read for it, in bytes. ``content`` is what the node has to have all
    blocks of, once the change was made.
    """

    size = 0
    content: CID | None = None

    @abstractmethod
    async def make(self, draft: StateDraft, *, lost: bool) -> None:
        """Make it. ``lost`` says that it was tried before, and that the node has not all of the content."""


class Store(Change):
    """Let a path lead to a small file, which is stored with the state itself."""

    def __init__(self, path: str, content: bytes) -> None:
        self.size = len(content)
        self._path = path
        self._bytes = content

    async def make(self, draft: StateDraft, *, lost: bool) -> None:
        await draft.store(self._path, self._bytes)


class Link(Change):
    """Let a path lead to content that was added."""

    def __init__(self, path: str, target: Target) -> None:
        self.size = target.size
        self.content = target.cid
        self._path = path
        self._target = target

    async def make(self, draft: StateDraft, *, lost: bool) -> None:
        """See `Change.make`. `ContentLost` where the node has not all of it any more."""
        if lost:
            raise ContentLost(f"garbage was collected, with what was added for {self._path}", RETRY_AFTER)
        await draft.link(self._path, self._target)


class Move(Change):
    """Let a file have another path. A file of which the node has lost a block is removed instead."""

    _log = Logger()

    def __init__(self, source: str, destination: str) -> None:
        self._source = source
        self._destination = destination

    async def make(self, draft: StateDraft, *, lost: bool) -> None:
        found = await draft.find(self._source)
        if found is None:
            raise NotFound(f"{self._source} is not there")
        if self._source == self._destination:
            return
        self.size = found.size
        if lost:
            self._log.error("The node has lost a part of {path}; it is not kept.", path=self._source)
            self.content = None
        else:
            await draft.link(self._destination, found)
            self.content = found.cid
        draft.unlink(self._source)


class IfStill(Change):
    """Another change of a file, made only where the path still leads to a content; ``made`` says whether it was."""

    def __init__(self, path: str, cid: str, change: Change) -> None:
        self.size = change.size
        self.made = False
        self._path = path
        self._cid = cid
        self._change = change

    async def make(self, draft: StateDraft, *, lost: bool) -> None:
        found = await draft.find(self._path)
        self.made = found is not None and str(found.cid) == self._cid
        self.content = self._change.content if self.made else None
        if self.made:
            await self._change.make(draft, lost=lost)


class Remove(Change):
    """Remove a file."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def make(self, draft: StateDraft, *, lost: bool) -> None:
        if await draft.find(self._path) is None:
            raise NotFound(f"{self._path} is not there")
        draft.unlink(self._path)
