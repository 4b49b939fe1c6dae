"""Asking a bucket several things at once: a remote one takes as long for one as for many."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, FirstError, gatherResults

A = TypeVar("A")
T = TypeVar("T")

LIMIT = 16
"""How many questions are under way at a time."""


async def at_once(question: Callable[[A], Coroutine[Any, Any, T]], arguments: Sequence[A]) -> list[T]:
    """The answers in the order of the arguments. Fails as the first question that fails."""
    answers: list[T] = []
    for begin in range(0, len(arguments), LIMIT):
        asked = [Deferred.fromCoroutine(question(each)) for each in arguments[begin : begin + LIMIT]]
        try:
            answers += await gatherResults(asked, consumeErrors=True)
        except FirstError as error:
            error.subFailure.raiseException()
    return answers
