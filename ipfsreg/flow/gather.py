"""Doing several things at once, but not too many: a remote storage takes as long for one question as for a few."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

from twisted.internet.defer import Deferred, DeferredLock, FirstError, gatherResults

A = TypeVar("A")
T = TypeVar("T")

LIMIT = 16
"""How many calls are under way at a time, unless the caller says otherwise."""


async def gather(work: Callable[[A], Awaitable[T]], arguments: Iterable[A], limit: int = LIMIT) -> list[T]:
    """Call ``work`` for each argument, at most ``limit`` at a time; answers the results in the order of the arguments.

    Fails as the first call that fails, with its own exception: what has not begun then never begins, and what is
    under way goes on unobserved. Cancelled, it cancels what is under way.
    """
    waiting = list(enumerate(arguments))
    if len(waiting) == 1:
        return [await work(waiting[0][1])]
    waiting.reverse()
    results: dict[int, T] = {}

    async def run() -> None:
        while waiting:
            position, argument = waiting.pop()
            try:
                results[position] = await work(argument)
            except BaseException:
                waiting.clear()
                raise

    runs = [Deferred.fromCoroutine(run()) for _ in range(min(limit, len(waiting)))]
    try:
        await gatherResults(runs, consumeErrors=True)
    except FirstError as error:
        error.subFailure.raiseException()
    return [results[position] for position in range(len(results))]


async def for_each(work: Callable[[A], Awaitable[object]], arguments: AsyncIterator[A], limit: int = LIMIT) -> None:
    """Call ``work`` for each argument as it comes, at most ``limit`` at a time; no argument is taken before its turn.

    Fails as the first call that fails, or as the iterator does; what is under way is then cancelled, as where it is
    cancelled itself.
    """
    turn = DeferredLock()
    ended = False

    async def following() -> A | None:
        nonlocal ended
        await turn.acquire()
        try:
            if not ended:
                return await anext(arguments)
        except StopAsyncIteration:
            ended = True
        finally:
            turn.release()
        return None

    async def run() -> None:
        while (argument := await following()) is not None:
            await work(argument)

    runs = [Deferred.fromCoroutine(run()) for _ in range(limit)]
    try:
        await gatherResults(runs, consumeErrors=True)
    except FirstError as error:
        error.subFailure.raiseException()
    finally:
        ended = True
        for each in runs:
            each.cancel()


def batches(things: Iterable[A], size: int) -> Iterator[list[A]]:
    """Things in lists of ``size``, the last one shorter: there may be a million of them."""
    left = iter(things)
    while some := list(islice(left, size)):
        yield some


async def batches_async(things: AsyncIterator[A], size: int) -> AsyncGenerator[list[A], None]:
    """As `batches`."""
    some: list[A] = []
    async for each in things:
        some.append(each)
        if len(some) == size:
            yield some
            some = []
    if some:
        yield some
