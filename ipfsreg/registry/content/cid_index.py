"""Which block is a part of which content, and which repository has that content: a file that can be made again.

SQLite in the daemon's own directory. It is told of each thing before that is stored, and after it was removed: so what
it says may not be there (any more), and whoever asks makes sure of it. What it was not told of is another matter, for
that looks like an absence: where it may have missed something it is incomplete until a pass over the bucket ends.
"""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipfsreg.bucket.errors import Unavailable
from ipfsreg.flow.shield import shield
from ipfsreg.flow.workers import Workers
from ipfsreg.ipfs.cid import CID, SHA2_256, SHA2_512, decode_cid
from ipfsreg.ipfs.file_dag import FileDag, Place
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.names import Repository

T = TypeVar("T")

Allowed = Callable[[Repository], bool]
"""Whether somebody may have what a repository has. It is called in a thread."""

PAGE = 8
"""How many of the places of one block are told at a time."""

_VERSION = 1
_OF_THE_DISK = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
}
"""Errors that say nothing of the file."""
_ALGORITHMS = {"sha256": SHA2_256, "sha512": SHA2_512}
_NAMES = {code: name for name, code in _ALGORITHMS.items()}

# A row of `blocks` whose DAG is gone leads nowhere, since the numbers of DAGs are never used again.
_SCHEMA = """
CREATE TABLE state (complete INTEGER NOT NULL, pass INTEGER NOT NULL);
INSERT INTO state VALUES (0, 0);
CREATE TABLE dags (
    id INTEGER PRIMARY KEY AUTOINCREMENT, content BLOB NOT NULL UNIQUE, cid BLOB NOT NULL, size INTEGER NOT NULL,
    pass INTEGER NOT NULL
);
CREATE TABLE blocks (
    hash BLOB NOT NULL, dag INTEGER NOT NULL, level INTEGER NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (hash, dag)
) WITHOUT ROWID;
CREATE TABLE holders (
    content BLOB NOT NULL, repository TEXT NOT NULL, manifest INTEGER NOT NULL, pass INTEGER NOT NULL,
    PRIMARY KEY (content, repository, manifest)
) WITHOUT ROWID;
"""
_WHOLE = "SELECT content, repository, manifest FROM holders WHERE content = ?"
_PART = """
SELECT holders.content, repository, manifest, size, level, number FROM blocks
JOIN dags ON dags.id = blocks.dag JOIN holders ON holders.content = dags.content WHERE hash = ?
"""


@dataclass(frozen=True, slots=True)
class Holder:
    """A repository that should have a content, as a blob or as a manifest."""

    digest: Digest
    repository: Repository
    is_manifest: bool


@dataclass(frozen=True, slots=True)
class Part:
    """A block within a content's DAG. ``size`` is the content's, in bytes."""

    holder: Holder
    size: int
    place: Place


