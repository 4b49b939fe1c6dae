"""Which block is a part of which content, and which repository has that content: a file that can be made again.

It is told of each thing before that is stored, and after it was removed. So what it says may not be there (any more),
and a caller has to make sure of it. What it was not told of looks like an absence, so where it may have missed
something it is incomplete until a pass over the bucket ends.
"""

import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipfsreg.bucket.errors import Unavailable
from ipfsreg.flow.shield import shield
from ipfsreg.flow.workers import Workers
from ipfsreg.ipfs.cid import CID, SHA2_256, SHA2_512, decode_cid
from ipfsreg.ipfs.file_dag import PROFILE, BlockPlace, FileDag
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.names import Repository

from . import cid_table

T = TypeVar("T")

Allowed = Callable[[Repository], bool]
"""Whether somebody may have what a repository has. It is called in a thread."""

PLACES_AT_ONCE = 8
"""How many of the places of one block are read at a time."""

_WRITE_SECONDS = 0.2
_TOLD_AT_ONCE = 500  # that many statements take a thread some milliseconds

_ALGORITHMS = {"sha256": SHA2_256, "sha512": SHA2_512}
_NAMES = {code: name for name, code in _ALGORITHMS.items()}


@dataclass(frozen=True, slots=True)
class Holder:
    """A repository that should have a content, as a blob or as a manifest."""

    digest: Digest
    repository: Repository
    is_manifest: bool


@dataclass(frozen=True, slots=True)
class HeldBlock:
    """A block within a content's DAG. ``size`` is the content's, in bytes."""

    holder: Holder
    size: int
    place: BlockPlace


