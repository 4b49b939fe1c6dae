"""An OCI image layout in a directory of this disk, to copy from and to."""

import fcntl
import os
import stat
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import IO

from ipfsreg.bucket.errors import Corrupt, bucket_error
from ipfsreg.bucket.file_reader import FileReader
from ipfsreg.bucket.interface import IReader
from ipfsreg.bucket.local.beneath import open_beneath
from ipfsreg.client.errors import RemoteError, Untrustworthy
from ipfsreg.client.uploading import From
from ipfsreg.flow.durable import remove_drafts_in, replacing, write_durably
from ipfsreg.flow.workers import Workers
from ipfsreg.registry.descriptor import Descriptor, encode_json
from ipfsreg.registry.digest import HEX_LENGTHS, Digest
from ipfsreg.registry.manifest import OCI_INDEX, parse_manifest
from ipfsreg.registry.names import Repository, Tag

from .layout import INDEX, VERSION, LayoutSource, default_repository, path_of

_VERSION_CONTENT = b'{"imageLayoutVersion":"1.0.0"}'
_INDEX_EMPTY = encode_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []})
_LISTED_EVERY = 2.0  # seconds after which what came is listed at the latest, while more comes
_MODE = 0o644


class DirectoryFiles:
    """The files of a layout below a directory. No link is followed."""

    def __init__(self, directory: Path, workers: Workers) -> None:
        self.name = str(directory)
        self._top = os.path.realpath(directory)
        self._workers = workers

    async def open(self, path: str) -> IReader | None:
        """See `Files`."""
        reader: IReader | None = await self._workers.run(self._open, path)
        return reader

    def _open(self, path: str) -> FileReader | None:
        try:
            descriptor = open_beneath(self._top, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise bucket_error(error) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise Corrupt("it is not a file")
        return FileReader(os.fdopen(descriptor, "rb"), self._workers)


class LayoutDirectory(LayoutSource):
    """A layout to copy to, which is also a `Destination`. One command at a time has it open for that."""

    is_source = False

    def __init__(self, directory: Path, workers: Workers) -> None:
        super().__init__(DirectoryFiles(directory, workers), default_repository(directory.name))
        self._directory = directory
        self._workers = workers
        self._listed = time.monotonic()

    async def mount(self, repository: Repository, digest: Digest, source: Repository) -> str | None:
        """See `Destination`. All repositories of a layout have the same contents."""
        return None

    async def upload(
        self, repository: Repository, digest: Digest, size: int, source: From, location: str | None = None
    ) -> None:
        stack = ExitStack()
        run = self._workers.run
        try:
            file = await run(stack.enter_context, replacing(self._directory / path_of(digest), _MODE))
            try:
                length = 0
                async for piece in source(0):
                    length += len(piece)
                    await run(file.write, piece)
                if length != size:
                    raise Untrustworthy(f"{digest} has {length} bytes and not {size}")
            except BaseException as error:
                await run(stack.__exit__, type(error), error, error.__traceback__)
                raise
            await run(stack.close)
        except OSError as error:
            raise self._failed(error) from error

    async def put_manifest(
        self, repository: Repository, reference: Tag | Digest, content: bytes, media_type: str
    ) -> bool:
        descriptor = Descriptor.of(media_type, content)
        if isinstance(reference, Digest):
            descriptor = descriptor._replace(digest=reference)
        await self._write(self._directory / path_of(descriptor.digest), content)
        parsed = parse_manifest(content, media_type)
        self.add(repository, reference, descriptor, parsed)
        if time.monotonic() - self._listed > _LISTED_EVERY:
            await self.flush()
        return True

    async def note_referrer(self, repository: Repository, subject: Digest, referrer: Descriptor) -> None:
        """See `Destination`. It is listed already."""

    async def flush(self) -> None:
        """List what came in `INDEX`."""
        self._listed = time.monotonic()
        content = await self._workers.run(_encode, self.listed())
        await self._write(self._directory / INDEX, content)

    async def _write(self, path: Path, content: bytes) -> None:
        try:
            await self._workers.run(write_durably, path, content, _MODE)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> RemoteError:
        return RemoteError(f"{error.filename or self._directory}: {error.strerror or error}")


@asynccontextmanager
async def open_layout(directory: Path, workers: Workers) -> AsyncIterator[LayoutSource]:
    """A layout to copy from. :raises RemoteError: where there is none."""
    if not await workers.run(directory.exists):
        raise RemoteError(f"{directory}: there is no such directory, and no registry is called so")
    layout = LayoutSource(DirectoryFiles(directory, workers), default_repository(directory.name))
    await layout.load()
    yield layout


@asynccontextmanager
async def open_directory(directory: Path, workers: Workers) -> AsyncIterator[LayoutDirectory]:
    """A layout to copy to, which is made if need be. At the end it lists all that came.

    :raises RemoteError: where the directory has something else in it, or is in use.
    """
    with ExitStack() as until_end:
        try:
            await workers.run(_prepare, directory)
            lock = until_end.enter_context(await workers.run(_open_version, directory))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for algorithm in HEX_LENGTHS:
                await workers.run(remove_drafts_in, directory / "blobs" / algorithm)
        except BlockingIOError:
            raise RemoteError(f"{directory}: another ipfsreg copies to it") from None
        except OSError as error:
            raise RemoteError(f"{error.filename or directory}: {error.strerror}") from None
        opened = LayoutDirectory(directory, workers)
        await opened.load()
        try:
            yield opened
        finally:
            await opened.flush()


def _prepare(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    if not (directory / VERSION).exists():
        if any(each.name != INDEX for each in directory.iterdir()):
            raise RemoteError(f"{directory} has other files in it, and is no OCI image layout: name another directory")
        write_durably(directory / VERSION, _VERSION_CONTENT, _MODE)
    if not (directory / INDEX).exists():
        write_durably(directory / INDEX, _INDEX_EMPTY, _MODE)
    for below in ("blobs", *(f"blobs/{algorithm}" for algorithm in HEX_LENGTHS)):
        path = directory / below
        path.mkdir(exist_ok=True)
        if path.is_symlink():
            raise RemoteError(f"{path} is a link: what is copied to {directory} stays in it")


def _open_version(directory: Path) -> IO[bytes]:
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(directory / VERSION, flags)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise RemoteError(f"{directory / VERSION} is not a file")


def _encode(listed: list[Descriptor]) -> bytes:
    documents = [each.document for each in listed]
    return encode_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": documents})
