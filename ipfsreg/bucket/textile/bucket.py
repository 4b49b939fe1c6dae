"""A bucket that is one or many buckets of a Textile server; see `placement` for how they become one."""

import hashlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar

from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from ipfsreg.bucket.bulk import File, IPutsInOrder
from ipfsreg.bucket.content_path import content_at
from ipfsreg.bucket.errors import BucketError, Corrupt, NotFound, Refused, TooLarge
from ipfsreg.bucket.interface import Entry, IBucket, IReader, Listing, Stat, check_path, walk_by_listing
from ipfsreg.bucket.sources import FileSource, MemorySource, Source
from ipfsreg.flow.background import Background
from ipfsreg.flow.gather import gather
from ipfsreg.flow.retry import retry
from ipfsreg.flow.workers import Workers

from .capacity import in_slices
from .known_files import KnownFile
from .options import TextileOptions
from .paths import SEED, Directories, from_server, to_server, unfold
from .proto import bucketsd_pb2
from .push_queue import FileToPush
from .remote_reader import CHECK_SECONDS_PER_MEBIBYTE, RemoteReader, get_small, pull
from .server.client import TextileClient
from .server.errors import StaleRoot
from .server.transport import TransportChoice
from .shard import Shard
from .shards import AT_ONCE, Shards
from .sharing import get_root
from .writer import Writer

T = TypeVar("T")

RAW = "bafkrei"
"""How the CID of a single raw block begins: only there is the size that the server tells that of the content."""

UNFOLDED = 100
"""How many paths are unfolded in one go: that takes a millisecond or two."""

TRIES = 3
"""How often a directory that others write to is looked at anew before it is left where it is."""


