"""The tables of the index of CIDs, in SQLite. Everything here is for threads."""

import sqlite3
from collections.abc import Callable, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

from ipfsreg.bucket.errors import Unavailable
from ipfsreg.ipfs.file_dag import BlockPlace, FileDag
from ipfsreg.registry.names import Repository

T = TypeVar("T")

Statement = tuple[str, tuple[object, ...]]
"""SQL, and the values for its question marks."""

_VERSION = 1
_OF_THE_DISK = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
}
"""Errors of the disk: the file itself may be whole."""

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
HOLDERS = "SELECT content, repository, manifest FROM holders WHERE content = ?"
BLOCKS = """
SELECT holders.content, repository, manifest, size, level, number FROM blocks
JOIN dags ON dags.id = blocks.dag JOIN holders ON holders.content = dags.content WHERE hash = ?
"""


def open_table(path: Path) -> tuple[sqlite3.Connection, int, bool]:
    """Open the file, or make it; answers the number of its last pass, and whether it is complete."""
    try:
        return _open_file(path)
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF in _OF_THE_DISK:
            raise
        remove_file(path)  # it is damaged
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
            remove_file(path)
            return _open_file(path)
        complete, number = connection.execute("SELECT complete, pass FROM state").fetchone()
        connection.execute("UPDATE state SET complete = 0")
    except BaseException:
        connection.close()
        raise
    return connection, number, bool(complete)


def remove_file(path: Path) -> None:
    """Remove the file, if it is there."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def in_transaction(
    connection: sqlite3.Connection,
    news: Sequence[Statement],
    work: Callable[[sqlite3.Connection], T],
) -> T:
    """Write the news, and do some work: in one transaction."""
    refusal: Unavailable | None = None
    with connection:  # commits, or rolls back where SQLite fails
        connection.execute("BEGIN")
        for statement, values in news:
            connection.execute(statement, values)
        try:
            return work(connection)
        except Unavailable as error:  # raised by ``allowed`` in `rows`: the news is committed all the same
            refusal = error
    raise refusal


def rows(
    query: str,
    value: bytes,
    allowed: Callable[[Repository], bool],
    skip: int,
    most: int,
    connection: sqlite3.Connection,
) -> list[Any]:
    """The rows of a query, after the first ``skip`` at most ``most``, whose repository is ``allowed``."""
    found = connection.execute(query, (value,))
    return list(islice((row for row in found if allowed(Repository(row[1]))), skip, skip + most))


def add_dag(connection: sqlite3.Connection, key: bytes, dag: FileDag, number: int) -> None:
    """Add the DAG of a content in the pass with that number, or replace it."""
    connection.execute("DELETE FROM dags WHERE content = ?", (key,))
    added = connection.execute(
        "INSERT INTO dags (content, cid, size, pass) VALUES (?, ?, ?, ?)", (key, dag.cid.binary, dag.size, number)
    )
    places = chain((BlockPlace(0, number) for number in range(dag.count(0))), dag.inner_nodes())
    connection.executemany(
        "INSERT OR IGNORE INTO blocks VALUES (?, ?, ?, ?)",
        ((dag.hash_at(place), added.lastrowid, place.level, place.number) for place in places),
    )
