"""AddItems and CreateFolder: what puts something into a bucket (docs/protocols/space.md, "Adding files")."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ipfsreg.bucket.space.proto import space_pb2
from tests.bucket.textile.double.bucket import Bucket
from tests.bucket.textile.double.tree import File
from tests.bucket.textile.double.unixfs import FileBuilder
from tests.grpcweb_double.call import CODE_NAMES, UNKNOWN, Call, RpcError
from tests.grpcweb_double.pace import Pace

from .account import Record
from .base import SpaceBase, World
from .cipher import PIECE, BucketCipher

KEEP = ".keep"


@dataclass(slots=True)
class Progress:
    """The counters of one call."""

    total_files: int = 0
    total_bytes: int = 0
    files: int = 0
    bytes: int = 0

    def message(self, source: str, root: str = "", error: str = "") -> space_pb2.AddItemsResponse:
        """What is said when an item is done, well or not."""
        self.files += 1
        return space_pb2.AddItemsResponse(
            result=space_pb2.AddItemResult(sourcePath=source, bucketPath=root, error=error),
            totalFiles=self.total_files,
            totalBytes=self.total_bytes,
            completedFiles=self.files,
            completedBytes=self.bytes,
        )


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file is put: a bucket as it was found when the call began."""

    record: Record
    bucket: Bucket


class Adding(SpaceBase):
    """The two methods."""

    async def AddItems(self, call: Call, request: space_pb2.AddItemsRequest) -> None:
        await self.initialised(call)
        for source in request.sourcePaths:
            if not os.path.exists(source):
                raise RpcError(UNKNOWN, f"path not found at {source}")
        place = Place(*await self.find(call, request.bucket))
        sources = list(dict.fromkeys(request.sourcePaths))
        progress = Progress()
        for path in walk(sources):
            progress.total_files += 1
            progress.total_bytes += 0 if path.is_dir() else path.stat().st_size
        await self._add(call, place, sources, request.targetPath, progress)

    async def _add(self, call: Call, place: Place, sources: list[str], target: str, progress: Progress) -> None:
        for source in sources:
            name = os.path.basename(source)
            if name in self.world.faults.unanswered_items:
                continue
            is_folder = os.path.isdir(source)
            path = f"{target}/{name}"
            root, error, size = "", "", 0
            try:
                size = 0 if is_folder else os.path.getsize(source)
                root = await self._add_one(call, place, Path(source), f"{path}/{KEEP}" if is_folder else path)
            except OSError as problem:
                error = f"open {source}: {os.strerror(problem.errno or 0).lower()}"
            except RpcError as problem:
                call.check()
                error = f"rpc error: code = {CODE_NAMES[problem.code]} desc = {problem.text}"
            except ItemError as problem:
                error = str(problem)
            if not error and not is_folder:
                progress.bytes += size  # by now who called may be gone, and the file with it
            await call.send(progress.message(source, root, error))
            if is_folder and not error:
                inside = [f"{source}/{child}" for child in sorted(os.listdir(source))]
                await self._add(call, place, inside, path, progress)

    async def _add_one(self, call: Call, place: Place, source: Path, path: str) -> str:
        planned = self.world.faults.item_errors.get(source.name)
        if planned is not None:
            raise ItemError(planned)
        if path.endswith(f"/{KEEP}") and source.is_dir():
            return await self._push(call, place, path, iter(()))
        with source.open("rb") as file:
            return await self._push(call, place, path, iter(lambda: file.read(PIECE), b""))

    async def _push(self, call: Call, place: Place, path: str, pieces: Iterator[bytes]) -> str:
        """Store a file; gives the bucket's new root. The lock is held from before the first byte is read."""
        world, record = self.world, place.record
        async with world.buckets.locked(call, place.bucket.key):
            file = await self._store(call, record.cipher, pieces)
            draft = world.buckets.load(place.bucket.key, record.thread).draft()
            self.link(record, draft, path, file)
            await world.buckets.save(call, draft)
        if record.backup:
            record.mirror[plain_path(path)] = file
        return draft.path

    async def _store(self, call: Call, cipher: BucketCipher, pieces: Iterator[bytes]) -> File:
        pace = Pace(call, self.world.faults.push_bytes_per_second)
        sealed = SealedFile(self.world, cipher)
        for piece in pieces:
            sealed.write(piece)
            await pace.moved(len(piece))
            await call.breathe()
            call.check()
        return sealed.finish()

    async def CreateFolder(self, call: Call, request: space_pb2.CreateFolderRequest) -> space_pb2.CreateFolderResponse:
        place = Place(*await self.find(call, request.bucket))
        await self._push(call, place, f"{request.path}/{KEEP}", iter(()))
        return space_pb2.CreateFolderResponse()


class ItemError(Exception):
    """Why one item was not stored, where a test has said so."""


class SealedFile:
    """A file on its way into IPFS, encrypted as it comes."""

    def __init__(self, world: World, cipher: BucketCipher) -> None:
        self._ipfs = world.ipfs
        self._writer = world.content.writer()
        self._builder = FileBuilder()
        self._sealing = cipher.sealing()

    def write(self, data: bytes) -> None:
        """Take a piece of plaintext."""
        self._take(self._sealing.update(data))

    def _take(self, sealed: bytes) -> None:
        self._writer.write(sealed)
        self._builder.update(sealed)

    def finish(self) -> File:
        """The file in IPFS: the same one again for the same content in the same bucket."""
        self._take(self._sealing.finish())
        cid, dag_size, raw = self._builder.finish()
        return self._ipfs.add_file(cid, self._writer.finish(), dag_size, raw=raw)


def plain_path(path: str) -> str:
    """A path without empty segments."""
    return "/".join(segment for segment in path.split("/") if segment)


def walk(sources: list[str]) -> Iterator[Path]:
    """All files and folders that are to be added."""
    for source in sources:
        path = Path(source)
        yield path
        if path.is_dir():
            yield from walk([str(child) for child in path.iterdir()])
