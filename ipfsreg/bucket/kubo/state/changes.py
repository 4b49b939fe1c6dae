"""The changes of a bucket, as the index makes them in batches."""

from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ipfsreg.bucket.errors import NotFound
from ipfsreg.bucket.kubo.errors import RETRY_AFTER, ContentLost
from ipfsreg.bucket.kubo.node.contents import Target
from ipfsreg.ipfs.cid import CID

from .draft import Draft


class Change(Protocol):
    """One change. It may be made again, upon the same state or a later one.

    ``size`` is the length of what the node has to read for it, in bytes; ``content`` what the node has to have all
    blocks of, once it was made.
    """

    done: "Deferred[None]"
    size: int
    content: CID | None

    async def make(self, draft: Draft, *, lost: bool) -> None:
        """Make it. ``lost`` says that it was tried before, and that the node has not all of the content."""


class Store:
    """Let a path lead to a small file, which is stored with the state itself."""

    def __init__(self, path: str, content: bytes) -> None:
        self.done: Deferred[None] = Deferred()
        self.size = len(content)
        self.content: CID | None = None
        self._path = path
        self._bytes = content

    async def make(self, draft: Draft, *, lost: bool) -> None:
        """See `Change`."""
        await draft.store(self._path, self._bytes)


class Link:
    """Let a path lead to content that was added."""

    def __init__(self, path: str, target: Target) -> None:
        self.done: Deferred[None] = Deferred()
        self.size = target.size
        self.content: CID | None = target.cid
        self._path = path
        self._target = target

    async def make(self, draft: Draft, *, lost: bool) -> None:
        """See `Change`. `ContentLost` where the node has not all of it any more."""
        if lost:
            raise ContentLost(f"garbage was collected, with what was added for {self._path}", RETRY_AFTER)
        await draft.link(self._path, self._target)


class Move:
    """Let a file have another path."""

    _log = Logger()

    def __init__(self, source: str, destination: str) -> None:
        self.done: Deferred[None] = Deferred()
        self.size = 0
        self.content: CID | None = None
        self._source = source
        self._destination = destination

    async def make(self, draft: Draft, *, lost: bool) -> None:
        """See `Change`."""
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


class Remove:
    """Remove a file."""

    def __init__(self, path: str) -> None:
        self.done: Deferred[None] = Deferred()
        self.size = 0
        self.content: CID | None = None
        self._path = path

    async def make(self, draft: Draft, *, lost: bool) -> None:
        """See `Change`."""
        if await draft.find(self._path) is None:
            raise NotFound(f"{self._path} is not there")
        draft.unlink(self._path)