@implementer(IBucket, IPutsInOrder)
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
        self.shards = Shards(options, client, clock)
        self._writer = Writer(self.shards, TransportChoice(options.host, clock), clock)
        self._looking = Background(f"look for the {self.name}", self._look)

    def start(self) -> "Deferred[None]":
        """See `IBucket.start`. The bucket is looked for, or made, in the background and with each request."""
        for warning in self._options.warnings():
            self._log.warn("{warning}", warning=warning)
        self._looking.start()
        return succeed(None)

    def stop(self) -> "Deferred[None]":
        self._looking.stop()
        self._writer.stop()
        return ensureDeferred(self.client.stop())

    async def _look(self) -> None:
        def not_yet(error: BucketError) -> None:
            self._log.debug("Cannot find {name} yet: {error}", name=self.name, error=error)

        await retry(self._clock, self.shards.first.ensure, BucketError, not_yet)
        self._log.info("Using {name}.", name=self.name)
        try:  # the others, one by one beside the first requests, which so need not
            await self.shards.look_for_all()
        except BucketError as error:
            self._log.debug("Not all buckets of {name} were found: {error}", name=self.name, error=error)

    def stat(self, path: str) -> "Deferred[Stat]":
        at = _checked(path)
        return ensureDeferred(self._anywhere(at, lambda shard: self._stat(shard, at)))

    def get(self, path: str, limit: int) -> "Deferred[bytes]":
        at = _checked(path)
        return ensureDeferred(self._anywhere(at, lambda shard: self._get_verified(shard, at, limit)))

    def open(self, path: str) -> "Deferred[IReader]":
        at = _checked(path)
        return ensureDeferred(self._anywhere(at, lambda shard: self._open(shard, at)))

    def put(self, path: str, content: bytes) -> "Deferred[None]":
        return self.put_in_order([(path, content)])

    def put_file(self, path: str, source: Path) -> "Deferred[None]":
        return self.put_in_order([(path, source)])

    def put_in_order(self, files: Sequence[File]) -> "Deferred[None]":
        return ensureDeferred(self._put_in_order(files))

    def move(self, source: str, destination: str) -> "Deferred[None]":
        """See `IBucket.move`. A file of a private bucket has no CID to link, and is uploaded again."""
        return ensureDeferred(self._move(_checked(source), _checked(destination)))

    def remove(self, path: str) -> "Deferred[None]":
        return ensureDeferred(self._remove(_checked(path)))

    def list(self, directory: str) -> "Deferred[Sequence[Entry]]":
        return ensureDeferred(self._list(_checked(directory)))

    def walk(self, directory: str, into: Callable[[str], bool] | None = None) -> AsyncIterator[Sequence[Listing]]:
        return self._walk(directory, into)

    async def _put_in_order(self, files: Sequence[File]) -> None:
        await self._writer.push(*[FileToPush(_checked(path), await self._source(content)) for path, content in files])
        for _, content in files:
            if isinstance(content, Path):
                await self._workers.run(content.unlink, True)

    async def _source(self, content: bytes | Path) -> Source:
        return await FileSource.of(content, self._workers) if isinstance(content, Path) else MemorySource(content)

    async def _anywhere(self, path: str, ask: Callable[[Shard], Awaitable[T]]) -> T:
        for shard in await self.shards.for_reading(path):
            try:
                return await shard.ask(ask)
            except NotFound:
                continue
        raise NotFound(path)

    async def _stat(self, shard: Shard, path: str) -> Stat:
        at = shard.at(path)
        if shard.folded or at in shard.known_files:
            root = await shard.root()
            if shard.folded:
                if at not in root.path_metadata:
                    raise NotFound(path)
                return Stat(None)
            known = shard.known_files.get(root, at)
            if known is not None:
                return _stat_of(shard, known)
        item = await self._item(shard, path)
        if item.is_dir:
            raise NotFound(f"{path} is a directory")
        return _stat_of(shard, item)

    async def _open(self, shard: Shard, path: str) -> RemoteReader:
        return await RemoteReader.open(shard, shard.at(path), await self._patience(shard, path))

    async def _patience(self, shard: Shard, path: str) -> float:
        """For how many seconds the server may be silent while a file is read."""
        if not shard.private:
            return self.client.timeouts.answer
        size = (await self._item(shard, path)).size
        return self.client.timeouts.answer + CHECK_SECONDS_PER_MEBIBYTE * size / 1024**2

    async def _item(self, shard: Shard, path: str) -> bucketsd_pb2.PathItem:
        return (await self._item_and_root(shard, path))[0]

    async def _item_and_root(self, shard: Shard, path: str) -> tuple[bucketsd_pb2.PathItem, bucketsd_pb2.Root]:
        request = bucketsd_pb2.ListPathRequest(key=shard.key, path=shard.at(path))
        answer = await shard.call("ListPath", request, bucketsd_pb2.ListPathResponse)
        shard.learn(answer.root)
        return answer.item, answer.root

    async def _get_verified(self, shard: Shard, path: str, limit: int) -> bytes:
        """A file's content. At a content-addressed path what a transfer damaged is not taken for what is stored."""
        at = shard.at(path)
        if at in shard.known_files:
            known = shard.known_files.get(await shard.root(), at)
            if known is not None and known.content is not None:
                if len(known.content) > limit:
                    raise TooLarge(f"{path} is larger than {limit} bytes")
                return known.content
        found = await get_small(shard, at, limit, patient=shard.private)
        content = content_at(path)
        if content is None or hashlib.new(content.algorithm, found).hexdigest() == content.hex:
            return found
        again = await get_small(shard, at, limit, patient=shard.private)
        if again == found or hashlib.new(content.algorithm, again).hexdigest() == content.hex:
            return again
        raise Corrupt(f"what the server sends for {path} is not the same each time")

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
        return not origin.private and await self._writer.link(destination, item.cid, item.size)

    async def _copy(self, source: str, destination: str) -> None:
        draft = Path(await self._workers.run(tempfile.mkdtemp, dir=self._options.path)) / "content"
        try:
            await self._anywhere(source, lambda shard: self._save(shard, source, draft))
            await self._writer.push(FileToPush(destination, await self._source(draft)))
        finally:
            await self._workers.run(shutil.rmtree, draft.parent, True)

    async def _save(self, shard: Shard, path: str, destination: Path) -> None:
        patience = await self._patience(shard, path)
        await self._workers.run(destination.write_bytes, b"")
        async with aclosing(pull(shard, shard.at(path), patience=patience)) as content:
            async for data in content:
                await self._workers.run(_append, destination, data)

    async def _remove(self, path: str) -> None:
        # It may be at several levels: all have to go, or an old one would come back. The oldest goes first.
        found = False
        for shard in reversed(await self.shards.for_reading(path, self._clock.seconds())):
            try:
                await shard.ask(lambda shard: self._remove_from(shard, path))
                found = True
            except NotFound:
                continue
        if not found:
            raise NotFound(path)

    async def _remove_from(self, shard: Shard, path: str) -> None:
        # Asked first, since what a server says of a missing path here differs between its versions.
        if (await self._item(shard, path)).is_dir:
            raise NotFound(f"{path} is a directory")
        root = await self._remove_path(shard, shard.at(path))
        if shard.folded:
            return
        # A directory that has lost its last file goes too: here it is there through its files only.
        directory = path.rpartition("/")[0]
        while directory and (after := await self._remove_empty(shard, directory, root)) is not None:
            root = after
            directory = directory.rpartition("/")[0]

    async def _remove_path(self, shard: Shard, path: str, root: str = "") -> bucketsd_pb2.Root:
        request = bucketsd_pb2.RemovePathRequest(key=shard.key, path=path, root=root)
        answer = await shard.call("RemovePath", request, bucketsd_pb2.RemovePathResponse, slow=True)
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
            except Refused:  # who may remove the file may not remove its directory, unless the bucket is theirs
                return None
        return None

    async def _list(self, directory: str) -> Sequence[Entry]:
        entries: set[Entry] = set()

        async def look(shard: Shard) -> None:
            if shard.folded:
                entries.update(await (await self._directories(directory, [shard])).list(directory))
                return
            try:
                item = await shard.ask(lambda shard: self._item(shard, directory))
            except NotFound:
                return
            if item.is_dir:
                entries.update(Entry(each.name, each.is_dir) for each in item.items if _is_ours(each))

        await gather(look, await self.shards.all(), AT_ONCE)
        return sorted(Entry(from_server(each.name), each.is_directory) for each in entries)

    async def _walk(self, directory: str, into: Callable[[str], bool] | None) -> AsyncIterator[Sequence[Listing]]:
        at = _checked(directory)
        shards = await self.shards.all()
        if all(shard.folded for shard in shards):
            directories = await self._directories(at, shards)

            async def entries_of(path: str) -> Sequence[Entry]:
                found = await directories.list(to_server(path))
                return sorted(Entry(from_server(each.name), each.is_directory) for each in found)

            listings = walk_by_listing(entries_of, directory, into)
        else:
            listings = walk_by_listing(self.list, directory, into)
        async for each in listings:
            yield each

    async def _directories(self, top: str, shards: Sequence[Shard]) -> Directories:
        """A directory and all below it in buckets with folded paths: one call for each of those."""
        directories = Directories(top)

        def add(path: str) -> None:
            plain = unfold(path)
            if plain is not None:
                directories.add(plain)

        async def look(shard: Shard) -> None:
            root = await shard.ask(get_root)
            shard.learn(root)
            for _ in in_slices(root.path_metadata, add, UNFOLDED):
                await deferLater(self._clock, 0, lambda: None)

        await gather(look, shards, AT_ONCE)
        return directories


def _checked(path: str) -> str:
    """A path of ours as it is at the server; ValueError for what is none."""
    check_path(path)
    return to_server(path)


def _stat_of(shard: Shard, file: bucketsd_pb2.PathItem | KnownFile) -> Stat:
    if shard.private:
        return Stat(None)
    return Stat(file.size if file.cid.startswith(RAW) else None, file.cid or None)


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def _is_ours(item: bucketsd_pb2.PathItem) -> bool:
    return item.name != SEED and (not item.is_dir or item.items_count > 0)