class CidIndex:
    """The index in the file ``path``, used in threads, by one at a time.

    It tells digests and repositories: where these are nobody's business it is not ``kept``, but in memory only.

    What it is told is written together with what else it is told within a moment, or with what is asked first.

    Reading fails with `Unavailable`. What fails when it is told something makes it incomplete, and nothing else.

    `twisted.enterprise.adbapi` would not do: its threads are its own, so that tests could not put them into an order;
    it closes connections that a thread is using; and what several callers tell would not be one transaction.
    """

    _log = Logger()

    def __init__(self, path: Path, workers: Workers, clock: IReactorTime, *, kept: bool = True) -> None:
        self._path = path
        self._kept = kept
        self._workers = workers
        self._clock = clock
        self._lock: DeferredLock = DeferredLock()
        self._connection: sqlite3.Connection | None = None
        self._pass = 0
        self._news: list[cid_table.Statement] = []
        self._later: IDelayedCall | None = None  # what writes them
        self._writing = False
        self._damaged = False
        self._missed = False  # whether anything it was told is lost, since the last pass began
        self._forgotten = False  # whether `cid_table.BELIEVED` are not to be believed
        self.complete = False
        """Whether it knows all that the bucket has. If not, content that it does not know may be there."""

    async def open(self) -> None:
        """Open the file, or make it. Where that cannot be done, there is no index until the next pass."""
        try:
            self._connection, self._pass, self.complete = await self._workers.run(self._open)
        except (sqlite3.Error, OSError) as error:
            self._log.error("The index of CIDs cannot be opened: {error}. It is tried again.", error=error)

    def _open(self) -> tuple[sqlite3.Connection, int, bool]:
        if not self._kept:
            cid_table.remove_file(self._path)
            return cid_table.open_table(None)
        return cid_table.open_table(self._path)

    async def close(self) -> None:
        """Write what it was told, and close the file. A file that is not closed is incomplete when it is opened."""
        if self._connection is None:
            return
        with suppress(Unavailable):
            await self.do(lambda to: to.execute("UPDATE state SET complete = ?", (int(self.complete),)))
        await self._let_go()

    async def holders(self, digest: Digest, allowed: Allowed) -> AsyncIterator[Holder]:
        """The repositories that should have a content."""
        async for row in self._rows(cid_table.HOLDERS, index_key(digest), allowed):
            yield _holder(row)

    async def blocks(self, sha256: bytes, allowed: Allowed) -> AsyncIterator[HeldBlock]:
        """The DAGs in which the block with that hash should be, each with a repository that should have the content."""
        async for row in self._rows(cid_table.BLOCKS, sha256, allowed):
            yield HeldBlock(_holder(row), row[3], BlockPlace(row[4], row[5]))

    async def cid(self, digest: Digest) -> CID | None:
        """The CID of a content whose DAG is stored."""
        query, key = "SELECT cid FROM dags WHERE content = ?", (index_key(digest),)
        row = await self.do(lambda of: of.execute(query, key).fetchone())
        return None if row is None else decode_cid(row[0])[0]

    def held(self, *holders: Holder, size: int | None = None) -> None:
        """Repositories are about to have contents. The caller keeps others from taking them away meanwhile.

        ``size`` is that of each of them in bytes, where it is known.
        """
        for each in holders:
            row = (index_key(each.digest), each.repository, int(each.is_manifest), self._pass)
            self.tell("INSERT INTO holders VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET pass = excluded.pass", *row)
            if size is not None:
                self.measured(each.digest, size)

    def measured(self, digest: Digest, size: int) -> None:
        """A content that some repository has is ``size`` bytes long."""
        self.tell("INSERT INTO sizes VALUES (?, ?) ON CONFLICT DO NOTHING", index_key(digest), size)

    async def without_size(self, digests: Sequence[Digest]) -> list[Digest]:
        """Those of some contents whose size it does not know."""
        by_key = {index_key(each): each for each in digests}
        return [by_key[key] for key in await self.do(partial(cid_table.without_size, list(by_key)))]

    async def knows_all_sizes(self) -> bool:
        """Whether it knows the size of all that repositories have, as far as it knows that."""
        query = "SELECT EXISTS (SELECT 1 FROM holders WHERE content NOT IN (SELECT content FROM sizes))"
        return not await self.do(lambda of: of.execute(query).fetchone()[0])

    async def usage(self, repository: Repository, digest: Digest | None) -> cid_table.Usage:
        """What a repository and all of them have, and whether that content is a part of it. What was told counts."""
        return await self.do(partial(cid_table.usage, repository, None if digest is None else index_key(digest)))

    async def used(self, repositories: Sequence[Repository]) -> dict[str, int]:
        """The bytes that some repositories have, each content once, and under ``""`` those of all.

        What is not known is left out. It is less than there is where the index is not `complete`.
        """
        return await self.do(partial(cid_table.used, repositories))

    def lost(self, holder: Holder) -> None:
        """A repository has a content no more. The caller keeps others from giving it meanwhile."""
        row = (index_key(holder.digest), holder.repository, int(holder.is_manifest))
        self.tell("DELETE FROM holders WHERE content = ? AND repository = ? AND manifest = ?", *row)

    async def add_dag(self, digest: Digest, dag: FileDag) -> None:
        """The DAG of a content is about to be stored."""
        try:
            await self.do(lambda to: cid_table.add_dag(to, index_key(digest), dag, self._pass))
        except Unavailable:  # it was logged
            self._miss()

    def want_dag(self, digest: Digest, size: int) -> None:
        """The DAG of a content of ``size`` bytes is to be computed."""
        self.tell("INSERT INTO wanted VALUES (?, ?) ON CONFLICT DO NOTHING", index_key(digest), size)

    def want_no_dag(self, digest: Digest) -> None:
        """It is not, any more."""
        self.tell("DELETE FROM wanted WHERE content = ?", index_key(digest))

    async def wanted_dag(self) -> tuple[Digest, int] | None:
        """A content whose DAG is to be computed, and its size in bytes; None where there is none."""
        row = await self.do(lambda of: of.execute("SELECT content, size FROM wanted LIMIT 1").fetchone())
        return None if row is None else (content_of(row[0]), row[1])

    async def want_missing_dags(self) -> None:
        """All DAGs of blobs that it knows and that are not there are to be computed."""
        for part in await self.do(cid_table.parts):
            values = part | {"chunk": PROFILE.chunk, "sha256": bytes((SHA2_256,))}
            await self.do(_nothing, (cid_table.MISSING_DAGS, values))

    async def remove_dag(self, digest: Digest) -> None:
        """The DAG of a content is stored no more."""
        with suppress(Unavailable):
            await self.do(lambda of: of.execute("DELETE FROM dags WHERE content = ?", (index_key(digest),)))

    async def has_dag(self, digest: Digest) -> bool:
        """Whether it knows the DAG of a content, which is there in this pass too."""
        statement, values = "UPDATE dags SET pass = ? WHERE content = ?", (self._pass, index_key(digest))
        return bool(await self.do(lambda to: to.execute(statement, values).rowcount))

    async def begin_pass(self) -> None:
        """Begin a pass: from now on the index is told of everything that is there."""
        self._missed = False
        if self._damaged:
            self._damaged = False
            await self._let_go()
            await self._workers.run(cid_table.remove_file, self._path)
        if self._connection is None:
            await self.open()
        forget = [(f"DELETE FROM {table}", ()) for table in cid_table.BELIEVED] if self._forgotten else []
        (self._pass,) = await self.do(
            lambda of: of.execute("UPDATE state SET pass = pass + 1 RETURNING pass").fetchone(), *forget
        )
        self._forgotten = self._missed

    async def end_pass(self) -> None:
        """End a pass: what the index was not told of is gone."""
        # What was told just before this pass may have been stored after the pass went by: it goes after the next one.
        for part in await self.do(cid_table.parts):
            values = part | {"pass": self._pass - 1}
            await self.do(_nothing, *((statement, values) for statement in cid_table.END_PASS))
        self.complete = not self._missed

    async def settled(self) -> None:
        """Wait until everything told so far is written."""
        await self.do(_nothing)

    async def settles(self) -> bool:
        """As `settled`; False where it cannot be written."""
        try:
            await self.settled()
        except Unavailable:  # it was logged
            return False
        return True

    async def _let_go(self) -> None:
        # SQLite takes the whole process down if a connection is closed while a thread uses it. So closing waits for its
        # turn, and no turn ends before its thread does, not even when its caller was cancelled.
        await shield(self._let_go_now())

    async def _let_go_now(self) -> None:
        async with self._lock:
            connection, self._connection = self._connection, None
            self._not_later()
            if connection is not None:
                await self._workers.run(connection.close)

    def tell(self, statement: str, *values: object) -> None:
        """Have a statement executed before all that is asked from now on."""
        if self._connection is None:
            self._miss()
            return
        self._news.append((statement, values))
        if self._writing:
            return
        if len(self._news) >= _TOLD_AT_ONCE:
            self._write_now()
        elif self._later is None:
            self._later = self._clock.callLater(_WRITE_SECONDS, self._write_now)

    async def known(self, all_there: cid_table.Statement, look: Callable[[sqlite3.Connection], T]) -> T | None:
        """What is looked up in a table of which ``all_there`` finds a row in one of `cid_table.BELIEVED`.

        None where it finds none, where these are not to be believed, and where the index cannot be used.
        """

        def believed(of: sqlite3.Connection) -> T | None:
            is_known = not self._forgotten and of.execute(*all_there).fetchone() is not None
            return look(of) if is_known else None

        try:
            return await self.do(believed)
        except Unavailable:  # it was logged
            return None

    def _miss(self) -> None:
        self.complete = False
        self._missed = self._forgotten = True
        if self._connection is None:  # the file may be marked as complete
            with suppress(IsADirectoryError):
                self._path.unlink(missing_ok=True)

    def _write_now(self) -> None:
        self._not_later()
        if self._news and self._connection is not None:
            self._writing = True
            Deferred.fromCoroutine(self._write()).addErrback(self._could_not_write)

    def _not_later(self) -> None:
        if self._later is not None and self._later.active():
            self._later.cancel()
        self._later = None

    async def _write(self) -> None:
        try:
            await self.do(_nothing)
        finally:
            self._writing = False
            if self._news and self._connection is not None:
                self._later = self._clock.callLater(_WRITE_SECONDS, self._write_now)

    def _could_not_write(self, failure: Failure) -> None:
        failure.trap(Unavailable)  # it was logged

    async def _rows(self, query: str, value: bytes, allowed: Allowed) -> AsyncIterator[Any]:
        seen, rows = 0, [None] * PLACES_AT_ONCE
        while len(rows) == PLACES_AT_ONCE:
            rows = await self.do(partial(cid_table.rows, query, value, allowed, seen, PLACES_AT_ONCE))
            seen += len(rows)
            for row in rows:
                yield row

    async def do(self, work: Callable[[sqlite3.Connection], T], *more: cid_table.Statement) -> T:
        """Write what was told, and ``more``, and do some work: in one transaction. :raises Unavailable:"""
        return await shield(self._do_now(work, more))

    async def _do_now(self, work: Callable[[sqlite3.Connection], T], more: Sequence[cid_table.Statement]) -> T:
        async with self._lock:
            if self._connection is None:
                raise Unavailable("the index of CIDs is closed")
            news, self._news = self._news, []
            try:
                return await self._workers.run(cid_table.in_transaction, self._connection, [*news, *more], work)
            except sqlite3.Error as error:
                self._miss()
                self._damaged = self._damaged or not isinstance(error, sqlite3.OperationalError)
                self._log.error("The index of CIDs cannot be used: {error}. It is made again later.", error=error)
                raise Unavailable(f"the index of CIDs cannot be used: {error}") from None


def _nothing(connection: sqlite3.Connection) -> None:
    """Do nothing but write the news."""


def index_key(digest: Digest) -> bytes:
    """A content in the tables."""
    return bytes((_ALGORITHMS[digest.algorithm],)) + bytes.fromhex(digest.hex)


def content_of(key: bytes) -> Digest:
    """The content that is called so in the tables."""
    return Digest(_NAMES[key[0]], key[1:].hex())


def _holder(row: Any) -> Holder:
    return Holder(content_of(row[0]), Repository(row[1]), bool(row[2]))
