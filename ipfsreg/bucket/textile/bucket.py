"""A bucket that is one or many buckets of a Textile server; see `levels` for how they become one."""

import hashlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar

from twisted.application.internet import backoffPolicy
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredSemaphore,
    FirstError,
    ensureDeferred,
    gatherResults,
    succeed,
)
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ...workers import Workers
from ..content_path import content_at
from ..errors import BucketError, Corrupt, Full, NotFound, TooLarge
from ..interface import Entry, IBucket, IReader, Listing, Stat, check_path
from ..sources import FileSource, MemorySource, Source
from ..walking import walk_by_listing
from .client import BUCKETS, TextileClient
from .errors import Gone, StaleRoot
from .levels import LEVELS, Place, all_places, place_of
from .options import TextileOptions
from .proto import bucketsd_pb2
from .pushing import Pusher
from .reading import RemoteReader, pull
from .sending import ShardSender
from .shard import Shard
from .threads import Threads

T = TypeVar("T")

SEED = ".textileseed"
"""A file of the server's own in the top directory of each of its buckets."""

AT_ONCE = 8
"""How many buckets of the server are asked at once for a listing."""

RAW = "bafkrei"
"""How the CID of a single raw block begins: only there is the size that the server tells that of the content."""

TRIES = 3
"""How often a directory that others write to is looked at anew before it is left where it is."""

_pause = backoffPolicy(1.0, 60.0)


