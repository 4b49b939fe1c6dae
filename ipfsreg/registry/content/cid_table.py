"""The tables of the index of CIDs, in SQLite. Everything here is for threads."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any, TypeVar

from ipfsreg.bucket.errors import Unavailable
from ipfsreg.ipfs.cid import SHA2_256, SHA2_512
from ipfsreg.ipfs.file_dag import BlockPlace, FileDag
from ipfsreg.registry.names import Repository

T = TypeVar("T")

Statement = tuple[str, tuple[object, ...] | Mapping[str, object]]
"""SQL, and its values."""

_ROWS_AT_ONCE = 10_000

_VERSION = 7
_OF_THE_DISK = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
}
"""Errors of the disk: the file itself may be whole."""

# `used` has what each repository has, in bytes, and under '' what there is in all, each content once. The triggers keep
# it: a content counts with its size once that is known, for those who have it then and for those who come. None of them
# looks at all who have a content, since that may be every repository, but for the one that its size is told first.
# `wanted` are the contents whose DAG is to be computed.
# `tags` has each tag with the content that it points to, and `tagged` the repositories all of whose tags are there.
# `referrers` has each entry of a referrer with a hash of its type, and `referred` the repositories all of whose entries
# are there.
# `catalog` has the repositories with a manifest, all of them where there is a row in `cataloged`.
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
CREATE TABLE wanted (content BLOB PRIMARY KEY, size INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE sizes (content BLOB PRIMARY KEY, size INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE used (repository TEXT PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO used VALUES ('', 0);
CREATE TRIGGER held AFTER INSERT ON holders BEGIN
    INSERT INTO used VALUES (NEW.repository, ifnull((SELECT size FROM sizes WHERE content = NEW.content), 0))
        ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes;
    UPDATE used SET bytes = bytes + ifnull((SELECT size FROM sizes WHERE content = NEW.content), 0)
        WHERE repository = '' AND NOT EXISTS (
            SELECT 1 FROM holders WHERE content = NEW.content
            AND (repository != NEW.repository OR manifest != NEW.manifest)
        );
END;
CREATE TRIGGER lost AFTER DELETE ON holders BEGIN
    UPDATE used SET bytes = bytes - ifnull((SELECT size FROM sizes WHERE content = OLD.content), 0)
        WHERE repository = OLD.repository
        OR repository = '' AND NOT EXISTS (SELECT 1 FROM holders WHERE content = OLD.content);
    DELETE FROM sizes
        WHERE content = OLD.content AND NOT EXISTS (SELECT 1 FROM holders WHERE content = OLD.content);
    DELETE FROM used WHERE repository = OLD.repository AND bytes = 0;
END;
CREATE TRIGGER measured AFTER INSERT ON sizes BEGIN
    INSERT INTO used SELECT repository, NEW.size * count(*) FROM holders WHERE content = NEW.content GROUP BY repository
        ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes;
    UPDATE used SET bytes = bytes + NEW.size
        WHERE repository = '' AND EXISTS (SELECT 1 FROM holders WHERE content = NEW.content);
END;
CREATE TABLE tags (
    repository TEXT NOT NULL, folded TEXT NOT NULL, tag TEXT NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (repository, folded, tag, content)
) WITHOUT ROWID;
CREATE INDEX tags_of ON tags (repository, content);
CREATE TABLE tagged (repository TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE referrers (
    repository TEXT NOT NULL, subject BLOB NOT NULL, content BLOB NOT NULL, type BLOB NOT NULL,
    PRIMARY KEY (repository, subject, content)
) WITHOUT ROWID;
CREATE INDEX referrers_of ON referrers (repository, subject, type, content);
CREATE TABLE referred (repository TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE catalog (repository TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE cataloged (always INTEGER PRIMARY KEY);
"""
BELIEVED = ("tagged", "referred", "cataloged")
"""The tables that say of what others have all."""
MISSING_DAGS = """
INSERT OR IGNORE INTO wanted SELECT content, size FROM sizes WHERE content >= :first AND content < :end
AND (size > :chunk OR substr(content, 1, 1) != :sha256) AND content NOT IN (SELECT content FROM dags)
AND EXISTS (SELECT 1 FROM holders WHERE holders.content = sizes.content AND NOT manifest)
"""
END_PASS = (
    "DELETE FROM holders WHERE content >= :first AND content < :end AND pass < :pass",
    "DELETE FROM dags WHERE content >= :first AND content < :end AND pass < :pass",
    "DELETE FROM sizes WHERE content >= :first AND content < :end AND content NOT IN (SELECT content FROM holders)",
    "DELETE FROM blocks WHERE hash >= :first_hash AND hash < :end_hash AND dag NOT IN (SELECT id FROM dags)",
)
"""What removes that of which no pass since ``:pass`` was told, in a range of `parts`."""
HOLDERS = "SELECT content, repository, manifest FROM holders WHERE content = ?"
BLOCKS = """
SELECT holders.content, repository, manifest, size, level, number FROM blocks
JOIN dags ON dags.id = blocks.dag JOIN holders ON holders.content = dags.content WHERE hash = ?
"""


