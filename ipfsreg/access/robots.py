"""Robot accounts: names with a secret, for machines.

A secret is 256 random bits. So its SHA-256 is all that needs to be stored, and a check costs nothing: bcrypt's slowness
is for what people can remember and others can guess, and this can be guessed by nobody.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from .errors import AccessFileError
from .htpasswd import ROBOT
from .identity import Action, Grant, Kind, User
from .rules import parse_repositories
from .watched import changing, load_file

SECRET_PREFIX = "ipfsreg_"
"""What secrets begin with, so that programs which look for leaked ones know them."""

ROBOTS_MAX = 2000
_NAME = r"[a-z0-9][a-z0-9._-]{0,63}"
NO_ROBOTS = b'{"version": 1, "robots": []}'
"""What a file says that is not there yet."""


def _patterns(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        parse_repositories(value)
    return values


_Time = Annotated[float, Field(ge=0, lt=253402300800)]  # up to the year 9999, for who shows it


class Robot(BaseModel):
    """A robot as the file has it. Times are seconds since 1970; ``expires`` is None for never.

    With repositories and actions it may do that, unless a rule denies it, and nothing else. Without them it may do what
    the rules say, as a user may.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=f"^{_NAME}$")]
    secret_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$", repr=False)]
    repositories: Annotated[tuple[str, ...], Field(max_length=100), AfterValidator(_patterns)] = ()
    actions: tuple[Action, ...] = ()
    created: _Time
    expires: _Time | None = None

    @model_validator(mode="after")
    def _both_or_none(self) -> "Robot":
        if bool(self.repositories) != bool(self.actions):
            raise ValueError("a robot has repositories and actions, or neither")
        return self

    @property
    def user(self) -> User:
        """Who it is to the rules."""
        grants = tuple(
            Grant(frozenset(self.actions), pattern)
            for each in self.repositories
            for pattern in parse_repositories(each)
        )
        stamp = sha256(f"robot\0{self.secret_sha256}\0{self.model_dump_json()}".encode()).hexdigest()[:32]
        return User(ROBOT + self.name, Kind.ROBOT, grants=grants or None, expires=self.expires, stamp=stamp)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    robots: Annotated[list[Robot], Field(max_length=ROBOTS_MAX)]


class Robots:
    """The robots of a file, as the daemon asks them. ``find`` and ``check`` take names with `ROBOT` before them."""

    def __init__(self, robots: list[Robot]) -> None:
        self._robots = {ROBOT + robot.name: (robot.secret_sha256, robot.user) for robot in robots}

    def find(self, name: str) -> User | None:
        """The robot of that name, whether it has expired or not."""
        found = self._robots.get(name)
        return found and found[1]

    def check(self, name: str, secret: str) -> User | None:
        """The robot, where the secret is its own; whether it has expired is for the caller to see."""
        stored, user = self._robots.get(name, ("", None))
        return user if compare_digest(_hash(secret), stored or "0" * 64) else None


def parse_robots(content: bytes) -> Robots:
    """Read a file.

    :raises ValueError: with one line.
    """
    return Robots(_parse(content))


class RobotsFile:
    """The file as commands change it: one at a time, and durably. Blocks."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def all(self) -> list[Robot]:
        """All robots by name.

        :raises AccessFileError: where the file cannot be used.
        """
        return sorted(self._read(), key=lambda robot: robot.name)

    def create(
        self,
        name: str,
        repositories: tuple[str, ...],
        actions: frozenset[Action],
        now: float,
        expires: float | None,
    ) -> str:
        """Make a robot, and answer its secret, which nobody can tell again.

        :raises AccessFileError: where there is one of that name, it cannot be like that, or the disk fails.
        """
        secret = SECRET_PREFIX + secrets.token_urlsafe(32)
        try:
            robot = Robot(
                name=name,
                secret_sha256=_hash(secret),
                repositories=repositories,
                actions=tuple(sorted(actions, key=lambda action: action.value)),
                created=now,
                expires=expires,
            )
        except ValidationError as error:
            raise AccessFileError(_first(error)) from None
        with self._changing() as robots:
            if any(each.name == name for each in robots):
                raise AccessFileError(f"there is a robot {name} already; revoke it first")
            if len(robots) >= ROBOTS_MAX:
                raise AccessFileError(f"there are {ROBOTS_MAX} robots; revoke one first")
            robots.append(robot)
        return secret

    def revoke(self, name: str) -> None:
        """Take a robot away; what it logged in with is worth nothing from the next look at the file.

        :raises AccessFileError: where there is none of that name, or the disk does not let us.
        """
        with self._changing() as robots:
            kept = [robot for robot in robots if robot.name != name]
            if len(kept) == len(robots):
                raise AccessFileError(f"there is no robot {name} in {self._path}")
            robots[:] = kept

    def _read(self) -> list[Robot]:
        return load_file(self._path, _parse, NO_ROBOTS)

    @contextmanager
    def _changing(self) -> Iterator[list[Robot]]:
        with changing(self._path, 0o600) as replace:
            robots = self._read()
            yield robots
            replace(_File(robots=robots).model_dump_json(indent=1).encode())


def _hash(secret: str) -> str:
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _parse(content: bytes) -> list[Robot]:
    try:
        robots = _File.model_validate_json(content).robots
    except ValidationError as error:
        raise ValueError(_first(error)) from None
    names = [robot.name for robot in robots]
    if len(set(names)) < len(names):
        raise ValueError("there are two robots of one name")
    return robots


def _first(error: ValidationError) -> str:
    # Without the value, which may be a hash.
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else first["msg"]
