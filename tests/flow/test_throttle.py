"""Loops of many steps leave the reactor to others, however many of them run."""

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from ipfsreg.flow.throttle import FILE_COSTS, Throttle, Turns


class Reactor(Clock):
    """Whoever asks within a turn to be called gets the next turn."""

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call.func(*call.args, **call.kw)


def test_loops_take_turns() -> None:
    clock = Reactor()
    turns = Turns(clock)
    done: list[int] = []

    async def loop(number: int) -> None:
        throttle = Throttle(clock, steps=10, turns=turns)
        for _ in range(25):
            await throttle.step()
            done.append(number)

    loops = [Deferred.fromCoroutine(loop(number)) for number in range(64)]
    assert len(done) == 64 * 9
    for turn in range(128):
        before = len(done)
        clock.turn()
        assert 0 < len(done) - before <= 10, turn
    assert all(each.called for each in loops)
    assert not clock.getDelayedCalls()


def test_a_loop_that_is_cancelled_loses_its_turn() -> None:
    clock = Reactor()
    turns = Turns(clock)
    first, second = turns.next(), turns.next()
    first.addErrback(lambda failure: None)
    first.cancel()
    clock.turn()
    assert not second.called
    clock.turn()
    assert second.called


def test_work_takes_a_share_of_the_time() -> None:
    """What lies between two pauses is work; short rests are added up."""
    clock = Clock()
    worked = 0.0

    async def loop() -> None:
        nonlocal worked
        throttle = Throttle(clock, steps=1, share=0.25)
        for _ in range(1000):
            worked += 0.001
            clock.rightNow += 0.001
            await throttle.step()

    running = Deferred.fromCoroutine(loop())
    while not running.called:
        (call,) = clock.getDelayedCalls()
        clock.advance(max(0.0, call.getTime() - clock.seconds()))
    assert worked == pytest.approx(1.0)
    assert clock.seconds() == pytest.approx(4.0, abs=0.01)


def test_short_files_count_as_more_than_they_are() -> None:
    clock = Clock()
    throttle = Throttle(clock, rate=FILE_COSTS)
    reading = Deferred.fromCoroutine(throttle.read([1, 10, 2 * FILE_COSTS]))
    clock.advance(3.9)
    assert not reading.called
    clock.advance(0.1)
    assert reading.called