class CidIndex:
    """The index in the file ``path``, used in threads, by one at a time.

    Reading fails with `Unavailable`. What fails when it is told something makes it incomplete, and nothing else.
    """

    _log = Logger()

    def __init__(self, path: Path, workers: Workers) -> None:
        self._path = path
        self._workers = workers
        self._lock: DeferredLock = DeferredLock()
        self._connection: sqlite3.Connection | None = None
        self._pass = 0
        self._news: list[tuple[str, tuple[object, ...]]] = []
        self._writing = False
        self._damaged = False
        self._missed = False  # whether anything it was told is lost, since the last pass began
        self.complete = False
        """Whether it knows of all that the bucket has: if not, what it does not know may be there all the same."""

    async def open(self) -> None:
        """Open the file, or make it. Where that cannot be done there is none until the next pass."""
        try:
            self._connection, self._pass, self.complete = await self._workers.run(_open, self._path)
        except (sqlite3.Error, OSError) as error:
            self._log.error("The index of CIDs cannot be opened: {error}. It is tried again.", error=error)

    async def close(self) -> None:
        """Write what it was told, and close the file. A file that is not closed is incomplete when it is opened."""
        if self._connection is None:
            return
        with suppress(Unavailable):
            await self._do(_set_complete, self.complete)
        await self._let_go()

    async def holders(self, digest: Digest, allowed: Allowed, skip: int = 0) -> Sequence[Holder]:
        """The repositories that should have a content, a `PAGE` of them after the first ``skip``."""
        return [_holder(row) for row in await self._do(_rows, _WHOLE, _key(digest), allowed, skip)]

    async def parts(self, sha256: bytes, allowed: Allowed, skip: int = 0) -> Sequence[Part]:
        """The DAGs in which the block with that hash should be, each with a repository that should have the content.

        A `PAGE` of them after the first ``skip``.
        """
        rows = await self._do(_rows, _PART, sha256, allowed, skip)
        return [Part(_holder(row), row[3], Place(row[4], row[5])) for row in rows]

    async def cid(self, digest: Digest) -> CID | None:
        """The CID of a content whose DAG is stored."""
        found = await self._do(_cid, _key(digest))
        return None if found is None else decode_cid(found)[0]

    def held(self, *holders: Holder) -> None:
        """Repositories are about to have contents. The caller keeps others from taking them away meanwhile."""
        for each in holders:
            row = (_key(each.digest), each.repository, int(each.is_manifest), self._pass)
            self._tell("INSERT OR REPLACE INTO holders VALUES (?, ?, ?, ?)", row)

    def lost(self, holder: Holder) -> None:
        """A repository has a content no more. The caller keeps others from giving it meanwhile."""
        row = (_key(holder.digest), holder.repository, int(holder.is_manifest))
        self._tell("DELETE FROM holders WHERE content = ? AND repository = ? AND manifest = ?", row)

    async def add_dag(self, digest: Digest, dag: FileDag) -> None:
        """The DAG of a content is about to be stored."""
        with suppress(Unavailable):  # it was logged
            await self._do(_add_dag, _key(digest), dag, self._pass)

    async def remove_dag(self, digest: Digest) -> None:
        """The DAG of a content is stored no more."""
        with suppress(Unavailable):
            await self._do(_remove_dag, _key(digest))

    async def has_dag(self, digest: Digest) -> bool:
        """Whether it knows the DAG of a content, which is there in this pass too."""
        return await self._do(_mark_dag, _key(digest), self._pass)

    async def begin_pass(self) -> None:
        """From now on it is told of everything that is there."""
        self._missed = False
        if self._damaged:
            self._damaged = False
            await self._let_go()
            await self._workers.run(_remove, self._path)
        if self._connection is None:
            await self.open()
        self._pass = await self._do(_begin_pass)

    async def end_pass(self) -> None:
        """It was told of everything: what it was not told of is gone."""
        await self._do(_end_pass, self._pass)
        self.complete = not self._missed

    async def settled(self) -> None:
        """Wait until it has written what it was told."""
        await self._do(_nothing)

    async def _let_go(self) -> None:
        # In its turn, as everything is: a connection that is closed while a thread is using it takes the whole process
        # down. So nobody's turn ends before their thread does, though they were cancelled.
        await shield(self._let_go_now())

    async def _let_go_now(self) -> None:
        await self._lock.acquire()
        try:
            connection, self._connection = self._connection, None
            if connection is not None:
                await self._workers.run(connection.close)
        finally:
            self._lock.release()

    def _tell(self, statement: str, values: tuple[object, ...]) -> None:
        if self._connection is None:
            self._miss()
            return
        self._news.append((statement, values))
        if not self._writing:
            self._writing = True
            Deferred.fromCoroutine(self._write()).addErrback(self._could_not_write)

    def _miss(self) -> None:
        self.complete = False
        self._missed = True
        if self._connection is None:  # the file may say of itself that it is complete
            self._path.unlink(missing_ok=True)

    async def _write(self) -> None:
        try:
            await self._do(_nothing)
        finally:
            self._writing = False

    def _could_not_write(self, failure: Failure) -> None:
        failure.trap(Unavailable)  # it was logged

    async def _do(self, work: Callable[..., T], *arguments: object) -> T:
        """Write the news, and do some work: in one transaction."""
        return await shield(self._do_now(work, *arguments))

    async def _do_now(self, work: Callable[..., T], *arguments: object) -> T:
        await self._lock.acquire()
        try:
            if self._connection is None:
                if work is _add_dag:
                    self._miss()
                raise Unavailable("the index of CIDs is closed")
            news, self._news = self._news, []
            return await self._workers.run(_in_transaction, self._connection, news, work, arguments)
        except sqlite3.Error as error:
            self._miss()
            self._damaged = self._damaged or not isinstance(error, sqlite3.OperationalError)
            self._log.error("The index of CIDs cannot be used: {error}. It is made again later.", error=error)
            raise Unavailable(f"the index of CIDs cannot be used: {error}") from None
        finally:
            self._lock.release()


