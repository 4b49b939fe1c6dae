"""Members of a team, each with a daemon of his own on one storage."""

from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock

from ipfsreg.bucket.team.seen import SeenFile
from ipfsreg.bucket.team.team import Own, Team
from ipfsreg.encryption.documents import Role
from ipfsreg.encryption.member_key import MemberKey
from ipfsreg.flow.workers import Workers
from tests.bucket.encrypted.keys import secret
from tests.bucket.running import reactor

from .memory import MemoryBucket

P = ParamSpec("P")
T = TypeVar("T")


class AtOnce(Workers):
    """Threads that do their work before they are asked: nothing of a test waits."""

    def __init__(self) -> None:
        super().__init__(None, 1)

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Deferred[T]":
        return execute(function, *args, **kwargs)


class Hurried(Clock):
    """A clock on which every pause is over at once, and has passed all the same."""

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> DelayedCall:
        self.rightNow += delay
        found: DelayedCall = reactor.callLater(0, callable, *args, **kw)
        return found


def key_of(name: str) -> MemberKey:
    """The key of somebody, always the same."""
    return MemberKey(secret(name))


class Person:
    """Somebody's daemon: `begin` starts it anew, with what an earlier one noted."""

    def __init__(self, name: str, storage: MemoryBucket, directory: Path, workers: Workers) -> None:
        self.name = name
        self.key = key_of(name)
        self.public = self.key.public
        self.storage = storage
        self.seen = directory / f"{name}.json"
        self.workers = workers
        self.owner: bytes | None = None
        self.begin()

    def begin(self) -> Team:
        own = Own(lambda: self.key, SeenFile(self.seen), "layout-version", self.owner)
        self.team = Team(self.storage, own, self.workers)
        return self.team

    async def adds(self, other: "Person", role: Role) -> None:
        await self.team.add(other.public, other.name, role)
        await other.team.refresh()

    def reads(self, other: "Person") -> bool:
        """Whether one has the key of what the other one writes now."""
        return other.team.current().generation in self.team.current().content_keys

    def believes(self, other: "Person") -> bool:
        """Whether what the other one signs now counts here."""
        return self.team.current().may_have_written(other.public, self.team.current().generation)

    @property
    def writes(self) -> bool:
        return self.team.current().can_write
