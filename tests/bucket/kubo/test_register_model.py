"""The register and the commits of a bucket on a simulated node, with daemons to which all happens in every order.

What is checked all the time: a change that was acknowledged is in the state that counts, and in what every daemon
reads from then on, unless it was replaced; the state that counts is whole. At the end, with all faults gone: everybody
can make a change again, at once or soon; one state is pinned, and one marker names it.

Where calls are late, that is where the node does them after the daemon has given them up, a state or a block that was
to protect one may stay pinned that does not count; until somebody has put up a marker again, such a state may be read.
The daemons' clocks may differ by less than half of what a marker is waited for, `STALE_TIMEOUTS`; else a state that
came late could be taken for a newer one after a crash.
"""

import random
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from ipfsreg.bucket.errors import Unavailable
from ipfsreg.bucket.kubo.state.commit import Commit, Phase
from tests.clients.programs import thorough
from tests.full import FULL, examples

from .simulated_daemon import Daemon
from .simulated_node import TIMEOUT, Call
from .simulation import AT_ONCE, STUCK, Faults, Simulation

MUTATIONS = ["pin/rm", "block/put", "pin/update", "pin/add, direct"]
"""The calls of a change, in their order."""

FAULTS = [
    Faults(late=0, kill=False, kill_node=False),
    Faults(late=0),
    Faults(late=0, collect=False, forget=True),
    Faults(kill=False, kill_node=False),
    Faults(),
    Faults(late=1.5 * TIMEOUT, skew=0.4 * TIMEOUT, forget=True),
    Faults(late=0, coarse=3600.0),
]


def go(choose: Callable[[int], int], daemons: int, faults: Faults, *, online: bool, steps: int) -> None:
    """Run one simulation to its end."""
    simulation = Simulation(choose, daemons, faults, online=online)
    with simulation.running():
        try:
            simulation.run(steps)
            simulation.end()
        except AssertionError as error:
            error.add_note("\n".join(simulation.story[-60:]))
            raise


def first(_: int) -> int:
    return 0


@settings(max_examples=examples(20, 150), derandomize=True)
@given(
    st.binary(min_size=100, max_size=600),
    st.integers(1, 4),
    st.sampled_from(FAULTS),
    st.booleans(),
    st.integers(20, 250),
)
def test_any_order(choices: bytes, daemons: int, faults: Faults, online: bool, steps: int) -> None:
    left: Iterator[int] = iter(choices)
    go(lambda count: next(left, 0) % count, daemons, faults, online=online, steps=steps)


@pytest.mark.parametrize("faults", FAULTS)
def test_many_orders(faults: Faults) -> None:
    orders(faults, range(examples(4, 8)))


@thorough
@pytest.mark.parametrize("faults", FAULTS)
def test_many_more_orders(faults: Faults) -> None:
    orders(faults, range(100, 220))


def orders(faults: Faults, seeds: range) -> None:
    for seed in seeds:
        numbers = random.Random(seed)
        try:
            go(numbers.randrange, 1 + seed % 4, faults, online=seed % 3 == 0, steps=300)
        except AssertionError as error:
            error.add_note(f"seed {seed}")
            raise


def two_daemons() -> Simulation:
    return Simulation(first, 2, Faults())


def call_of(simulation: Simulation, daemon: Daemon, what: str) -> Call:
    """The next call of a kind that a daemon makes."""
    for _ in range(1000):
        for call in simulation.node.calls:
            if call.what == what and daemon.owns(call):
                return call
        simulation.step()
    raise AssertionError(f"daemon {daemon.name} makes no {what}")


@pytest.mark.parametrize("collect", [False, True])
@pytest.mark.parametrize("command", MUTATIONS)
@pytest.mark.parametrize("daemons", [1, 2])
def test_one_call_is_late(command: str, daemons: int, collect: bool) -> None:
    """However many steps later it is done: with a collection after it, nothing acknowledged is lost."""
    for steps in range(0, 36, (1 if daemons == 1 else 3) if FULL else (5 if daemons == 1 else 11)):
        simulation = Simulation(first, daemons, Faults())
        with simulation.running():
            for daemon in simulation.daemons:
                assert simulation.until_stored(daemon) < STUCK
            one, other = simulation.daemons[0], simulation.daemons[-1]
            other.spawn(other.read())
            simulation.settle()
            one.spawn(one.store("lost"))
            late = call_of(simulation, one, command)
            simulation.lose(late)
            one.spawn(one.store("one"))
            other.spawn(other.store("other"))
            for _ in range(steps):
                simulation.step()
            while not late.ended:
                late.step()
            if collect:
                simulation.collect()
            for _ in range(2):
                assert simulation.until_stored(other) < STUCK
                assert simulation.until_stored(one) < STUCK
            simulation.end()


