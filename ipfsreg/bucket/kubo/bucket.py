"""A bucket that is a directory of an IPFS node, each state of it pinned in place of the last one."""

import os
from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from ipfsreg.bucket.errors import BucketError, SetupError, Unavailable
from ipfsreg.bucket.interface import IBucket, check_path
from ipfsreg.bucket.sources import FileSource, MemorySource, Source
from ipfsreg.flow.background import Background
from ipfsreg.flow.retry import retry
from ipfsreg.flow.single_flight import SingleFlight
from ipfsreg.flow.workers import Workers

from .errors import RETRY_AFTER, Missing
from .json_file import JsonFile
from .node.ahead import Ahead
from .node.markers import FolderMarkers, PinMarkers
from .node.node import Node, Target
from .options import KuboOptions
from .reading.by_blocks import ByBlocks
from .reading.tree import NodeTree
from .rpc.client import Rpc
from .rpc.growing import GrowingFile
from .state.changes import Change, IfStill, Link, Move, Remove, Store
from .state.commits import Commits
from .state.notes import Notes
from .state.presence import Clocks
from .state.shown_folder import ShownFolder
from .state.signing import Signing

ADDED_PIECE = 1024 * 1024
"""How much of a file is read at once on its way to the node: fewer jobs for the threads, and it is not in the way."""

STORED_WITH_CHANGE = 64 * 1024
"""Up to so many bytes are stored together with the change that links them."""

ADD_TRIES = 3
"""How often content is added again that garbage collection took before it was linked."""


