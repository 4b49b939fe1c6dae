"""Work that goes on to its end though nobody waits for it any more."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


def shield(
    work: "Deferred[T] | Coroutine[Any, Any, T]", dropped: Callable[[Failure], object] | None = None
) -> "Deferred[T]":
    """Wait for work without passing a cancellation on to it.

    Cancelled, the caller goes on at once and the work goes on by itself; its result is then dropped, and so is a
    failure once ``dropped`` has been told of it.
    """
    inner = work if isinstance(work, Deferred) else Deferred.fromCoroutine(work)
    if inner.called and not inner.paused:
        return inner  # done already: there is nothing to cancel
    outer: Deferred[T] = Deferred()

    def ended(result: T | Failure) -> None:
        if outer.called:
            if isinstance(result, Failure) and dropped is not None:
                dropped(result)
            return
        if isinstance(result, Failure):
            outer.errback(result)
        else:
            outer.callback(result)

    inner.addBoth(ended)
    return outer
