"""Work that is done once for all who ask."""

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from ipfsreg.flow.single_flight import FreshFlight


class Work:
    """Work whose ends a test decides on."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.begun: list[Deferred[int]] = []
        self.flight = FreshFlight(self._begin, self.clock)

    async def _begin(self) -> int:
        self.begun.append(Deferred())
        return await self.begun[-1]

    def ask(self) -> "Deferred[int]":
        return Deferred.fromCoroutine(self.flight.outcome())


def result(asked: "Deferred[int]") -> object:
    """What somebody was told, or None."""
    found: list[object] = []
    asked.addBoth(found.append)
    return found[0] if found else None


def test_all_who_ask_at_a_time_share_one_outcome() -> None:
    work = Work()
    asked = [work.ask() for _ in range(3)]
    assert not work.begun
    work.clock.advance(0)
    assert len(work.begun) == 1
    work.begun[0].callback(7)
    assert [result(each) for each in asked] == [7, 7, 7]


def test_nobody_is_told_of_what_was_begun_before() -> None:
    work = Work()
    first = work.ask()
    work.clock.advance(0)
    later = [work.ask() for _ in range(3)]
    work.begun[0].callback(1)
    assert result(first) == 1
    assert not any(each.called for each in later)
    work.clock.advance(0)
    assert len(work.begun) == 2
    work.begun[1].callback(2)
    assert [result(each) for each in later] == [2, 2, 2]


def test_a_failure_is_of_those_who_asked_before() -> None:
    work = Work()
    first = work.ask()
    work.clock.advance(0)
    later = work.ask()
    work.begun[0].errback(Failure(ValueError("no")))
    failure = result(first)
    assert isinstance(failure, Failure)
    assert failure.check(ValueError)
    work.clock.advance(0)
    work.begun[1].callback(2)
    assert result(later) == 2


def test_who_gives_up_waits_for_no_other() -> None:
    work = Work()
    first = work.ask()
    work.clock.advance(0)
    later = work.ask()
    later.cancel()
    failure = result(later)
    assert isinstance(failure, Failure)
    assert failure.check(CancelledError)
    work.begun[0].callback(1)
    work.clock.advance(0)
    assert result(first) == 1
    assert len(work.begun) == 1
