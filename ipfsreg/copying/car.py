"""An OCI image layout in a CAR, as `ipfsreg export` writes one for a single image."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from ipfsreg.bucket.errors import BucketError, NotFound
from ipfsreg.bucket.interface import IReader
from ipfsreg.client.errors import RemoteError, Untrustworthy
from ipfsreg.flow.durable import replacing
from ipfsreg.flow.workers import Workers
from ipfsreg.ipfs.car import encode_header, section_head
from ipfsreg.ipfs.cid import BlockDamaged, verify_block
from ipfsreg.ipfs.file_dag import FileDag
from ipfsreg.registry.content.content_hash import ContentHash
from ipfsreg.registry.descriptor import Descriptor
from ipfsreg.registry.digest import HEX_LENGTHS, Digest
from ipfsreg.registry.errors import RegistryError
from ipfsreg.registry.ipfs.car_content import CarContent
from ipfsreg.registry.ipfs.car_spool import CarSpool
from ipfsreg.registry.ipfs.image_layout import ImageLayout, LayoutBlock

from .copier import Copier
from .directory import LayoutDirectory, open_directory
from .layout import LayoutSource, default_repository, path_of
from .places import Selection
from .tally import Tally

_PIECE = 1024**2
_AT_ONCE = 16  # blocks that a thread writes before it may be told to stop


class _CarFiles:
    def __init__(self, name: str, root: str, content: CarContent) -> None:
        self.name = name
        self._root = root
        self._content = content

    async def open(self, path: str) -> IReader | None:
        try:
            return await self._content.open_cid(f"{self._root}/{path}", None)
        except NotFound:
            return None


@asynccontextmanager
async def open_car(file: Path, workers: Workers) -> AsyncIterator[LayoutSource]:
    """The images in a CAR.

    A CAR has its blocks in any order, so they are brought into one on this disk first, and compared with their CIDs.

    :raises RemoteError: where it is none, or has no layout in it.
    """
    with ExitStack() as until_end:
        directory = Path(until_end.enter_context(TemporaryDirectory(prefix="ipfsreg-", dir=os.environ.get("TMPDIR"))))
        spool = CarSpool(directory / "car", workers)
        try:
            opened = until_end.enter_context(await workers.run(file.open, "rb"))
            await spool.open()
            while piece := await workers.run(opened.read, _PIECE):
                await spool.feed(piece)
            roots = await spool.finish()
            if len(roots) != 1:
                raise Untrustworthy(f"{file} has {len(roots)} roots, and that of one layout is needed")
            files = _CarFiles(str(file), str(roots[0]), CarContent(spool, workers))
            source = LayoutSource(files, default_repository(file.stem))
            await source.load()
            yield source
        except OSError as error:
            raise RemoteError(f"{error.filename or file}: {error.strerror}") from None
        except (RegistryError, BucketError) as error:
            raise Untrustworthy(f"{file}: {error}") from None
        finally:
            await spool.close()


@asynccontextmanager
async def open_new_car(file: Path, workers: Workers) -> AsyncIterator[LayoutDirectory]:
    """A CAR to copy to. It is written at the end, from a layout beside it that a killed copy leaves to go on with.

    :raises RemoteError: where it cannot be written.
    """
    directory = file.with_name(f".{file.name}.layout")
    async with open_directory(directory, workers) as layout:
        if await workers.run(file.exists):  # what is in it stays in it
            async with open_car(file, workers) as before:
                tally = Tally()
                await Copier(before, layout, tally).run(Selection())
                for failure in tally.failures:
                    raise Untrustworthy(f"{file}: {failure['name']}: {failure['error']}")
        yield layout
    try:
        with ExitStack() as until_end:
            written = await workers.run(until_end.enter_context, replacing(file, 0o644))
            packing = await workers.run(_Packing, directory, layout.listed())
            written.write(encode_header([packing.layout.root]))
            while await workers.run(packing.write_some, written):
                pass
            await workers.run(until_end.close)
        await workers.run(shutil.rmtree, directory)
    except OSError as error:
        raise RemoteError(f"{error.filename or file}: {error.strerror}") from None
    except (RegistryError, BlockDamaged) as error:
        raise RemoteError(f"{file}: {error}") from None


class _Packing:
    """A layout's directory on its way into a CAR. All of it is for threads."""

    def __init__(self, directory: Path, listed: list[Descriptor]) -> None:
        self._directory = directory
        self._dags: dict[Digest, FileDag] = {}
        for algorithm in HEX_LENGTHS:
            for entry in sorted(os.listdir(directory / "blobs" / algorithm)):
                if not entry.startswith("."):
                    self._dags[Digest(algorithm, entry)] = _dag_of(directory / "blobs" / algorithm / entry)
        self.layout = ImageLayout(listed, self._dags)
        self._sections = self.layout.sections()

    def write_some(self, file: IO[bytes]) -> bool:
        """Write the next blocks; answers whether there may be more."""
        written = 0
        for section in islice(self._sections, _AT_ONCE):
            block = self._block(section)
            verify_block(section.cid, block)
            file.write(section_head(section.cid, len(block)) + block)
            written += 1
        return written == _AT_ONCE

    def _block(self, section: LayoutBlock) -> bytes:
        if section.block is not None:
            return section.block
        assert section.digest is not None
        assert section.place is not None
        dag = self._dags[section.digest]
        if section.place.level:
            return dag.block(section.place)
        begin, end = dag.range_at(section.place)
        with (self._directory / path_of(section.digest)).open("rb") as file:
            return os.pread(file.fileno(), end - begin, begin)


def _dag_of(path: Path) -> FileDag:
    hashed, size = ContentHash(), 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            hashed.update(piece)
            size += len(piece)
    assert hashed.leaves is not None
    return FileDag(hashed.leaves, size)
