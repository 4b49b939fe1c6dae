"""Work that is done again and again."""

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, formatEvent

from ipfsreg.bucket.errors import BucketError, Unavailable
from ipfsreg.flow.periodic import Periodic


def test_it_is_done_each_time_after_the_last_ended() -> None:
    clock = Clock()
    runs: list[Deferred[None]] = []

    def work() -> Deferred[None]:
        runs.append(Deferred())
        return runs[-1]

    periodic = Periodic(clock, "work", 100.0, work, expected=(BucketError,))
    periodic.startService()
    clock.advance(59)
    assert len(runs) == 0
    clock.advance(1)
    assert len(runs) == 1
    clock.advance(1000)
    assert len(runs) == 1
    runs[0].callback(None)
    clock.advance(99)
    assert len(runs) == 1
    clock.advance(1)
    assert len(runs) == 2
    runs[1].callback(None)
    periodic.stopService()
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize(("seconds", "first"), [(5.0, 5.0), (3600.0, 60.0)])
def test_the_first_time_is_within_a_minute(seconds: float, first: float) -> None:
    clock = Clock()
    runs: list[float] = []

    async def work() -> None:
        runs.append(clock.seconds())

    periodic = Periodic(clock, "work", seconds, work, expected=(BucketError,))
    periodic.startService()
    clock.advance(first)
    clock.advance(seconds)
    periodic.stopService()
    assert runs == [first, first + seconds]


@pytest.mark.parametrize(
    ("error", "line"), [(Unavailable("no disk"), "Could not work: no disk."), (KeyError(), "Could not work")]
)
def test_a_failure_is_logged_and_it_goes_on(error: Exception, line: str, log: list[LogEvent]) -> None:
    clock = Clock()

    async def work() -> None:
        raise error

    periodic = Periodic(clock, "work", 10.0, work, expected=(BucketError,))
    periodic.startService()
    clock.advance(10)
    clock.advance(10)
    periodic.stopService()
    told = [event for event in log if event["log_level"] >= LogLevel.info]
    # An outage is told once; a bug each time, with its traceback.
    assert [line in formatEvent(event) for event in told] == [True] * (2 if isinstance(error, KeyError) else 1)
    assert ["log_failure" in event for event in told] == [isinstance(error, KeyError)] * len(told)


def test_another_failure_and_the_end_of_it_are_logged(log: list[LogEvent]) -> None:
    clock = Clock()
    outcomes: list[str | None] = ["one", "one", "other", None, None, "one"]

    async def work() -> None:
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise Unavailable(outcome)

    periodic = Periodic(clock, "work", 10.0, work, expected=(BucketError,))
    periodic.startService()
    for _ in range(6):
        clock.advance(10)
    periodic.stopService()
    assert [formatEvent(event) for event in log if event["log_level"] >= LogLevel.info] == [
        "Could not work: one. It is tried again.",
        "Could not work: other. It is tried again.",
        "It was possible again to work.",
        "Could not work: one. It is tried again.",
    ]


def test_no_interval_is_so_short_that_nothing_else_runs() -> None:
    clock = Clock()
    runs: list[float] = []

    async def work() -> None:
        runs.append(clock.seconds())

    periodic = Periodic(clock, "work", 0.0, work, expected=(BucketError,))
    periodic.startService()
    clock.advance(0)
    clock.advance(0.5)
    assert len(runs) == 1
    clock.advance(0.5)
    assert len(runs) == 2
    periodic.stopService()


def test_stopping_cancels_what_is_under_way(log: list[LogEvent]) -> None:
    clock = Clock()
    cancelled: list[object] = []
    periodic = Periodic(clock, "work", 10.0, lambda: Deferred(cancelled.append), expected=(BucketError,))
    periodic.startService()
    clock.advance(10)
    periodic.stopService()
    assert len(cancelled) == 1
    assert clock.getDelayedCalls() == []
    assert log == []
