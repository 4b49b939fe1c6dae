"""Work that goes on to its end though nobody waits for it any more."""

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


def shield(work: "Deferred[T] | Coroutine[Any, Any, T]") -> "Deferred[T]":
    """Wait for work without passing a cancellation on to it.

    Cancelled, the caller goes on at once and the work goes on by itself; what it ends with is then dropped.
    """
    inner = work if isinstance(work, Deferred) else Deferred.fromCoroutine(work)
    if inner.called and not inner.paused:
        return inner  # done already: there is nothing to cancel
    outer: Deferred[T] = Deferred()

    def ended(result: T | Failure) -> None:
        if not outer.called:
            outer.callback(result)

    inner.addBoth(ended)
    return outer
