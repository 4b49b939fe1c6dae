"""Sessions of browsers that have signed in, in a file of the state directory: a restart ends none of them.

The browser has a secret, and the file the secret's hash: nobody can sign in with what is in it.
"""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from ipfsreg.config.small_file import read_small_file
from ipfsreg.flow.durable import write_durably
from ipfsreg.flow.workers import Workers

from .identity import Kind, User

SESSION_SECONDS = 12 * 3600.0
SESSIONS_MAX = 10_000
"""How many there are at once; for one more the oldest ends."""

SESSIONS_OF_USER = 50
"""How many of these one user has; for one more the oldest of these ends, and nobody else's."""

_FILE_MAX = 64 * 1024 * 1024


class _Session(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    hash: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    ends: float
    name: str
    kind: Kind
    groups: tuple[str, ...] = ()
    expires: float | None = None
    stamp: str = Field(default="", repr=False)

    @property
    def user(self) -> User:
        """Whose it is, as far as that does not change: `Authority.renew` says the rest."""
        return User(self.name, self.kind, frozenset(self.groups), expires=self.expires, stamp=self.stamp)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    sessions: list[_Session]


class Sessions:
    """Whose a secret is that a browser was given. ``now`` is the time of day.

    The file is written by the daemon alone. Where that cannot be, sessions end with the daemon.
    """

    _log = Logger()

    def __init__(self, path: Path, workers: Workers, now: Callable[[], float]) -> None:
        self._path = path
        self._workers = workers
        self._now = now
        self._sessions: dict[str, _Session] = {}
        self._turn: DeferredLock = DeferredLock()
        self._unwritten = False

    def load(self) -> None:
        """Read the file, if there is one; blocks."""
        try:
            found = _File.model_validate_json(read_small_file(self._path, _FILE_MAX)).sessions
        except FileNotFoundError:
            return
        except (OSError, ValidationError) as error:
            why = "it is damaged" if isinstance(error, ValidationError) else error.strerror
            self._log.warn("{path} cannot be read: {why}. Everybody signs in again.", path=self._path, why=why)
            return
        latest = self._now() + SESSION_SECONDS  # one that ends later was begun by a wrong clock
        self._sessions = {each.hash: each for each in found[-SESSIONS_MAX:] if each.ends <= latest}
        self._forget_ended()

    async def begin(self, user: User) -> str:
        """A new session of a user; answers its secret when a restart would not end it."""
        secret = secrets.token_urlsafe(32)
        self._forget_ended()
        own = [each.hash for each in self._sessions.values() if (each.name, each.kind) == (user.name, user.kind)]
        if len(own) >= SESSIONS_OF_USER:
            del self._sessions[own[0]]
        if len(self._sessions) >= SESSIONS_MAX:
            del self._sessions[next(iter(self._sessions))]
        session = _Session(
            hash=_hash(secret),
            ends=self._now() + SESSION_SECONDS,
            name=user.name,
            kind=user.kind,
            groups=tuple(sorted(user.groups)),
            expires=user.expires,
            stamp=user.stamp,
        )
        self._sessions[session.hash] = session
        await self._write()
        return secret

    def find(self, secret: str) -> User | None:
        """Whose session it is; None for none, or one that has ended."""
        session = self._sessions.get(_hash(secret))
        return session.user if session is not None and session.ends > self._now() else None

    async def end(self, secret: str) -> None:
        """End a session, if it is one, also for daemons to come."""
        if self._sessions.pop(_hash(secret), None) is not None:
            await self._write()

    def _forget_ended(self) -> None:
        now = self._now()
        for each in [*self._sessions.values()]:
            if each.ends <= now:
                del self._sessions[each.hash]

    def _write(self) -> "Deferred[None]":
        self._unwritten = True
        return self._turn.run(lambda: Deferred.fromCoroutine(self._write_latest()))

    async def _write_latest(self) -> None:
        if not self._unwritten:  # who was first in the queue has written for all
            return
        self._unwritten = False
        try:
            await self._workers.run(_write, self._path, [*self._sessions.values()])
        except OSError as error:
            self._log.warn("{path} cannot be written: {why}. A restart ends sessions.", path=self._path, why=error)


def _write(path: Path, sessions: Sequence[_Session]) -> None:
    write_durably(path, _File(sessions=list(sessions)).model_dump_json().encode())


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
