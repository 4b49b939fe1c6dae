"""Time and threads that go on when a `Scheduler` says so, and who is next."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from ipfsreg.flow.workers import Workers
from tests.bucket.scheduled import Event, Scheduler

P = ParamSpec("P")
T = TypeVar("T")


class ScheduledClock(Clock):
    """Time stands still but for `advance`; who wants to be called at once waits in the scheduler."""

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__()
        self._scheduler = scheduler

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> Any:
        call = super().callLater(delay, callable, *args, **kw)
        if delay == 0:
            self._scheduler.add("pause", lambda: self._call(call))
        return call

    def _call(self, call: Any) -> None:
        if call.active():
            self.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)


class ScheduledWorkers(Workers):
    """No threads: what is given to them happens when the scheduler says so."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Deferred[T]":
        done: Deferred[T] = Deferred()

        def work() -> None:
            maybeDeferred(function, *args, **kwargs).chainDeferred(done)

        self._scheduler.add(f"worker: {function.__name__}", work)
        return done


class Chooser:
    """Who is next: some owners are slow for a while and some stand still, and now and then an event waits for long.

    That is how threads and networks are, and it gives the others time to do what was not expected.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._owners: dict[str, float] = {}
        self._events: dict[Event, float] = {}
        self._left = 0

    def choose(self, pending: Sequence[Event]) -> Event:
        if not self._left:
            self._owners.clear()
            self._left = self._random.choice([3, 10, 40])
        self._left -= 1
        weights = [self._weight(event) for event in pending]
        if not any(weights):
            return self._random.choice(pending)
        return self._random.choices(pending, weights)[0]

    def _weight(self, event: Event) -> float:
        if event.owner not in self._owners:
            self._owners[event.owner] = self._random.choice([0, 1, 1, 20])
        if event not in self._events:
            self._events[event] = self._random.choice([1, 1, 1, 1, 0.01])
        return self._owners[event.owner] * self._events[event]
