"""Work that many may ask for at once and that is done once for all of them."""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
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