@implementer(IBucket)
class TextileBucket:
    """See `IBucket`. Other daemons may use the same bucket."""

    shared = True

    _log = Logger()

    def __init__(self, options: TextileOptions, client: TextileClient, workers: Workers, clock: IReactorTime) -> None:
        self.name = f"bucket {options.bucket} of {options.host}"
        self._options = options
        self.client = client
        self._workers = workers
        self._clock = clock
        self._threads = Threads(client, clock)
        self._looking: Deferred[None] | None = None
        self._shards: dict[Place, Shard] = {}
        self._pushers: dict[Place, Pusher] = {}

    def start(self) -> "Deferred[None]":
        """See `IBucket.start`. The bucket is looked for, or made, in the background and with each request."""
        for warning in self._options.warnings():
            self._log.warn("{warning}", warning=warning)
        self._looking = ensureDeferred(self._look()).addErrback(self._looked_badly)
        return succeed(None)

    def stop(self) -> "Deferred[None]":
        """See `IBucket.stop`."""
        if self._looking is not None:
            self._looking.cancel()
        for pusher in self._pushers.values():
            pusher.stop()
        return ensureDeferred(self.client.stop())

    async def _look(self) -> None:
        tries = 0
        while True:
            try:
                await self.shard(Place(0, 0)).ensure()
            except BucketError as error:
                self._log.debug("Cannot find {name} yet: {error}", name=self.name, error=error)
            else:
                break
            await deferLater(self._clock, _pause(tries), lambda: None)
            tries += 1
        self._log.info("Using {name}.", name=self.name)

    def _looked_badly(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._log.failure("Looking for {name} failed", failure, name=self.name)

    def stat(self, path: str) -> "Deferred[Stat]":
        """See `IBucket.stat`."""
        check_path(path)
        return ensureDeferred(self._anywhere(path, lambda shard: self._stat(shard, path)))

    def get(self, path: str, limit: int) -> "Deferred[bytes]":
        """See `IBucket.get`."""
        check_path(path)
        return ensureDeferred(self._anywhere(path, lambda shard: self._get_verified(shard, path, limit)))

    def open(self, path: str) -> "Deferred[IReader]":
        """See `IBucket.open`."""
        check_path(path)
        return ensureDeferred(self._anywhere(path, lambda shard: RemoteReader.open(self.client, shard, path)))

    def put(self, path: str, content: bytes) -> "Deferred[None]":
        """See `IBucket.put`."""
        return ensureDeferred(self._push(path, MemorySource(content)))

    def put_file(self, path: str, source: Path) -> "Deferred[None]":
        """See `IBucket.put_file`."""

        async def push() -> None:
            await self._push(path, await FileSource.of(source, self._workers))
            await self._workers.run(source.unlink, True)

        return ensureDeferred(push())

    def move(self, source: str, destination: str) -> "Deferred[None]":
        """See `IBucket.move`. A file of a private bucket has no CID to link, and is uploaded again."""
        check_path(source)
        check_path(destination)
        return ensureDeferred(self._move(source, destination))

    def remove(self, path: str) -> "Deferred[None]":
        """See `IBucket.remove`."""
        check_path(path)
        return ensureDeferred(self._remove(path))

    def list(self, directory: str) -> "Deferred[Sequence[Entry]]":
        """See `IBucket.list`."""
        check_path(directory)
        return ensureDeferred(self._list(directory))

    def walk(self, directory: str, into: Callable[[str], bool] | None = None) -> AsyncIterator[Sequence[Listing]]:
        """See `IBucket.walk`."""
        return walk_by_listing(self, directory, into)

    def shard(self, place: Place) -> Shard:
        """The bucket of the server at a place, which may not exist yet."""
        if place not in self._shards:
            self._shards[place] = Shard(
                self.client,
                self._threads,
                self._clock,
                place,
                self._options.thread,
                self._options.bucket,
                encrypted=self._options.encrypted,
            )
        return self._shards[place]

    async def shards(self) -> Sequence[Shard]:
        """All buckets of the server that exist, the highest level first."""
        await self.shard(Place(0, 0)).ensure()
        known = await self._threads.known()
        shards = [
            self.shard(place)
            for place in reversed(list(all_places()))
            if place.thread_name(self._options.thread) in known or (place in self._shards and self._shards[place].known)
        ]
        return [shard for shard in shards if await shard.exists()]

    async def _candidates(self, path: str) -> Sequence[Shard]:
        """The buckets of the server that may have a path, the highest level first."""
        of_levels = {place_of(path, level) for level in range(LEVELS)}
        return [shard for shard in await self.shards() if shard.place in of_levels]

    async def _anywhere(self, path: str, ask: Callable[[Shard], Awaitable[T]]) -> T:
        for shard in await self._candidates(path):
            try:
                return await self._known(shard, ask)
            except NotFound:
                continue
        raise NotFound(path)

    async def _known(self, shard: Shard, ask: Callable[[Shard], Awaitable[T]]) -> T:
        """Ask a bucket of the server; where it is not known there (any more), look for it and ask once more."""
        key = shard.key
        try:
            return await ask(shard)
        except Gone:
            shard.forget(key)
            await shard.ensure()
            if shard.key == key:
                raise
            return await ask(shard)

    async def _stat(self, shard: Shard, path: str) -> Stat:
        item = await self._item(shard, path)
        if item.is_dir:
            raise NotFound(f"{path} is a directory")
        if shard.private:
            return Stat(None)
        return Stat(item.size if item.cid.startswith(RAW) else None, item.cid or None)

    async def _item(self, shard: Shard, path: str) -> bucketsd_pb2.PathItem:
        return (await self._item_and_root(shard, path))[0]

    async def _item_and_root(self, shard: Shard, path: str) -> tuple[bucketsd_pb2.PathItem, bucketsd_pb2.Root]:
        request = bucketsd_pb2.ListPathRequest(key=shard.key, path=path)
        answer = await self.client.unary(
            BUCKETS, "ListPath", request, bucketsd_pb2.ListPathResponse, thread=shard.thread
        )
        shard.learn(answer.root)
        return answer.item, answer.root

    async def _get_verified(self, shard: Shard, path: str, limit: int) -> bytes:
        """A file's content. At a content-addressed path what a transfer damaged is not taken for what is stored."""
        found = await self._get(shard, path, limit)
        content = content_at(path)
        if content is None or hashlib.new(content.algorithm, found).hexdigest() == content.hex:
            return found
        again = await self._get(shard, path, limit)
        if again == found or hashlib.new(content.algorithm, again).hexdigest() == content.hex:
            return again
        raise Corrupt(f"what the server sends for {path} is not the same each time")

    async def _get(self, shard: Shard, path: str, limit: int) -> bytes:
        pieces = []
        length = 0
        async with aclosing(pull(self.client, shard, path)) as content:
            async for data in content:
                pieces.append(data)
                length += len(data)
                if length > limit:
                    raise TooLarge(f"{path} is larger than {limit} bytes")
        return b"".join(pieces)

    async def _move(self, source: str, destination: str) -> None:
        linked = await self._anywhere(source, lambda shard: self._link(shard, source, destination))
        if not linked:
            await self._copy(source, destination)
        await self._remove(source)

    async def _link(self, origin: Shard, source: str, destination: str) -> bool:
        """Give a file of a public bucket another path, without its content being moved; False for a private one."""
        item = await self._item(origin, source)
        if item.is_dir:
            raise NotFound(f"{source} is a directory")
        shard = await self._for_writing(destination)
        await shard.ensure()
        if origin.private or shard.private:
            return False
        request = bucketsd_pb2.SetPathRequest(key=shard.key, path=destination, cid=item.cid)
        await self.client.unary(
            BUCKETS, "SetPath", request, bucketsd_pb2.SetPathResponse, thread=shard.thread, slow=True
        )
        return True

    async def _copy(self, source: str, destination: str) -> None:
        draft = Path(await self._workers.run(tempfile.mkdtemp, dir=self._options.path)) / "content"
        try:
            await self._anywhere(source, lambda shard: self._save(shard, source, draft))
            await self._push(destination, await FileSource.of(draft, self._workers))
        finally:
            await self._workers.run(shutil.rmtree, draft.parent, True)

    async def _save(self, shard: Shard, path: str, destination: Path) -> None:
        await self._workers.run(destination.write_bytes, b"")
        async with aclosing(pull(self.client, shard, path)) as content:
            async for data in content:
                await self._workers.run(_append, destination, data)

    async def _push(self, path: str, source: Source) -> None:
        check_path(path)
        if SEED in path:
            raise ValueError(f"{SEED} is the server's own")
        shard = await self._for_writing(path)
        await shard.ensure()
        await self._known(shard, lambda shard: self._pusher(shard).push(path, source))

    async def _for_writing(self, path: str) -> Shard:
        """The bucket of the server that a path is written to, which may not exist yet."""
        level = max(shard.place.level for shard in await self.shards())
        shard = self.shard(place_of(path, level))
        while shard.is_full:
            if level + 1 == LEVELS:
                raise Full(f"{self.name} has as many paths as there can be")
            level += 1
            shard = self.shard(place_of(path, level))
            await shard.exists()
        return shard

    def _pusher(self, shard: Shard) -> Pusher:
        if shard.place not in self._pushers:
            sender = ShardSender(self.client, shard, self._options.silence)
            self._pushers[shard.place] = Pusher(sender, self._clock)
        return self._pushers[shard.place]

    async def _remove(self, path: str) -> None:
        # It may be at several levels: all have to go, or an old one would come back. The oldest goes first.
        found = False
        for shard in reversed(await self._candidates(path)):
            try:
                await self._known(shard, lambda shard: self._remove_from(shard, path))
                found = True
            except NotFound:
                continue
        if not found:
            raise NotFound(path)

    async def _remove_from(self, shard: Shard, path: str) -> None:
        # Asked first, since what a server says of a missing path here differs between its versions.
        if (await self._item(shard, path)).is_dir:
            raise NotFound(f"{path} is a directory")
        root = await self._remove_path(shard, path)
        # A directory that has lost its last file goes too: here it is there through its files only.
        directory = path.rpartition("/")[0]
        while directory and (after := await self._remove_empty(shard, directory, root)) is not None:
            root = after
            directory = directory.rpartition("/")[0]

    async def _remove_path(self, shard: Shard, path: str, root: str = "") -> bucketsd_pb2.Root:
        request = bucketsd_pb2.RemovePathRequest(key=shard.key, path=path, root=root)
        answer = await self.client.unary(
            BUCKETS, "RemovePath", request, bucketsd_pb2.RemovePathResponse, thread=shard.thread, slow=True
        )
        shard.learn(answer.root)
        return answer.root

    async def _remove_empty(self, shard: Shard, directory: str, root: bucketsd_pb2.Root) -> bucketsd_pb2.Root | None:
        """Remove a directory if it is empty; answers the root after that, or None where it stays."""
        for _ in range(TRIES):
            # The server takes away the metadata, with roles, of every path that merely begins with these letters.
            if any(each.startswith(directory) for each in root.path_metadata):
                return None
            try:
                item, root = await self._item_and_root(shard, directory)
                if not item.is_dir or item.items_count:
                    return None
                # Only as it was seen: a file that came meanwhile would go with it.
                return await self._remove_path(shard, directory, root.path)
            except StaleRoot:
                continue
            except NotFound:
                return root
        return None

    async def _list(self, directory: str) -> Sequence[Entry]:
        entries: set[Entry] = set()

        async def look(shard: Shard) -> None:
            try:
                item = await self._known(shard, lambda shard: self._item(shard, directory))
            except NotFound:
                return
            if item.is_dir:
                entries.update(Entry(each.name, each.is_dir) for each in item.items if _is_ours(each))

        turns = DeferredSemaphore(AT_ONCE)
        looks = [turns.run(look, shard) for shard in await self.shards()]
        try:
            await gatherResults(looks, consumeErrors=True)
        except FirstError as error:
            error.subFailure.raiseException()
        return sorted(entries)


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def _is_ours(item: bucketsd_pb2.PathItem) -> bool:
    return item.name != SEED and (not item.is_dir or item.items_count > 0)
