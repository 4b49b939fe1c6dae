"""The changes of a bucket, as the index makes them in batches."""

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ..errors import NotFound
from .errors import RETRY_AFTER, ContentLost
from .index import WorkingCopy


class Link:
    """Let a path lead to content that was added."""

    def __init__(self, path: str, cid: str) -> None:
        self.done: Deferred[None] = Deferred()
        self._path = path
        self._cid = cid

    async def make(self, folder: WorkingCopy, again: int) -> None:
        """See `Change`. `ContentLost` where the node has not all of it any more."""
        if again and not await folder.is_whole(self._cid):
            raise ContentLost(f"garbage was collected, with what was added for {self._path}", RETRY_AFTER)
        await folder.link(self._path, self._cid)


class Move:
    """Let a file have another path."""

    _log = Logger()

    def __init__(self, source: str, destination: str) -> None:
        self.done: Deferred[None] = Deferred()
        self._source = source
        self._destination = destination

    async def make(self, folder: WorkingCopy, again: int) -> None:
        """See `Change`."""
        found = await folder.find(self._source)
        if found is None or found.is_directory:
            raise NotFound(f"{self._source} is not there")
        if self._source == self._destination:
            return
        # Not by files/mv: it leaves the file where it was if both directories have the same name.
        if not again or await folder.is_whole(found.cid):
            await folder.link(self._destination, found.cid)
        else:
            self._log.error("The node has lost a part of {path}; it is not kept.", path=self._source)
        await folder.unlink(self._source)


class Remove:
    """Remove a file."""

    def __init__(self, path: str) -> None:
        self.done: Deferred[None] = Deferred()
        self._path = path

    async def make(self, folder: WorkingCopy, again: int) -> None:
        """See `Change`."""
        found = await folder.find(self._path)
        if found is None or found.is_directory:
            raise NotFound(f"{self._path} is not there")
        await folder.unlink(self._path)
