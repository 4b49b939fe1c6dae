"""Several things at once, but not too many."""

from collections.abc import AsyncGenerator

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ipfsreg.flow.gather import for_each


def test_arguments_are_taken_one_by_one_as_there_is_room() -> None:
    taken: list[int] = []
    waiting: list[Deferred[None]] = []

    async def numbers() -> AsyncGenerator[int, None]:
        for number in range(5):
            taken.append(number)
            yield number

    async def work(number: int) -> None:
        waiting.append(Deferred())
        await waiting[-1]

    done = Deferred.fromCoroutine(for_each(work, numbers(), 2))
    for number in range(5):
        assert taken == list(range(min(number + 2, 5)))
        waiting[number].callback(None)
    assert done.called


@pytest.mark.parametrize("by_iterator", [True, False])
def test_the_first_failure_ends_all_of_it(by_iterator: bool) -> None:
    waiting: list[Deferred[None]] = []

    async def numbers() -> AsyncGenerator[int, None]:
        yield 1
        yield 2
        if by_iterator:
            raise ZeroDivisionError
        yield 3
        yield 4

    async def work(number: int) -> None:
        waiting.append(Deferred())
        await waiting[-1]

    done = Deferred.fromCoroutine(for_each(work, numbers(), 3))
    if not by_iterator:
        waiting[1].errback(ZeroDivisionError())
    failures: list[BaseException | None] = []

    def note(failure: Failure) -> None:
        failures.append(failure.value)

    done.addErrback(note)
    assert [type(each) for each in failures] == [ZeroDivisionError]
    assert all(each.called for each in waiting)
