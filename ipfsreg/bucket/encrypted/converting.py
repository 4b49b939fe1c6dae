"""A bucket on its way from plain to encrypted, or back: in place, file by file, while it is used.

A file is where it is to be in the end (``target``), or where it was (``source``), and for a moment in both: it is
stored in the one before it goes from the other, and the one counts. So it may be interrupted at any moment, and what is
pushed meanwhile goes where it belongs. Both are views of one storage, which one daemon or command uses at a time.
"""

import os
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger

from ipfsreg.bucket.bulk import listings
from ipfsreg.bucket.errors import Corrupt, NotFound, bucket_error
from ipfsreg.bucket.interface import Entry, IBucket, IReader, Listing, Stat, check_path, walk_by_listing
from ipfsreg.bucket.wrapper import BucketWrapper
from ipfsreg.flow.durable import write_all
from ipfsreg.flow.locks import KeyedLock
from ipfsreg.flow.progress import Progress
from ipfsreg.flow.workers import Workers

from .sealing import new_file

T = TypeVar("T")

_IN_MEMORY = 1024 * 1024


@dataclass(slots=True)
class Conversion:
    """What was done: files that are now where they are to be, their bytes, and those that cannot be read there."""

    files: int = 0
    bytes: int = 0
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tops:
    """The directories at the top of the bucket, as far as they matter here."""

    all: Sequence[str]
    dropped: Sequence[str]
    hidden: str


