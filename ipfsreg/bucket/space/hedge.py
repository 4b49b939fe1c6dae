"""A second call beside one that does not answer."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

T = TypeVar("T")


async def hedged(clock: IReactorTime, seconds: float, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """The outcome of ``call``, or, where that comes first, of another one that is begun after so many seconds.

    The other call is cancelled.
    """
    outcome: Deferred[Any] = Deferred()
    calls: list[Deferred[T]] = []

    def ended(result: object) -> None:
        if not outcome.called:
            outcome.callback(result)

    def begin() -> None:
        calls.append(Deferred.fromCoroutine(call()))
        calls[-1].addBoth(ended)

    timer = clock.callLater(seconds, begin)
    begin()
    try:
        found: Awaitable[T] = outcome
        return await found
    finally:
        if timer.active():
            timer.cancel()
        for each in calls:
            each.cancel()
