"""Coroutines that are run at once as far as they come."""

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")


def begin(work: Coroutine[Any, Any, T]) -> "T | Deferred[T]":
    """Run a coroutine; its result, or its exception, at once where it has to wait for nothing.

    Else a Deferred for its result. A Deferred for each call costs more than many a call itself.
    """
    try:
        work.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    # It waits for a Deferred, which says so again when the coroutine is resumed with nothing.
    return Deferred.fromCoroutine(work)
