"""The log of events against a model: a list of all of them, and how far each reader came."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from ipfsreg.registry.events.event import Event, EventAction, Origin, Target
from ipfsreg.registry.events.event_log import PULLS_SECONDS, EventLog
from ipfsreg.registry.events.events import NOTED_SECONDS, Events
from tests.access.helpers import Threads, as_workers, begun, result

KEPT = 5
STEPS = st.lists(st.sampled_from(["push", "pull", "read a", "read b", "restart", "time"]), max_size=40)


def event(number: int, action: EventAction = EventAction.PUSH) -> Event:
    return Event(number, float(number), action, Target("box", tag=str(number)), Origin())


@given(STEPS)
def test_every_event_is_read_once_in_order_or_counted_as_lost(steps: list[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        clock, threads = Clock(), Threads()

        def opened() -> EventLog:
            log = EventLog(Path(directory) / "log", ["a", "b"], KEPT, as_workers(threads), clock)
            assert result(log.open()) == last
            return log

        last = 0
        log = opened()
        read: dict[str, list[int]] = {"a": [], "b": []}
        for step in steps:
            if step in {"push", "pull"}:
                last += 1
                log.append(event(last, EventAction(step)))
            elif step == "restart":
                result(log.close())
                log = opened()
            elif step == "time":
                clock.advance(PULLS_SECONDS)
            else:
                reader = step[-1]
                for each in result(log.after(result(log.position(reader)), 2)):
                    read[reader].append(each.number)
                    result(log.move(reader, each.number))
        result(log.flush())
        for reader, numbers in read.items():
            rest = [each.number for each in result(log.after(result(log.position(reader)), 100))]
            assert numbers + rest == sorted(numbers + rest)
            assert len(set(numbers + rest)) + log.lost[reader] == last
            assert result(log.waiting_for())[reader] == len(rest) <= KEPT
        result(log.close())
        assert not clock.getDelayedCalls()


def test_a_change_waits_for_its_event_and_not_for_ever() -> None:
    clock = Clock()
    events = Events(clock, lambda: 5.0)
    numbers: list[int] = []
    with tempfile.TemporaryDirectory() as directory:
        threads = Threads()
        log = EventLog(Path(directory) / "log", ["a"], KEPT, as_workers(threads), clock)
        result(log.open())
        events.subscribe(log.append)
        events.subscribe(lambda told: numbers.append(told.number))
        events.subscribe(_failing, {EventAction.DELETE})
        threads.later = []
        push = begun(events.changed(EventAction.PUSH, Target("box"), Origin()))
        assert not push.called
        threads.finish()
        assert result(push) is None
        threads.later = []
        push = begun(events.changed(EventAction.PUSH, Target("box"), Origin()))
        clock.advance(NOTED_SECONDS)
        assert result(push) is None  # the disk is still at it
        threads.finish()
        assert len(result(log.after(0, 9))) == 2
        events.pulled(Target("box"), Origin())
        assert threads.later is None
        assert numbers == [5_000_000, 5_000_001, 5_000_002]  # though the clock stands
        result(events.changed(EventAction.DELETE, Target("box"), Origin()))  # a listener that fails is logged
        result(log.close())


def test_who_does_not_listen_any_more_is_not_told() -> None:
    events, told, ended = Events(Clock(), lambda: 0.0), [], []
    stop: Callable[[], None] = events.subscribe(lambda each: told.append(each.number), {EventAction.PULL})
    events.subscribe(lambda each: None, {EventAction.PUSH}, lambda: ended.append(True))
    events.pulled(Target("box"), Origin())
    stop()
    stop()
    assert not events.wants(EventAction.PULL)
    events.pulled(Target("box"), Origin())
    events.end()
    assert (len(told), ended, events.wants(EventAction.PUSH)) == (1, [True], False)


def _failing(told: Event) -> None:
    raise RuntimeError("a listener that fails")
