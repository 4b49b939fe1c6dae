"""Trying something until it works."""

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from ipfsreg.flow.retry import retry


def test_pauses_grow_and_another_failure_ends_it() -> None:
    clock = Clock()
    outcomes: list[Exception | str] = [OSError("one"), OSError("two"), "done"]
    told: list[str] = []

    async def work() -> str:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def begin() -> "Deferred[str]":
        return Deferred.fromCoroutine(retry(clock, work, OSError, lambda error: told.append(str(error)), longest=3.0))

    trying = begin()
    assert told == ["one"]
    clock.advance(0.9)
    assert told == ["one"]
    clock.pump([1.2, 4.0])
    assert told == ["one", "two"]
    assert trying.result == "done"
    assert not clock.getDelayedCalls()

    outcomes[:] = [OSError("three"), KeyError("not this kind")]
    failing = begin()
    clock.advance(4.0)
    failing.addErrback(lambda failure: failure.trap(KeyError))
    assert failing.result is KeyError
    assert told == ["one", "two", "three"]

    outcomes[:] = [OSError("four"), "never"]
    given_up = begin()
    given_up.addErrback(lambda failure: None)
    given_up.cancel()
    clock.advance(10.0)
    assert outcomes == ["never"]


@pytest.mark.parametrize("longest", [1.0, 60.0])
def test_no_pause_is_longer(longest: float) -> None:
    clock = Clock()
    tries = 0

    async def work() -> None:
        nonlocal tries
        tries += 1
        raise OSError

    trying = Deferred.fromCoroutine(retry(clock, work, OSError, lambda error: None, longest))
    for _ in range(40):
        clock.advance(longest + 1.0)  # backoffPolicy adds up to a second at random
    assert tries == 41
    trying.addErrback(lambda failure: None)
    trying.cancel()
