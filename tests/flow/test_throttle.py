"""Loops of many steps leave the reactor to others, however many of them run."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from ipfsreg.flow.throttle import Throttle, Turns


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