@dataclass(frozen=True, slots=True)
class Usage:
    """What is used, in bytes, and whether a content is a part of it."""

    of_repository: int
    of_all: int
    repository_has: bool
    anybody_has: bool


def usage(repository: Repository, key: bytes | None, connection: sqlite3.Connection) -> Usage:
    """What is used by a repository, and by all."""
    used = dict(connection.execute("SELECT repository, bytes FROM used WHERE repository IN ('', ?)", (repository,)))
    query = "SELECT 1 FROM holders WHERE content = ?"
    anybody_has = connection.execute(query, (key,)).fetchone() is not None
    repository_has = connection.execute(f"{query} AND repository = ?", (key, repository)).fetchone() is not None
    return Usage(used.get(repository, 0), used[""], repository_has, anybody_has)


def used(repositories: Sequence[Repository], connection: sqlite3.Connection) -> dict[str, int]:
    """What is used by each of some repositories, and under ``""`` by all."""
    query = "SELECT bytes FROM used WHERE repository = ?"
    found = {name: connection.execute(query, (name,)).fetchone() for name in ("", *repositories)}
    return {name: row[0] for name, row in found.items() if row is not None}


def without_size(keys: Sequence[bytes], connection: sqlite3.Connection) -> list[bytes]:
    """Those of some contents whose size is not known."""
    known = "SELECT 1 FROM sizes WHERE content = ?"
    return [key for key in keys if connection.execute(known, (key,)).fetchone() is None]


def parts(connection: sqlite3.Connection) -> list[dict[str, object]]:
    """Ranges that are all there is, for statements that look at every row: others have their turns in between."""
    (count,) = connection.execute("SELECT count(*) FROM holders").fetchone()
    number = 1 + count // _ROWS_AT_ONCE
    edges = [each * 65536 // number for each in range(number + 1)]
    return [
        {
            "first": (code * 65536 + first).to_bytes(3, "big"),
            "end": (code * 65536 + end).to_bytes(3, "big"),
            "first_hash": first.to_bytes(2, "big"),
            "end_hash": end.to_bytes(2, "big") if end < 65536 else b"\xff" * 65,
        }
        for code in (SHA2_256, SHA2_512)
        for first, end in pairwise(edges)
    ]


def open_table(path: Path | None) -> tuple[sqlite3.Connection, int, bool]:
    """Open the file, or make it; None is memory. Answers the number of its last pass, and whether it is complete."""
    try:
        return _open_file(path)
    except sqlite3.DatabaseError as error:
        if path is None or error.sqlite_errorcode & 0xFF in _OF_THE_DISK:
            raise
        remove_file(path)  # it is damaged
        return _open_file(path)


def _open_file(path: Path | None) -> tuple[sqlite3.Connection, int, bool]:
    connection = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")  # what a killed daemon wrote last is lost, and no more
        connection.execute("PRAGMA synchronous = NORMAL")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT")
        elif version != _VERSION:
            assert path is not None
            connection.close()
            remove_file(path)
            return _open_file(path)
        complete, number = connection.execute("SELECT complete, pass FROM state").fetchone()
        # Synced, and in the file itself, before the index is told of anything: else it might count as complete after a
        # loss of power, or where somebody copied the file alone.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("UPDATE state SET complete = 0")
        if not complete:
            for table in BELIEVED:
                connection.execute(f"DELETE FROM {table}")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA synchronous = NORMAL")
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
    connection.execute("DELETE FROM wanted WHERE content = ?", (key,))
    added = connection.execute(
        "INSERT INTO dags (content, cid, size, pass) VALUES (?, ?, ?, ?)", (key, dag.cid.binary, dag.size, number)
    )
    places = chain((BlockPlace(0, number) for number in range(dag.count(0))), dag.inner_nodes())
    connection.executemany(
        "INSERT OR IGNORE INTO blocks VALUES (?, ?, ?, ?)",
        ((dag.hash_at(place), added.lastrowid, place.level, place.number) for place in places),
    )