def test_a_state_that_is_pinned_late_without_its_blocks_does_not_count() -> None:
    simulation = Simulation(first, 1, Faults())
    with simulation.running():
        (one,) = simulation.daemons
        simulation.until_stored(one)
        one.commits.caution.begin()  # as after blocks were lost
        one.spawn(one.store("d/b"))
        above = call_of(simulation, one, "block/put, pinned")
        while above in simulation.node.calls:
            simulation.step()
        late = call_of(simulation, one, "block/put, pinned")
        simulation.lose(late)
        simulation.settle()
        simulation.collect()
        simulation.settle()
        while not late.ended:
            late.step()
        assert simulation.until_stored(one) < AT_ONCE
        simulation.collect()
        simulation.settle()
        simulation.end()


def test_who_waits_for_its_turn_reads_what_counts() -> None:
    """Not what it knows from before: another daemon has replaced that."""
    simulation = two_daemons()
    with simulation.running():
        one, other = simulation.daemons
        for daemon in simulation.daemons:
            simulation.until_stored(daemon)
        one.spawn(one.store("a"))
        waiting = call_of(simulation, one, "pin/rm")
        simulation.node.calls.remove(waiting)  # it is on its way for long
        simulation.until_stored(other)
        one.spawn(one.read())
        for _ in range(30):
            simulation.step()
        simulation.node.calls.append(waiting)
        simulation.end()


@pytest.mark.parametrize("command", ["pin/update", "block/put, pinned"])
@pytest.mark.parametrize("coarse", [0.001, 3600.0])
def test_of_two_leases_of_one_state_one_daemon_replaces_it(coarse: float, command: str) -> None:
    """A marker that came late lets a second one replace it; with a coarse clock both number theirs alike."""
    simulation = Simulation(first, 2, Faults(coarse=coarse))
    with simulation.running():
        one, other = simulation.daemons
        for daemon in simulation.daemons:
            simulation.until_stored(daemon)
        one.spawn(one.store("a"))
        late = call_of(simulation, one, "pin/add, direct")
        simulation.lose(late)

        async def store() -> None:  # which others wait for until the lease of the first one has certainly ended
            while not await other.store("d/b"):
                await deferLater(simulation.clock, 0.1, lambda: None)

        if command != "pin/update":
            other.commits.caution.begin()  # as after blocks were lost
        other.spawn(store())
        waiting = call_of(simulation, other, command)  # it has the lease, by a marker that was put up anew
        simulation.node.calls.remove(waiting)
        while not late.ended:
            late.step()
        assert simulation.until_stored(one) < AT_ONCE
        simulation.node.calls.append(waiting)
        simulation.settle()
        simulation.check("after the second one")
        simulation.end()


def test_a_marker_that_came_late_is_read_by_nobody() -> None:
    simulation = two_daemons()
    with simulation.running():
        one, other = simulation.daemons
        for daemon in (one, other):
            simulation.until_stored(daemon)
        counting = [text for text in simulation.markers() if not text.startswith("daemon ")]
        # The other one knows this state, and asks nobody about it while it is idle.
        (known,) = [cid for cid in simulation.node.direct if counting[0] in simulation.marker(cid)]
        simulation.until_stored(one)
        simulation.node.direct[known] = None
        other.spawn(other.read())
        simulation.settle()
        assert simulation.until_stored(other) < STUCK
        simulation.end()


def test_a_state_that_somebody_unpinned_is_stored_again() -> None:
    simulation = two_daemons()
    with simulation.running():
        one, other = simulation.daemons
        simulation.until_stored(one)
        simulation.node.recursive.clear()
        assert simulation.until_stored(one) < STUCK
        assert simulation.until_stored(other) < STUCK
        simulation.end()


def test_a_commit_goes_through_its_phases_once() -> None:
    simulation = Simulation(first, 1, Faults())
    with simulation.running():
        (one,) = simulation.daemons
        assert simulation.until_stored(one) < AT_ONCE
        register, away = one.commits.register, Unavailable("away")
        unused: Any = None
        commit = Commit([], unused, register, unused, one.commits.caution, unused)
        with mock.patch.object(register, "take", side_effect=away):
            failed = Deferred.fromCoroutine(commit.run()).addErrback(lambda failure: failure.value)
            assert failed.result is away
        again = Deferred.fromCoroutine(commit.run()).addErrback(lambda failure: failure.value)
        assert isinstance(again.result, RuntimeError)
        assert commit.phase is Phase.FAILED
