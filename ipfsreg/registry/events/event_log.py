"""The events of the last time in a file on this disk: what webhooks are sent from, and who comes back reads on."""

import sqlite3
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipfsreg.bucket.errors import SetupError
from ipfsreg.flow.shield import shield
from ipfsreg.flow.workers import Workers

from .event import Event, EventAction, LoggedEvent

PULLS_SECONDS = 0.5
"""How long pulls wait to be written together. Nobody waits for that; a kill loses those that wait."""

WAITING_MAX = 20_000
"""Events that wait for the disk. Those above are lost, counted and said."""

_BATCH = 500

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY, action TEXT NOT NULL, media_type TEXT NOT NULL, repository TEXT NOT NULL,
    document TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS positions (reader TEXT PRIMARY KEY, number INTEGER NOT NULL, lost INTEGER NOT NULL);
"""


class EventLog:
    """The last ``maximum`` events, and how far each of the ``readers`` came.

    A reader that is new begins with what comes next. What has gone because there was too much of it is counted for each
    reader that had not read it. ``instance`` is what to call the daemon in events.

    Without a ``path`` it is in memory, and ends with the daemon. Else an append is safe from a kill of the daemon when
    its Deferred fires; a loss of power may take the last ones.
    """

    _log = Logger()

    def __init__(
        self, path: Path | None, readers: Sequence[str], maximum: int, workers: Workers, clock: Any, instance: str = ""
    ) -> None:
        self._path = path
        self._readers = tuple(readers)
        self._maximum = maximum
        self._workers = workers
        self._clock = clock
        self._instance = instance
        self._connection: sqlite3.Connection | None = None
        self._turn: DeferredLock = DeferredLock()
        self._waiting: deque[tuple[LoggedEvent, Deferred[None] | None]] = deque()
        self._later: IDelayedCall | None = None
        self._writing = False
        self._told: str | None = None
        self._appended: list[Callable[[], None]] = []
        self.lost: dict[str, int] = {}
        """How many events each reader has lost since it is known, because the log was full."""
        self.not_written = 0
        """How many events since the start are not in it, because the disk failed or was too slow."""

    async def open(self) -> int:
        """Open or make it; answers the number of the last event, or 0.

        :raises SetupError: where it cannot be used.
        """
        try:
            last, self.lost = await self._run(self._open)
        except (sqlite3.Error, OSError) as error:
            raise SetupError(f"{self._path}: {error}; move it away to begin a new one") from None
        return last

    async def close(self) -> None:
        """Write what waits, and close it."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        await self.flush()
        await self._run(self._close)

    def when_appended(self, call: Callable[[], None]) -> None:
        """Have something called each time that there is more to read."""
        self._appended.append(call)

    def append(self, event: Event) -> "Deferred[None] | None":
        """Write an event down; a `Listener`. The Deferred never fails; for a pull there is none."""
        if len(self._waiting) >= WAITING_MAX:
            self._missed(1, "too many events at once")
            return None
        logged = LoggedEvent.of(event, self._instance)
        if event.action is EventAction.PULL:
            self._waiting.append((logged, None))
            if self._later is None and not self._writing:
                self._begin_soon()
            return None
        written: Deferred[None] = Deferred()
        self._waiting.append((logged, written))
        if not self._writing:
            if self._later is not None:
                self._later.cancel()
            self._begin()
        return written

    async def flush(self) -> None:
        """Write what waits."""
        while self._waiting:
            await self._write()

    async def after(self, number: int, most: int) -> Sequence[LoggedEvent]:
        """The events that follow a number, at most so many. :raises sqlite3.Error:"""
        return await self._run(partial(self._after, number, most))

    async def knows_all_after(self, number: int) -> bool:
        """Whether `after` leaves out none that follows a number: what waits is written first, and none has gone.

        :raises sqlite3.Error:
        """
        await self.flush()
        return number >= await self._run(self._oldest)

    async def position(self, reader: str) -> int:
        """The number of the event that a reader has read last. :raises sqlite3.Error:"""
        return await self._run(partial(self._position, reader))

    async def move(self, reader: str, number: int) -> None:
        """Note how far a reader came. :raises sqlite3.Error:"""
        await self._run(partial(self._move, reader, number))

    async def waiting_for(self) -> Mapping[str, int]:
        """How many events each reader has not read. :raises sqlite3.Error:"""
        return await self._run(self._behind)

    def _begin_soon(self) -> None:
        self._later = self._clock.callLater(PULLS_SECONDS, self._begin)

    def _begin(self) -> None:
        self._later = None
        self._writing = True
        Deferred.fromCoroutine(self._write()).addBoth(self._written)

    def _written(self, result: None | Failure) -> None:
        self._writing = False
        if isinstance(result, Failure):
            self._log.failure("The log of events", result)
        if any(waits is not None for _, waits in self._waiting):
            self._begin()
        elif self._waiting:
            self._begin_soon()

    async def _write(self) -> None:
        left = len(self._waiting)  # the pulls that come meanwhile wait for more of their kind
        while left > 0 and self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
            left -= len(batch)
            try:
                lost = await self._run(partial(self._insert, [event for event, _ in batch]))
                self._told = None
            except (sqlite3.Error, OSError) as error:
                self._missed(len(batch), str(error))
            else:
                self._say_lost(lost)
                self.lost = lost
            finally:
                for _, written in batch:
                    if written is not None and not written.called:
                        written.callback(None)
            for call in self._appended:
                call()

    def _missed(self, count: int, why: str) -> None:
        self.not_written += count
        if self._told != why:
            self._told = why
            self._log.error("Events are not written down, and webhooks will not have them: {why}", why=why)

    def _say_lost(self, lost: Mapping[str, int]) -> None:
        for reader, count in lost.items():
            before = self.lost.get(reader, 0)
            # Once when it begins, and then each time as many are lost again.
            if count > before and before.bit_length() != count.bit_length():
                self._log.warn(
                    "The webhook {reader} has lost {count} events so far: more than {maximum} wait.",
                    reader=reader,
                    count=count,
                    maximum=self._maximum,
                )

    async def _run(self, work: Callable[[], T]) -> T:
        # A thread cannot be stopped: what waits for it may be, and the next one still has to wait for its end.
        turn: Deferred[T] = self._turn.run(self._workers.run, work)
        return await shield(turn)

    # In a thread, one at a time.

    def _open(self) -> tuple[int, dict[str, int]]:
        self._connection = connection = sqlite3.connect(
            self._path or ":memory:", check_same_thread=False, isolation_level=None
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(_SCHEMA)
        (last,) = connection.execute("SELECT coalesce(max(number), 0) FROM events").fetchone()
        known = dict(connection.execute("SELECT reader, number FROM positions").fetchall())
        for reader in known.keys() - set(self._readers):
            connection.execute("DELETE FROM positions WHERE reader = ?", (reader,))
        for reader in self._readers:
            connection.execute("INSERT OR IGNORE INTO positions VALUES (?, ?, 0)", (reader, last))
        return max([last, *known.values()]), self._losses()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def _database(self) -> sqlite3.Connection:
        if self._connection is None:
            raise sqlite3.ProgrammingError("it is closed")
        return self._connection

    def _losses(self) -> dict[str, int]:
        return dict(self._database.execute("SELECT reader, lost FROM positions").fetchall())

    def _insert(self, events: Sequence[LoggedEvent]) -> dict[str, int]:
        database = self._database
        database.execute("BEGIN")
        try:
            rows = [(each.number, each.action, each.media_type, each.repository, each.document) for each in events]
            database.executemany("INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?, ?)", rows)
            oldest = "SELECT number FROM events ORDER BY number DESC LIMIT 1 OFFSET ?"
            found = database.execute(oldest, (self._maximum,)).fetchone()
            if found is not None:
                (cut,) = found
                database.execute(
                    "UPDATE positions SET lost = lost + (SELECT count(*) FROM events"
                    " WHERE events.number > positions.number AND events.number <= ?1),"
                    " number = max(number, ?1)",
                    (cut,),
                )
                database.execute("DELETE FROM events WHERE number <= ?", (cut,))
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise
        return self._losses() if found is not None else self.lost

    def _after(self, number: int, most: int) -> list[LoggedEvent]:
        columns = "number, action, media_type, repository, document"
        query = f"SELECT {columns} FROM events WHERE number > ? ORDER BY number LIMIT ?"
        return [LoggedEvent(*row) for row in self._database.execute(query, (number, most))]

    def _oldest(self) -> float:
        (number,) = self._database.execute("SELECT min(number) FROM events").fetchone()
        return float("inf") if number is None else int(number)

    def _position(self, reader: str) -> int:
        (number,) = self._database.execute("SELECT number FROM positions WHERE reader = ?", (reader,)).fetchone()
        return int(number)

    def _move(self, reader: str, number: int) -> None:
        self._database.execute("UPDATE positions SET number = max(number, ?) WHERE reader = ?", (number, reader))

    def _behind(self) -> dict[str, int]:
        query = "SELECT reader, (SELECT count(*) FROM events WHERE events.number > positions.number) FROM positions"
        return dict(self._database.execute(query).fetchall())
