"""The files in a CAR by CID, opened as a node opens them."""

from collections.abc import AsyncGenerator, Iterator

from cachetools import LRUCache
from zope.interface import implementer

from ipfsreg.bucket.errors import Corrupt, NotFound
from ipfsreg.bucket.interface import IReader
from ipfsreg.flow.workers import Workers
from ipfsreg.ipfs.cid import CID, CIDInvalid, parse_cid
from ipfsreg.ipfs.dag_pb import BlockInvalid
from ipfsreg.ipfs.unixfs_reader import LinkMissing, check_file, file_size, read_directory, read_file

from .car_spool import BlockMissing, CarSpool

_DIRECTORIES = 16


class CarContent:
    """Opens the files of a CAR that is in the spool."""

    def __init__(self, spool: CarSpool, workers: Workers) -> None:
        self._spool = spool
        self._workers = workers
        self._whole: set[CID] = set()
        self._directories: LRUCache[CID, dict[str, CID]] = LRUCache(_DIRECTORIES)

    async def open_cid(self, cid: str, size: int | None) -> IReader:
        """See `ContentByCid`. `NotFound` where the first block is not in the CAR, `Corrupt` where a later one is not.

        So what is open has all its blocks.
        """
        found, length = await self._workers.run(self._find, cid)
        if size is not None and length != size:
            raise Corrupt(f"{cid} has {length} bytes and not {size}")
        return _CarReader(self._spool, self._workers, found, length)

    def _find(self, path: str) -> tuple[CID, int]:
        root, *names = path.split("/")
        try:
            cid = first = parse_cid(root)
            for name in names:
                if cid not in self._directories:
                    self._directories[cid] = dict(read_directory(self._spool.get, cid))
                if name not in self._directories[cid]:
                    raise NotFound(f"the directory in the CAR has no {name}")
                cid = self._directories[cid][name]
            size = file_size(self._spool.get, cid)
            missing = check_file(self._spool.get, self._spool.has, cid, self._whole)
            if missing is not None:
                raise BlockMissing(missing)
            return cid, size
        except BlockMissing as error:
            if error.cid == first:
                raise NotFound(str(error)) from None
            raise Corrupt(str(error)) from None
        except (LinkMissing, CIDInvalid) as error:
            raise NotFound(str(error)) from None
        except BlockInvalid as error:
            raise Corrupt(str(error)) from None


@implementer(IReader)
class _CarReader:
    file = None

    def __init__(self, spool: CarSpool, workers: Workers, cid: CID, size: int) -> None:
        self.size = size
        self._spool = spool
        self._workers = workers
        self._cid = cid

    async def pieces(self, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        pieces = read_file(self._spool.get, self._cid, offset, length)
        try:
            while (piece := await self._workers.run(_next, pieces)) is not None:
                yield piece
        except BlockMissing as error:
            raise Corrupt(str(error)) from None
        except (LinkMissing, BlockInvalid) as error:
            raise Corrupt(f"the CAR is damaged: {error}") from None

    def close(self) -> None:
        """See `IReader.close`."""


def _next(pieces: Iterator[bytes]) -> bytes | None:
    return next(pieces, None)
