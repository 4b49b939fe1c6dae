"""When each tag was last pushed, and when manifests were last pulled by tag or digest, as far as this daemon saw it.

It is a file that can be lost.

A pull or push only changes memory. The file is written once a minute, and when the daemon stops.
"""

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from ipfsreg.bucket.errors import BucketError, database_error
from ipfsreg.flow.shield import shield
from ipfsreg.flow.workers import Workers
from ipfsreg.registry.names import Repository, Tag

WRITE_SECONDS = 60.0
"""How often it is to be written. A daemon that is killed loses what came since."""

UNWRITTEN_MAX = 100_000
"""Tags whose pull or push waits to be written. Of those above it is not known, which is said of pulls."""

DIGEST_SECONDS = 366 * 86400.0
"""How long pulls by digest are remembered. Those by tag are until the tag goes."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS pulls (
    repository TEXT NOT NULL, tag TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (repository, tag)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pushes (
    repository TEXT NOT NULL, tag TEXT NOT NULL, digest TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (repository, tag)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS since (at REAL NOT NULL);
"""

T = TypeVar("T")


class PushedTag(NamedTuple):
    """To which digest a tag was pointed, and when, in seconds since 1970."""

    digest: str
    at: float


class TagTimes:
    """The times in the file ``path``, or in memory only where that is None. ``now`` is seconds since 1970."""

    _log = Logger()

    def __init__(self, path: Path | None, workers: Workers, now: Callable[[], float]) -> None:
        self._path = path
        self._workers = workers
        self._now = now
        self._lock: DeferredLock = DeferredLock()
        self._connection: sqlite3.Connection | None = None
        self._pulled: dict[tuple[str, str], float] = {}
        self._pushed: dict[tuple[str, str], PushedTag] = {}
        self._lost = 0
        self.since = float("inf")
        """From when on all pulls are known, in seconds since 1970."""

    async def start(self) -> None:
        """Open the file. One that is damaged begins anew: then nothing counts as not pulled for a while."""
        try:
            self._connection, self.since = await self._workers.run(_open, self._path, self._now())
        except (sqlite3.Error, OSError) as error:
            self._log.error("When tags were pulled is not known: {error}. All count as pulled.", error=error)

    async def stop(self) -> None:
        """Write and close it."""
        await self.write()
        await shield(self._close())

    def pulled(self, repository: str, reference: str) -> None:
        """A manifest was pulled now, by a tag or a digest."""
        key = (repository, reference)
        if key in self._pulled or len(self._pulled) < UNWRITTEN_MAX:
            self._pulled[key] = self._now()
        else:
            self._lost += 1

    def pushed(self, repository: str, tag: str, digest: str) -> None:
        """A tag was pushed now, and points to that digest."""
        key = (repository, tag)
        if key in self._pushed or len(self._pushed) < UNWRITTEN_MAX:
            self._pushed[key] = PushedTag(digest, self._now())

    async def write(self) -> None:
        """Write what was noted."""
        if self._lost:
            lost, self._lost = self._lost, 0
            self._log.warn("{count} pulls were not noted for [retention]: there were too many at once.", count=lost)
        if not self._pulled and not self._pushed:
            return
        pulled, self._pulled = self._pulled, {}
        pushed, self._pushed = self._pushed, {}
        pulls = [(*key, at) for key, at in pulled.items()]
        pushes = [(*key, *each) for key, each in pushed.items()]
        try:
            await shield(self._with_connection(partial(_write, pulls, pushes)))
        except BucketError as error:
            self._pulled, self._pushed = pulled | self._pulled, pushed | self._pushed
            self._log.error("When tags were pulled cannot be written: {error}. It is tried again.", error=error)

    async def last_pulls(self, repository: Repository, references: Sequence[str]) -> dict[str, float]:
        """When there was the last pull by each tag or digest, as far as it is known, in seconds since 1970.

        :raises BucketError: where the file cannot be read.
        """
        rows = await shield(self._with_connection(partial(_rows, "pulls", repository, references))) or {}
        found = {reference: at for reference, (_, _, at) in rows.items()}
        return found | {each: at for each in references if (at := self._pulled.get((repository, each))) is not None}

    async def last_pushes(self, repository: Repository, tags: Sequence[Tag]) -> dict[Tag, PushedTag]:
        """When some tags were last pushed, as far as it is known. :raises BucketError: as `last_pulls`."""
        rows = await shield(self._with_connection(partial(_rows, "pushes", repository, tags))) or {}
        found = {Tag(tag): PushedTag(digest, at) for tag, (_, _, digest, at) in rows.items()}
        return found | {tag: each for tag in tags if (each := self._pushed.get((repository, tag))) is not None}

    async def forget(self, repository: Repository, tags: Sequence[Tag]) -> None:
        """Tags are gone."""
        keys = [(repository, tag) for tag in tags]
        for key in keys:
            self._pulled.pop(key, None)
            self._pushed.pop(key, None)
        await shield(self._with_connection(partial(_forget, keys)))

    async def _with_connection(self, work: Callable[[sqlite3.Connection], T]) -> T | None:
        async with self._lock:
            if self._connection is None:
                return None
            try:
                return await self._workers.run(work, self._connection)
            except sqlite3.Error as error:
                raise database_error(error, self._path or Path(":memory:")) from None

    async def _close(self) -> None:
        async with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                await self._workers.run(connection.close)


def _open(path: Path | None, now: float) -> tuple[sqlite3.Connection, float]:
    try:
        return _open_file(path, now)
    except sqlite3.DatabaseError:
        if path is None:
            raise
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        return _open_file(path, now)


def _open_file(path: Path | None, now: float) -> tuple[sqlite3.Connection, float]:
    connection = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(_SCHEMA)
        connection.execute("DELETE FROM pulls WHERE tag LIKE '%:%' AND at < ?", (now - DIGEST_SECONDS,))
        (since,) = connection.execute("SELECT max(at) FROM since").fetchone()
        if since is None or since > now:
            connection.execute("INSERT INTO since VALUES (?)", (now,))
            since = now
    except BaseException:
        connection.close()
        raise
    return connection, since


def _write(
    pulls: list[tuple[str, str, float]], pushes: list[tuple[str, str, str, float]], connection: sqlite3.Connection
) -> None:
    with connection:
        connection.execute("BEGIN")
        connection.executemany("INSERT OR REPLACE INTO pulls VALUES (?, ?, ?)", pulls)
        connection.executemany("INSERT OR REPLACE INTO pushes VALUES (?, ?, ?, ?)", pushes)


def _rows(
    table: str, repository: str, names: Sequence[str], connection: sqlite3.Connection
) -> dict[str, tuple[Any, ...]]:
    query = f"SELECT * FROM {table} WHERE repository = ? AND tag = ?"
    rows = ((name, connection.execute(query, (repository, name)).fetchone()) for name in names)
    return {name: row for name, row in rows if row is not None}


def _forget(keys: Sequence[tuple[str, str]], connection: sqlite3.Connection) -> None:
    with connection:
        connection.execute("BEGIN")
        for table in ("pulls", "pushes"):
            connection.executemany(f"DELETE FROM {table} WHERE repository = ? AND tag = ?", keys)