@implementer(IBucket)
class KuboBucket(NodeTree):
    """See `IBucket`. Other daemons may use the same folder, through this node or, of a cluster, another one."""

    shared = True

    _log = Logger()

    def __init__(self, options: KuboOptions, content: Rpc, index: Rpc, workers: Workers, clocks: Clocks) -> None:
        self.name = f"bucket {options.path} on the IPFS node at {options.node()}"
        self.node = Node(content, index, options, workers)
        self.ahead = Ahead(self._add_ahead, workers)
        self.signing = Signing()
        self.commits: Commits | None = None
        """None until the node has said what it is."""
        self._options = options
        self._workers = workers
        self._clocks = clocks
        self._folder = ShownFolder(self.node, f"{options.path}/bucket", clocks.reactor)
        self._ready = False
        self._setup: SingleFlight[None] = SingleFlight(self._set_up)
        self._looking = Background(f"look for the {self.name}", self._look)
        super().__init__(ByBlocks(self.node), self.root)

    def start(self) -> "Deferred[None]":
        """See `IBucket.start`. The node is looked for in the background, and with each request."""
        for warning in self._options.warnings():
            self._log.warn("{warning}", warning=warning)
        self._looking.start()
        return succeed(None)

    def stop(self) -> "Deferred[None]":
        return ensureDeferred(self._stop())

    async def _stop(self) -> None:
        self._looking.stop()
        self.ahead.stop()
        if self.commits is not None:
            await self.commits.stop()
        self._folder.stop()
        for rpc in {self.node.content, self.node.index}:
            await rpc.stop()

    async def _look(self) -> None:
        log = self._log.error

        def not_yet(error: BucketError) -> None:
            nonlocal log
            log("{name} cannot be used yet: {error}", name=self.name, error=error)
            log = self._log.info

        await retry(self._clocks.reactor, self._opened, BucketError, not_yet, longest=30.0)
        self._log.info("Using the {name}.", name=self.name)

    async def _set_up(self) -> None:
        path, node = self._options.path, self.node
        try:
            await node.look()
            if self.commits is None:
                markers = PinMarkers(node, path) if node.local else FolderMarkers(node, path)
                notes = Notes(JsonFile(self._options.directory / "kubo.json", self._workers), path)
                self.commits = Commits(node, markers, notes, self._folder, self._clocks, self.signing)
            await self.commits.open()
        except SetupError as error:
            raise Unavailable(str(error), 60) from None
        self._ready = True

    async def _opened(self) -> Commits:
        if not self._ready:
            await self._setup.outcome()
        assert self.commits is not None
        return self.commits

    async def root(self) -> str:
        """The CID of the directory with all files, as it was acknowledged last by whichever daemon."""
        return (await (await self._opened()).register.current()).root

    async def renew(self) -> None:
        """Tell other daemons that this one is there: now and then."""
        if self.commits is not None:
            await self.commits.register.presence.renew()

    # See `Exclusion`.

    async def begin(self, quiet: float) -> bool:
        """See `Exclusion.begin`."""
        return await (await self._opened()).register.presence.begin_collecting(quiet)

    async def look(self) -> None:
        """See `Exclusion.look`."""
        await (await self._opened()).register.presence.look_while_collecting()

    @property
    def holds(self) -> bool:
        """See `Exclusion.holds`."""
        return self.commits is not None and self.commits.register.presence.may_collect

    async def end(self) -> None:
        """See `Exclusion.end`."""
        await (await self._opened()).register.presence.end_collecting()

    def put(self, path: str, content: bytes) -> "Deferred[None]":
        check_path(path)
        return ensureDeferred(self._store(path, MemorySource(content)))

    def put_file(self, path: str, source: Path) -> "Deferred[None]":
        check_path(path)

        async def put() -> None:
            file = await FileSource.of(source, self._workers, ADDED_PIECE)
            await self._store(path, file, await self.ahead.finish(source, file.size))
            # The push need not wait until the disk has freed the file's blocks (0.1 s for a GiB).
            self._workers.run(os.close, await self._workers.run(_unlink_open, source))

        return ensureDeferred(put())

    async def _add_ahead(self, source: GrowingFile) -> Target:
        await self._opened()
        return await self.node.add(source)

    async def replace(self, path: str, cid: str, content: bytes | Path) -> bool:
        """Replace a file as `put` or, for a path of this disk, `put_file` do; only where it still has a CID.

        Answers whether it had. The file of this disk stays.
        """
        file = (
            MemorySource(content)
            if isinstance(content, bytes)
            else await FileSource.of(content, self._workers, ADDED_PIECE)
        )
        changes: list[IfStill] = []

        def if_still(change: Change) -> Change:
            changes.append(IfStill(path, cid, change))
            return changes[-1]

        await self._store(path, file, only=if_still)
        return changes[-1].made

    async def _store(
        self,
        path: str,
        source: Source,
        target: Target | None = None,
        only: Callable[[Change], Change] = lambda change: change,
    ) -> None:
        await self._opened()
        if target is None and source.size <= min(STORED_WITH_CHANGE, self.node.chunk):
            await self._change(only(Store(path, await source.read(0))))
            return
        for pinned in (False, *[True] * ADD_TRIES):
            try:
                if pinned:
                    await self._store_pinned(path, source, target, only)
                else:
                    target = target or await self.node.add(source)
                    await self._change(only(Link(path, target)))
                return
            except Missing as error:
                self._log.info("{error}; it is added again", error=error)
        raise Unavailable("the node loses what is stored: is garbage being collected all the time?", RETRY_AFTER)

    async def _store_pinned(
        self, path: str, source: Source, target: Target | None, only: Callable[[Change], Change]
    ) -> None:
        """Store what garbage collection took from us: with a pin of its own, which waits for the collection to end.

        ``target`` is what it was before.

        :raises Missing: where that did not help: the node may fail to pin, and does not say so to us.
        """
        pins = (await self._opened()).pins
        others: set[str] = set()
        if target is None:
            others = set(await self.node.pins("recursive"))
        elif await self.node.is_pinned(str(target.cid)):
            others = {str(target.cid)}
        else:
            await pins.note(str(target.cid))
        target = await self.node.add(source, pin=True)
        try:
            await self._change(only(Link(path, target)))
        finally:
            # A node counts one pin for all who wanted it: one that was there before is somebody else's.
            if str(target.cid) not in others:
                await pins.unpin(str(target.cid))

    def move(self, source: str, destination: str) -> "Deferred[None]":
        """See `IBucket.move`. What the node has lost blocks of is removed, since it cannot be kept anywhere."""
        check_path(source)
        check_path(destination)
        return ensureDeferred(self._change(Move(source, destination)))

    def remove(self, path: str) -> "Deferred[None]":
        check_path(path)
        return ensureDeferred(self._change(Remove(path)))

    async def _change(self, change: Change) -> None:
        await (await self._opened()).change(change)


def _unlink_open(path: Path) -> int:
    """Remove a file that is held open; answers the descriptor that holds it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        path.unlink()
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
