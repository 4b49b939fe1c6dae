"""Names with passwords: people's from a file, robots' secrets, and tokens of others that came as a password."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import DeferredSemaphore

from ipfsreg.flow.client_network import client_network
from ipfsreg.flow.single_flight import SingleFlight
from ipfsreg.flow.workers import Workers

from .compact import looks_like_token
from .errors import BadCredentials, TooManyAttempts
from .htpasswd import ROBOT, Account, Htpasswd
from .identity import Kind, User
from .issuers import Issuers
from .remembered import Remembered
from .robots import Robots
from .throttling import LoginThrottle
from .watched import WatchedFile

AT_ONCE = 2
"""How many threads compute bcrypt at once: the disk needs the others."""

WAITING_MAX = 64
WAITING_OF_CLIENT_MAX = 8
"""How many passwords wait for that, of all and of one address."""


class Logins:
    """Says who a name and a password are. Any of the files may be missing (None)."""

    def __init__(
        self,
        htpasswd: WatchedFile[Htpasswd] | None,
        robots: WatchedFile[Robots] | None,
        issuers: Issuers | None,
        workers: Workers,
        reactor: Any,
        now: Callable[[], float],
    ) -> None:
        """``reactor`` is the clock of what is remembered and throttled, ``now`` the time of day."""
        self.htpasswd = htpasswd
        self.robots = robots
        self._issuers = issuers
        self._workers = workers
        self._now = now
        self._remembered = Remembered(reactor)
        self._throttle = LoginThrottle(reactor)
        self._threads = DeferredSemaphore(AT_ONCE)
        self._checking: dict[bytes, SingleFlight[User]] = {}
        self._waiting: Counter[str] = Counter()

    def account(self, name: str) -> User | None:
        """The user or robot of that name, as the files say now; None where it is gone or has expired."""
        if name.startswith(ROBOT):
            robot = self.robots and self.robots.value.find(name)
            return robot if robot and not self._has_expired(robot) else None
        account = self.htpasswd and self.htpasswd.value.find(name)
        return User(name, Kind.PASSWORD, stamp=account.stamp) if account else None

    async def check(self, name: str, password: str, address: str) -> tuple[User, bool]:
        """Whom a name and a password are, and whether they had not been seen from there lately.

        :raises BadCredentials: :raises TooManyAttempts: :raises Unavailable:
        """
        client = client_network(address)
        digest = self._remembered.digest(client, name, password)
        user = await self._user(digest, name, password, client)
        is_known = self._remembered.is_right(digest, user.stamp)
        if not is_known:
            self._remembered.remember(digest, user.stamp)
        return user, not is_known

    async def _user(self, digest: bytes, name: str, password: str, client: str) -> User:
        if name.startswith(ROBOT):
            return await self._robot(name, password, client)
        if self._issuers is not None and looks_like_token(password) and self._issuers.named(name):
            return await self._issuers.identify(password, name)
        if self.htpasswd is None:
            self._throttle.begin(client, name)
            raise BadCredentials("there are no passwords")
        account = self.htpasswd.value.find(name)
        if account is not None and self._remembered.is_right(digest, account.stamp):
            self._throttle.check_hammered(client, name)
            return User(name, Kind.PASSWORD, stamp=account.stamp)
        return await self._check_once(self.htpasswd, digest, name, password, client)

    async def _robot(self, name: str, secret: str, client: str) -> User:
        # Nobody guesses 256 bits: a robot with its secret is let in whatever has failed at its address.
        robot = self.robots and self.robots.value.check(name, secret)
        if not robot:
            self._throttle.begin(client, name)
            robot = self.robots and (await self.robots.reload()).check(name, secret)  # it may have been made just now
            if not robot:
                raise BadCredentials(f"a wrong secret for {name[:80]!r}")
            self._throttle.succeeded(client, name)
        if self._has_expired(robot):
            raise BadCredentials(f"{name} has expired")
        return robot

    async def _check_once(
        self, htpasswd: WatchedFile[Htpasswd], digest: bytes, name: str, password: str, client: str
    ) -> User:
        # A client that opens several connections at once asks the same several times.
        flight = self._checking.get(digest)
        if flight is None:
            if self._waiting.total() >= WAITING_MAX or self._waiting[client] >= WAITING_OF_CLIENT_MAX:
                raise TooManyAttempts(1.0)
            self._throttle.begin(client, name)
            work = partial(self._check_password, htpasswd, digest, name, password, client)
            flight = self._checking[digest] = SingleFlight(work)
            self._waiting[client] += 1
        return await flight.outcome()

    async def _check_password(
        self, htpasswd: WatchedFile[Htpasswd], digest: bytes, name: str, password: str, client: str
    ) -> User:
        try:
            known = htpasswd.value
            account = await self._computed(known, name, password)
            # The user, or the password, may have come into the file just now.
            if account is None and (now := await htpasswd.reload()).find(name) != known.find(name):
                account = await self._computed(now, name, password)
        except BaseException:
            self._throttle.withdrawn(client, name)
            raise
        finally:
            del self._checking[digest]
            self._waiting[client] -= 1
            if not self._waiting[client]:
                del self._waiting[client]
        if account is None:
            raise BadCredentials(f"a wrong password for {name[:80]!r}")
        self._throttle.succeeded(client, name)
        return User(name, Kind.PASSWORD, stamp=account.stamp)

    async def _computed(self, users: Htpasswd, name: str, password: str) -> Account | None:
        await self._threads.acquire()
        try:
            return await self._workers.run(users.check, name, password)
        finally:
            self._threads.release()

    def _has_expired(self, user: User) -> bool:
        return user.expires is not None and user.expires <= self._now()