class ConvertingBucket(BucketWrapper):
    """``opened`` is the one of the two that starts and stops the storage.

    ``dropped`` are directories at the top that are not to come along: they can be made again. ``hidden`` is one that is
    the storage's own. ``directory`` on this disk is for drafts alone.
    """

    _log = Logger()

    def __init__(
        self, opened: IBucket, target: IBucket, source: IBucket, workers: Workers, directory: Path, tops: Tops
    ) -> None:
        super().__init__(opened)
        self._target = target
        self._source = source
        self._workers = workers
        self._directory = directory
        self._tops = tops
        self._changing = KeyedLock()

    def start(self) -> "Deferred[None]":
        return ensureDeferred(self._start())

    async def _start(self) -> None:
        self._log.warn(
            "[encryption] convert is set, so plain files of the storage are taken as well: take it out when the "
            "conversion is through."
        )
        await self._workers.run(_make_empty, self._directory)
        await self._bucket.start()

    def stat(self, path: str) -> "Deferred[Stat]":
        return ensureDeferred(self._found(path, lambda bucket: bucket.stat(path)))

    def get(self, path: str, limit: int) -> "Deferred[bytes]":
        return ensureDeferred(self._found(path, lambda bucket: bucket.get(path, limit)))

    def open(self, path: str) -> "Deferred[IReader]":
        return ensureDeferred(self._found(path, lambda bucket: bucket.open(path)))

    async def _found(self, path: str, ask: "Callable[[IBucket], Deferred[T]]") -> T:
        # It may come from the source to the target between two looks, and never goes back.
        if check_path(path).partition("/")[0] == self._tops.hidden:
            raise NotFound(path)
        for bucket in (self._target, self._source):
            try:
                return await ask(bucket)
            except NotFound:
                continue
        return await ask(self._target)

    def put(self, path: str, content: bytes) -> "Deferred[None]":
        return ensureDeferred(self._alone(self._replace(path, lambda: self._target.put(path, content)), path))

    def put_file(self, path: str, source: Path) -> "Deferred[None]":
        return ensureDeferred(self._alone(self._replace(path, lambda: self._target.put_file(path, source)), path))

    async def _replace(self, path: str, store: "Callable[[], Deferred[None]]") -> None:
        await store()
        await self._gone(self._source, path)

    def move(self, source: str, destination: str) -> "Deferred[None]":
        return ensureDeferred(self._alone(self._move(source, destination), *sorted({source, destination})))

    async def _move(self, source: str, destination: str) -> None:
        try:
            await self._target.move(source, destination)
            await self._gone(self._source, source)
        except NotFound:
            try:
                await self._copy(source, destination)
            except Corrupt:
                await self._source.move(source, destination)  # it stays what it is
                return
            await self._source.remove(source)
        if destination != source:
            await self._gone(self._source, destination)

    def remove(self, path: str) -> "Deferred[None]":
        return ensureDeferred(self._alone(self._remove(path), path))

    async def _remove(self, path: str) -> None:
        # The older one first: it must not come back if this ends in between.
        was_there = await self._gone(self._source, path)
        if not await self._gone(self._target, path) and not was_there:
            raise NotFound(path)

    def list(self, directory: str) -> "Deferred[Sequence[Entry]]":
        return ensureDeferred(self._list(directory))

    async def _list(self, directory: str) -> Sequence[Entry]:
        # What comes to the target while the source is listed is in one of the three.
        found: dict[str, Entry] = {}
        for bucket in (self._target, self._source, self._target):
            for entry in await bucket.list(directory):
                if entry.name not in found or entry.is_directory:
                    found[entry.name] = entry
        return sorted(found.values())

    def walk(self, directory: str, into: Callable[[str], bool] | None = None) -> AsyncIterator[Sequence[Listing]]:
        return walk_by_listing(self.list, directory, into)

    async def convert(self, progress: Progress) -> Conversion:
        """Bring all files of the source to the target.

        What is damaged stays. It goes on where an earlier one was interrupted. `BucketError`.
        """
        done = Conversion()
        progress.begin("Counting")
        async for _ in self._sources():
            progress.done += 1
        progress.begin("Converting", progress.done)
        damaged = []
        async for path in self._sources():
            try:
                length = await self._alone(self._convert(path), path)
            except Corrupt:
                damaged.append(path)
                length = None
            progress.done += 1
            if length is not None:
                done.files += 1
                done.bytes += length
                progress.moved += length
        done.damaged = tuple(damaged)
        return done

    async def convert_file(self, path: str) -> None:
        """Bring one file to the target, if it is in the source."""
        await self._alone(self._convert(path), path)

    async def _sources(self) -> AsyncIterator[str]:
        for top in self._tops.all:
            async for listing in listings(self._source, top):
                for entry in listing.entries:
                    if not entry.is_directory:
                        yield f"{listing.directory}/{entry.name}"

    async def _convert(self, path: str) -> int | None:
        """Bring one file to the target; None where it was there already, or is not wanted."""
        length = None
        try:
            if path.partition("/")[0] not in self._tops.dropped:
                try:
                    await self._target.stat(path)
                except NotFound:
                    length = await self._copy(path, path)
            await self._source.remove(path)
        except NotFound:
            return None  # it was deleted meanwhile
        return length

    async def _copy(self, path: str, destination: str) -> int:
        reader = await self._source.open(path)
        draft = self._directory / secrets.token_hex(16)
        descriptor: int | None = None
        waiting: list[bytes] = []
        length = 0
        try:
            async with aclosing(reader.pieces(0, _length_of(reader))) as pieces:
                async for piece in pieces:
                    length += len(piece)
                    waiting.append(piece)
                    if length > _IN_MEMORY:
                        if descriptor is None:
                            descriptor = await self._workers.run(new_file, draft)
                        await self._workers.run(_write, descriptor, waiting)
                        waiting = []
            if descriptor is None:
                await self._target.put(destination, b"".join(waiting))
            else:
                await self._workers.run(_write, descriptor, waiting)
                await self._workers.run(os.fsync, descriptor)
                await self._target.put_file(destination, draft)
        except OSError as error:
            raise bucket_error(error) from error
        finally:
            reader.close()
            if descriptor is not None:
                os.close(descriptor)
                await self._workers.run(draft.unlink, missing_ok=True)
        return length

    async def _gone(self, bucket: IBucket, path: str) -> bool:
        """Remove a file; answers whether it was there."""
        try:
            await bucket.remove(path)
        except NotFound:
            return False
        return True

    async def _alone(self, work: Coroutine[Any, Any, T], *paths: str) -> T:
        """Do some work while nobody else changes the files at these paths."""
        async with AsyncExitStack() as until_end:
            try:
                for path in paths:
                    await until_end.enter_async_context(self._changing.of(check_path(path)))
            except BaseException:
                work.close()
                raise
            return await work


_TO_THE_END = 1 << 62


def _length_of(reader: IReader) -> int:
    return _TO_THE_END if reader.size is None else reader.size


def _write(descriptor: int, pieces: Sequence[bytes]) -> None:
    for piece in pieces:
        write_all(descriptor, piece)


def _make_empty(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for each in directory.iterdir():
        with suppress(FileNotFoundError):
            each.unlink()
