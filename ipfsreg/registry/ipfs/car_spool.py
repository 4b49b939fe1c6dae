"""The blocks of a CAR on this disk, so that they can be read in any order, whatever order they came in."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import ParamSpec, TypeVar

from ipfsreg.bucket.errors import bucket_error, database_error
from ipfsreg.flow.durable import write_all
from ipfsreg.flow.workers import Workers
from ipfsreg.ipfs.car import CARInvalid, CARReader, PayloadReader
from ipfsreg.ipfs.cid import CID, IDENTITY, BlockDamaged, verify_block
from ipfsreg.registry.errors import ImportInvalid

P = ParamSpec("P")
T = TypeVar("T")


class BlockMissing(Exception):
    """The CAR does not have a block."""

    def __init__(self, cid: CID) -> None:
        super().__init__(f"the CAR does not have the block {cid}")
        self.cid = cid


class CarSpool:
    """Takes in a CAR piece by piece, compares each block with its CID, and gives blocks out.

    What it needs memory for is a block and a piece; the rest is in ``directory``, which it makes and removes.
    """

    def __init__(self, directory: Path, workers: Workers) -> None:
        self._directory = directory
        self._workers = workers
        self._payload = PayloadReader()
        self._reader = CARReader()
        self._descriptor = -1
        self._length = 0
        self._index: sqlite3.Connection | None = None
        # Between threads: one may still work for a cancelled caller, and a connection in use must not be closed.
        # `adbapi` does not wait for that, and `get` is called in threads.
        self._using = Lock()

    async def open(self) -> None:
        """Make the directory."""
        await self._do(self._open)

    async def feed(self, piece: bytes) -> None:
        """Take a piece in.

        :raises ImportInvalid: where this is no CAR, or a block is not what its CID says. :raises Full:
        """
        await self._do(self._feed, piece)

    async def finish(self) -> Sequence[CID]:
        """That was all; answers the roots.

        :raises ImportInvalid: where more should have come.
        """
        return await self._do(self._finish)

    async def close(self) -> None:
        """Remove everything."""
        await self._workers.run(lambda: self._alone(self._close))

    def get(self, cid: CID) -> bytes:
        """A block. To be called in a thread.

        :raises BlockMissing: where the CAR does not have it.
        """
        if cid.hash_code == IDENTITY:
            return cid.hash
        with self._using:
            place = self._place(cid)
            if place is None:
                raise BlockMissing(cid)
            offset, length = place
            return os.pread(self._descriptor, length, offset)

    def has(self, cid: CID) -> bool:
        """Whether the CAR has a block. To be called in a thread."""
        with self._using:
            return cid.hash_code == IDENTITY or self._place(cid) is not None

    def _place(self, cid: CID) -> tuple[int, int] | None:
        assert self._index is not None
        found = self._index.execute("SELECT offset, length FROM blocks WHERE hash = ?", (cid.multihash,))
        row: tuple[int, int] | None = found.fetchone()
        return row

    async def _do(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await self._workers.run(lambda: self._alone(function, *args, **kwargs))
        except (CARInvalid, BlockDamaged) as error:
            raise ImportInvalid(str(error)) from None
        except OSError as error:
            raise bucket_error(error) from error
        except sqlite3.Error as error:
            raise database_error(error, self._directory) from error

    def _alone(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        with self._using:
            return function(*args, **kwargs)

    def _open(self) -> None:
        self._directory.mkdir(parents=True)
        self._descriptor = os.open(self._directory / "blocks", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self._index = sqlite3.connect(self._directory / "index.sqlite", isolation_level=None, check_same_thread=False)
        self._index.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"  # it is gone with the import anyway
            "CREATE TABLE blocks (hash BLOB PRIMARY KEY, offset INTEGER, length INTEGER) WITHOUT ROWID;"
        )

    def _feed(self, piece: bytes) -> None:
        assert self._index is not None
        self._index.execute("BEGIN")
        for cid, block in self._reader.feed(self._payload.feed(piece)):
            verify_block(cid, block)
            if cid.hash_code != IDENTITY:
                row = (cid.multihash, self._length, len(block))
                if self._index.execute("INSERT OR IGNORE INTO blocks VALUES (?, ?, ?)", row).rowcount:
                    write_all(self._descriptor, block, self._length)
                    self._length += len(block)
        self._index.execute("COMMIT")

    def _finish(self) -> Sequence[CID]:
        self._feed(self._payload.finish())
        self._reader.finish()
        return self._reader.roots

    def _close(self) -> None:
        if self._index is not None:
            self._index.close()
            self._index = None
        if self._descriptor >= 0:
            with suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = -1
        shutil.rmtree(self._directory, ignore_errors=True)
