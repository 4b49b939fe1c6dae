"""When each tag was last pulled, as far as this daemon saw it: a file that can be lost.

A pull only changes memory. The file is written once a minute, and when the daemon stops.
"""

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from ipfsreg.bucket.errors import BucketError, database_error
from ipfsreg.flow.shield import shield
from ipfsreg.flow.workers import Workers
from ipfsreg.registry.names import Repository, Tag

WRITE_SECONDS = 60.0
"""How often it is to be written. A daemon that is killed loses what came since."""

UNWRITTEN_MAX = 100_000
"""Tags whose pull waits to be written. Those above count as not pulled now, which is said."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS pulls (
    repository TEXT NOT NULL, tag TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (repository, tag)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS since (at REAL NOT NULL);
"""


class PullTimes:
    """The times in the file ``path``, or in memory only where that is None. ``now`` is seconds since 1970."""

    _log = Logger()

    def __init__(self, path: Path | None, workers: Workers, now: Callable[[], float]) -> None:
        self._path = path
        self._workers = workers
        self._now = now
        self._lock: DeferredLock = DeferredLock()
        self._connection: sqlite3.Connection | None = None
        self._unwritten: dict[tuple[str, str], float] = {}
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

    def noted(self, repository: str, tag: str) -> None:
        """A tag was pulled now."""
        key = (repository, tag)
        if key in self._unwritten or len(self._unwritten) < UNWRITTEN_MAX:
            self._unwritten[key] = self._now()
        else:
            self._lost += 1

    async def write(self) -> None:
        """Write what was noted."""
        if self._lost:
            lost, self._lost = self._lost, 0
            self._log.warn("{count} pulls were not noted for [retention]: there were too many at once.", count=lost)
        if not self._unwritten:
            return
        written, self._unwritten = self._unwritten, {}
        try:
            await shield(self._with_connection(partial(_write, [(*key, at) for key, at in written.items()])))
        except BucketError as error:
            self._unwritten = written | self._unwritten
            self._log.error("When tags were pulled cannot be written: {error}. It is tried again.", error=error)

    async def last(self, repository: Repository, tags: Sequence[Tag]) -> dict[Tag, float]:
        """When some tags were last pulled, as far as it is known, in seconds since 1970.

        :raises BucketError: where the file cannot be read.
        """
        found = await shield(self._with_connection(partial(_read, repository, list(tags))))
        return found | {tag: at for tag in tags if (at := self._unwritten.get((repository, tag))) is not None}

    async def forget(self, repository: Repository, tags: Sequence[Tag]) -> None:
        """Tags are gone."""
        for tag in tags:
            self._unwritten.pop((repository, tag), None)
        await shield(self._with_connection(partial(_forget, [(repository, tag) for tag in tags])))

    async def _with_connection(self, work: "Callable[[sqlite3.Connection], dict[Tag, float]]") -> dict[Tag, float]:
        async with self._lock:
            if self._connection is None:
                return {}
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
        (since,) = connection.execute("SELECT max(at) FROM since").fetchone()
        if since is None or since > now:
            connection.execute("INSERT INTO since VALUES (?)", (now,))
            since = now
    except BaseException:
        connection.close()
        raise
    return connection, since


def _write(rows: list[tuple[str, str, float]], connection: sqlite3.Connection) -> dict[Tag, float]:
    with connection:
        connection.execute("BEGIN")
        connection.executemany("INSERT OR REPLACE INTO pulls VALUES (?, ?, ?)", rows)
    return {}


def _read(repository: str, tags: list[Tag], connection: sqlite3.Connection) -> dict[Tag, float]:
    query = "SELECT at FROM pulls WHERE repository = ? AND tag = ?"
    rows = ((tag, connection.execute(query, (repository, tag)).fetchone()) for tag in tags)
    return {tag: row[0] for tag, row in rows if row is not None}


def _forget(keys: list[tuple[str, str]], connection: sqlite3.Connection) -> dict[Tag, float]:
    with connection:
        connection.execute("BEGIN")
        connection.executemany("DELETE FROM pulls WHERE repository = ? AND tag = ?", keys)
    return {}