def _open(path: Path) -> tuple[sqlite3.Connection, int, bool]:
    try:
        return _open_file(path)
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF in _OF_THE_DISK:
            raise
        _remove(path)  # it is damaged
        return _open_file(path)


def _open_file(path: Path) -> tuple[sqlite3.Connection, int, bool]:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")  # what a killed daemon wrote last is lost, and no more
        connection.execute("PRAGMA synchronous = NORMAL")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT")
        elif version != _VERSION:
            connection.close()
            _remove(path)
            return _open_file(path)
        complete, number = connection.execute("SELECT complete, pass FROM state").fetchone()
        connection.execute("UPDATE state SET complete = 0")
    except BaseException:
        connection.close()
        raise
    return connection, number, bool(complete)


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _in_transaction(
    connection: sqlite3.Connection,
    news: Sequence[tuple[str, tuple[object, ...]]],
    work: Callable[..., T],
    arguments: Any,
) -> T:
    connection.execute("BEGIN")
    try:
        for statement, values in news:
            connection.execute(statement, values)
        result = work(connection, *arguments)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    return result


def _nothing(connection: sqlite3.Connection) -> None:
    """For who only wants what it was told to be written."""


def _rows(connection: sqlite3.Connection, query: str, value: bytes, allowed: Allowed, skip: int) -> list[Any]:
    found = connection.execute(query, (value,))
    return list(islice((row for row in found if allowed(Repository(row[1]))), skip, skip + PAGE))


def _cid(connection: sqlite3.Connection, key: bytes) -> bytes | None:
    row = connection.execute("SELECT cid FROM dags WHERE content = ?", (key,)).fetchone()
    return None if row is None else bytes(row[0])


def _add_dag(connection: sqlite3.Connection, key: bytes, dag: FileDag, number: int) -> None:
    _remove_dag(connection, key)
    added = connection.execute(
        "INSERT INTO dags (content, cid, size, pass) VALUES (?, ?, ?, ?)", (key, dag.cid.binary, dag.size, number)
    )
    places = chain((Place(0, number) for number in range(dag.count(0))), dag.inner_nodes())
    connection.executemany(
        "INSERT OR IGNORE INTO blocks VALUES (?, ?, ?, ?)",
        ((dag.hash_at(place), added.lastrowid, place.level, place.number) for place in places),
    )


def _remove_dag(connection: sqlite3.Connection, key: bytes) -> None:
    connection.execute("DELETE FROM dags WHERE content = ?", (key,))


def _mark_dag(connection: sqlite3.Connection, key: bytes, number: int) -> bool:
    return bool(connection.execute("UPDATE dags SET pass = ? WHERE content = ?", (number, key)).rowcount)


def _begin_pass(connection: sqlite3.Connection) -> int:
    (number,) = connection.execute("UPDATE state SET pass = pass + 1 RETURNING pass").fetchone()
    return int(number)


def _end_pass(connection: sqlite3.Connection, number: int) -> None:
    # What it was told of before this pass may have been stored behind the pass' back: it goes after the next one.
    connection.execute("DELETE FROM holders WHERE pass < ?", (number - 1,))
    connection.execute("DELETE FROM dags WHERE pass < ?", (number - 1,))
    connection.execute("DELETE FROM blocks WHERE dag NOT IN (SELECT id FROM dags)")


def _set_complete(connection: sqlite3.Connection, complete: bool) -> None:
    connection.execute("UPDATE state SET complete = ?", (int(complete),))


def _key(digest: Digest) -> bytes:
    return bytes((_ALGORITHMS[digest.algorithm],)) + bytes.fromhex(digest.hex)


def _holder(row: Any) -> Holder:
    return Holder(Digest(_NAMES[row[0][0]], row[0][1:].hex()), Repository(row[1]), bool(row[2]))
