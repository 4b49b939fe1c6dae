"""Work that many may ask for at once and that is done once for all of them."""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Callers that ask while the work is under way share its outcome, a failure too.

    A queue of callers who each try again would wait for a dead server one after the other.
    """

    def __init__(self, work: Callable[[], Awaitable[T]]) -> None:
        self._work = work
        self._waiting: list[Deferred[T]] | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether the work is being done."""
        return self._waiting is not None

    def outcome(self) -> "Deferred[T]":
        """The work's result or exception. To cancel it is to give up waiting; the work goes on."""
        done: Deferred[T] = Deferred(self._gave_up)
        if self._waiting is not None:
            self._waiting.append(done)
            return done
        self._waiting = [done]
        Deferred.fromCoroutine(self._run()).addBoth(self._ended)
        return done

    async def _run(self) -> T:
        return await self._work()

    def _ended(self, result: T | Failure) -> None:
        waiting, self._waiting = self._waiting, None
        for each in waiting or ():
            if isinstance(result, Failure):
                each.errback(result)
            else:
                each.callback(result)

    def _gave_up(self, done: "Deferred[T]") -> None:
        if self._waiting is not None and done in self._waiting:
            self._waiting.remove(done)


class FreshFlight(Generic[T]):
    """As `SingleFlight`, but work that was begun before somebody asked is not done for them.

    All who ask in one turn of the reactor share one outcome.
    """

    def __init__(self, work: Callable[[], Awaitable[T]], clock: IReactorTime) -> None:
        self._work = work
        self._clock = clock
        self._flight = SingleFlight(self._next)
        self._begun = False

    async def outcome(self) -> T:
        """The work's result or exception."""
        while self._begun:
            await self._flight.outcome().addCallbacks(_pass_over, _pass_over)
        return await self._flight.outcome()

    async def _next(self) -> T:
        await deferLater(self._clock, 0, lambda: None)
        self._begun = True
        try:
            return await self._work()
        finally:
            self._begun = False


def _pass_over(outcome: object) -> None:
    """Not one that counts. :raises CancelledError: where it is not waited for any more."""
    if isinstance(outcome, Failure) and outcome.check(CancelledError):
        outcome.raiseException()
