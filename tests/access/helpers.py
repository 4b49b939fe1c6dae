"""What the tests of access control share: a clock, threads that are none, and small files."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from ipfsreg.flow.workers import Workers

T = TypeVar("T")

TODAY = 1_900_000_000.0
PASSWORD = "correct horse"
HASH = "$2y$04$V4Ql9SCGQ/KaTSJwWmnXNeldv8nqzsGhZ8Wg.tp0z2U7htYUXsZFO"
"""bcrypt of `PASSWORD`, at the lowest cost."""


class Threads:
    """Does at once what it is given, or later where a test says so."""

    def __init__(self) -> None:
        self.calls = 0
        self.later: list[Callable[[], object]] | None = None

    def run(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> "Deferred[T]":
        self.calls += 1
        if self.later is None:
            return execute(function, *args, **kwargs)
        done: Deferred[T] = Deferred()
        self.later.append(lambda: execute(function, *args, **kwargs).chainDeferred(done))
        return done

    def finish(self) -> None:
        """Do what waits."""
        waiting, self.later = self.later or [], None
        for each in waiting:
            each()


def as_workers(threads: Threads) -> Workers:
    return cast(Workers, threads)


class Time(Clock):
    """A clock for both: `seconds` only grows, `now` is the time of day."""

    def __init__(self) -> None:
        super().__init__()
        self.day = TODAY

    def now(self) -> float:
        return self.day + self.seconds()


def begun(work: Coroutine[Any, Any, T]) -> "Deferred[T]":
    return Deferred.fromCoroutine(work)


def result(work: "Coroutine[Any, Any, T] | Deferred[T]") -> T:
    """What a coroutine answers that waits for nothing any more, or its exception."""
    outcome: list[T | Failure] = []
    (work if isinstance(work, Deferred) else begun(work)).addBoth(outcome.append)
    assert outcome, "it still waits"
    (found,) = outcome
    if isinstance(found, Failure):
        found.raiseException()
    return found
