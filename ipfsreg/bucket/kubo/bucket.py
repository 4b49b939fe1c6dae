"""A bucket that is a folder in the MFS of an IPFS node."""

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from twisted.application.internet import backoffPolicy
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, succeed
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ...workers import Workers
from ..errors import BucketError, NotFound, SetupError, Unavailable
from ..interface import Entry, IBucket, IReader, Listing, Stat, check_path
from ..shared_work import SharedWork
from ..sources import FileSource, MemorySource, Source
from .ahead import Ahead
from .changes import Link, Move, Remove
from .errors import RETRY_AFTER, ContentLost, NotPinned
from .growing import GrowingFile
from .index import FolderGone, Index
from .node import Node
from .options import KuboOptions
from .rpc import Rpc
from .tree import Tree

T = TypeVar("T")

PIECE = 1024 * 1024
"""How much of a file is read at once on its way to the node: fewer turns of the threads, and it is not in the way."""

TRIES = 3
"""How often content is added again that garbage collection took before it was linked."""

_pause = backoffPolicy(1.0, 30.0)


@implementer(IBucket)
class KuboBucket:
    """See `IBucket`. Other daemons may use the same folder, through this node or, of a cluster, another one."""

    shared = True

    _log = Logger()

    def __init__(self, options: KuboOptions, content: Rpc, index: Rpc, workers: Workers, reactor: Any) -> None:
        self.name = f"folder {options.path} of the IPFS node at {options.node()}"
        self.node = Node(content, index, options.chunker, options.max_file_links, options.cluster)
        self._options = options
        self._workers = workers
        self._reactor = reactor
        self._index = Index(self.node, options.path, options.directory / "kubo.json", workers, reactor)
        self._tree = Tree(self.node.contents, self.root)
        self.ahead = Ahead(self._add_ahead, workers)
        self._ready = False
        self._setup: SharedWork[None] = SharedWork(self._set_up)
        self._looking: Deferred[None] | None = None

    def start(self) -> "Deferred[None]":
        """See `IBucket.start`. The node is looked for in the background, and with each request."""
        for warning in self._options.warnings():
            self._log.warn("{warning}", warning=warning)
        self._looking = ensureDeferred(self._look()).addErrback(self._looked_badly)
        return succeed(None)

    def stop(self) -> "Deferred[None]":
        """See `IBucket.stop`."""
        return ensureDeferred(self._stop())

    async def _stop(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
        self.ahead.stop()
        self._index.stop()
        for rpc in {self.node.content, self.node.index}:
            await rpc.stop()

    async def _look(self) -> None:
        tries = 0
        while True:
            try:
                await self._setup.outcome()
            except BucketError as error:
                log = self._log.info if tries else self._log.error
                log("{name} cannot be used yet: {error}", name=self.name, error=error)
            else:
                break
            await deferLater(self._reactor, _pause(tries), lambda: None)
            tries += 1
        self._log.info("Using the {name}.", name=self.name)

    def _looked_badly(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._log.failure("Looking for {name} failed", failure, name=self.name)

    async def _set_up(self) -> None:
        try:
            await self.node.look()
            await self._index.open()
        except SetupError as error:
            raise Unavailable(str(error), 60) from None
        self._ready = True

    async def root(self) -> str:
        """The CID of the directory with all files, as it was acknowledged last by whichever daemon."""
        if not self._ready:
            await self._setup.outcome()
        try:
            return await self._index.root()
        except FolderGone:
            self._ready = False
            raise

    def stat(self, path: str) -> "Deferred[Stat]":
        """See `IBucket.stat`."""
        return self._tree.stat(path)

    def get(self, path: str, limit: int) -> "Deferred[bytes]":
        """See `IBucket.get`."""
        return self._tree.get(path, limit)

    def open(self, path: str) -> "Deferred[IReader]":
        """See `IBucket.open`."""
        return self._tree.open(path)

    def list(self, directory: str) -> "Deferred[Sequence[Entry]]":
        """See `IBucket.list`."""
        return self._tree.list(directory)

    def walk(self, directory: str, into: Callable[[str], bool] | None = None) -> AsyncIterator[Sequence[Listing]]:
        """See `IBucket.walk`."""
        return self._tree.walk(directory, into)

    def put(self, path: str, content: bytes) -> "Deferred[None]":
        """See `IBucket.put`."""
        check_path(path)
        return ensureDeferred(self._store(path, MemorySource(content)))

    def put_file(self, path: str, source: Path) -> "Deferred[None]":
        """See `IBucket.put_file`."""
        check_path(path)

        async def put() -> None:
            file = await FileSource.of(source, self._workers, PIECE)
            await self._store(path, file, await self.ahead.finish(source, file.size))
            # Whoever waits for the push need not wait for the disk to get its room back (0.1 s for a GiB).
            self._workers.run(os.close, await self._workers.run(_unlink_open, source))

        return ensureDeferred(put())

    async def _add_ahead(self, source: GrowingFile) -> str:
        if not self._ready:
            await self._setup.outcome()
        return await self.node.add(source)

    async def _store(self, path: str, source: Source, cid: str | None = None) -> None:
        if not self._ready:
            await self._setup.outcome()
        if cid is None:
            cid = await self.node.add(source)
        for _ in range(TRIES):
            try:
                await self._change(Link(path, cid))
                return
            except ContentLost as error:
                self._log.info("{error}; it is added again", error=error)
                if await self._store_pinned(path, source, cid):
                    return
        raise Unavailable("the node loses what is stored: is garbage being collected all the time?", RETRY_AFTER)

    async def _store_pinned(self, path: str, source: Source, cid: str) -> bool:
        """Store what garbage collection took from us: with a pin of its own, which waits for the collection to end.

        Answers whether that helped: the node may fail to pin, and does not say so to us.
        """
        # A node counts one pin for all who wanted it: one that was there before is somebody else's.
        others = await self.node.is_pinned(cid)
        cid = await self.node.add(source, pin=True)
        try:
            await self._change(Link(path, cid))
        except ContentLost:
            return False
        finally:
            if not others:
                with suppress(NotPinned, NotFound):
                    await self.node.unpin(cid)
        return True

    def move(self, source: str, destination: str) -> "Deferred[None]":
        """See `IBucket.move`. What the node has lost blocks of is removed, since it cannot be kept anywhere."""
        check_path(source)
        check_path(destination)
        return ensureDeferred(self._change(Move(source, destination)))

    def remove(self, path: str) -> "Deferred[None]":
        """See `IBucket.remove`."""
        check_path(path)
        return ensureDeferred(self._change(Remove(path)))

    async def _change(self, change: Link | Move | Remove) -> None:
        if not self._ready:
            await self._setup.outcome()
        try:
            await self._index.change(change)
        except FolderGone:
            self._ready = False
            raise


def _unlink_open(path: Path) -> int:
    """Remove a file that is held open: a descriptor with which it goes."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        path.unlink()
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
