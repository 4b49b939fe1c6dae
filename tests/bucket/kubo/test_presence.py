"""A daemon collects garbage by itself only while no other one is there, whatever the order of what they do."""

import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from ipfsreg.bucket.errors import Unavailable
from ipfsreg.bucket.kubo.state.notes import Notes
from ipfsreg.bucket.kubo.state.presence import CERTAIN_SECONDS, COLLECTING_SECONDS, LAPSE_SECONDS, Clocks, Presence

from .backend import Backend, unique_folder
from .node import KuboNode
from .state import markers
from .test_mishaps import put_marker


class World:
    """Markers, a blob, and perhaps a manifest that needs it. Each access is a step, which `go` lets happen."""

    def __init__(self) -> None:
        self.texts: set[str] = set()
        self.blob, self.manifest = True, False
        self.clock = Clock()
        self.clock.advance(1_000_000.0)
        self._waiting: dict[str, Deferred[None]] = {}

    def presence(self, owner: str) -> Presence:
        clocks = Clocks(self.clock, self.clock.seconds, self.clock.seconds)
        notes = type("FakeNotes", (), {"owner": owner})()
        return Presence(_Markers(self, owner), cast(Notes, notes), clocks)

    def step(self, owner: str) -> "Deferred[None]":
        self._waiting[owner] = Deferred()
        return self._waiting[owner]

    def run(self, order: list[int], **programs: Coroutine[Any, Any, None]) -> list[int]:
        """Run programs, in each step the one that ``order`` says; answers how many there were to choose from."""
        choices: list[int] = []
        done = {owner: Deferred.fromCoroutine(program) for owner, program in programs.items()}
        while self._waiting:
            ready = sorted(self._waiting)
            number = order[len(choices)] if len(choices) < len(order) else 0
            choices.append(len(ready))
            self._waiting.pop(ready[number]).callback(None)
        for each in done.values():
            assert each.called
            failures: list[Any] = []
            each.addErrback(failures.append)
            assert not failures, failures
        return choices


class _Markers:
    def __init__(self, world: World, owner: str) -> None:
        self._world = world
        self._owner = owner

    async def add(self, text: str) -> None:
        await self._world.step(self._owner)
        self._world.texts.add(text)

    async def take(self, text: str) -> bool:
        await self._world.step(self._owner)
        there = text in self._world.texts
        self._world.texts.discard(text)
        return there

    async def has(self, text: str) -> bool:
        await self._world.step(self._owner)
        return text in self._world.texts

    async def all(self) -> set[str]:
        await self._world.step(self._owner)
        return set(self._world.texts)


async def collect(world: World, presence: Presence, removed: list[bool]) -> None:
    """What a collecting daemon does: nothing needs the blob as far as it sees."""
    try:
        if not await presence.begin_collecting(0.0):
            return
    except Unavailable:
        return
    await world.step("a")
    needed = world.manifest
    if presence.may_collect and not needed:
        await world.step("a")
        world.blob = False
        removed.append(True)
    await presence.end_collecting()


async def push(world: World, presence: Presence) -> None:
    """What another one does: it starts, is asked for the manifest, looks for its blob, and commits."""
    with suppress(Unavailable):
        await presence.join()
    for _ in range(2):
        await world.step("b")
        if not world.blob:
            return
        try:
            await presence.check_joined()
        except Unavailable:
            continue
        await world.step("b")
        world.manifest = True
        return


def every_order(run: Callable[[list[int]], list[int]]) -> int:
    """Run something in every order that there is; answers how many there were."""
    order: list[int] = []
    count = 0
    while True:
        choices = run(order)
        count += 1
        order += [0] * (len(choices) - len(order))
        while order and order[-1] + 1 >= choices[len(order) - 1]:
            order.pop()
        if not order:
            return count
        order[-1] += 1


@pytest.mark.parametrize("lapsed", [False, True])
def test_nothing_that_another_daemon_relies_on_is_collected_in_any_order(lapsed: bool) -> None:
    removed: list[bool] = []
    pushed = []

    def once(order: list[int]) -> list[int]:
        world = World()
        first, second = world.presence("a"), world.presence("b")
        if lapsed:  # the second one was there long ago, and its machine has slept since
            world.run([], b=second.join())
            world.texts.clear()
            world.clock.advance(LAPSE_SECONDS + 1)
            second_program = push_on(world, second)
        else:
            second_program = push(world, second)
        choices = world.run(order, a=collect(world, first, removed), b=second_program)
        assert world.blob or not world.manifest
        pushed.append(world.manifest)
        return choices

    assert every_order(once) > 100
    assert removed
    assert True in pushed


async def push_on(world: World, presence: Presence) -> None:
    """As `push`, of a daemon that was there before."""
    for _ in range(2):
        await world.step("b")
        if not world.blob:
            return
        try:
            await presence.check_joined()
        except Unavailable:
            continue
        await world.step("b")
        world.manifest = True
        return


def test_who_did_not_look_for_long_does_not_go_on() -> None:
    world = World()
    presence = world.presence("a")
    outcome: list[bool] = []

    async def begin() -> None:
        outcome.append(await presence.begin_collecting(0.0))

    world.run([], a=begin())
    assert outcome == [True]
    assert presence.may_collect
    world.clock.advance(CERTAIN_SECONDS - 1)
    assert presence.may_collect
    world.run([], a=presence.look_while_collecting())
    world.clock.advance(CERTAIN_SECONDS - 1)
    assert presence.may_collect
    world.clock.advance(1)
    assert not presence.may_collect
    world.run([], a=presence.look_while_collecting())
    assert not presence.may_collect  # never again
    world.run([], a=presence.end())
    assert world.texts == set()


def test_others_that_were_there_lately_count() -> None:
    """Their clients may have been told what the collecting daemon does not know of."""
    world = World()
    first, second = world.presence("a"), world.presence("b")
    world.run([], b=second.join())
    world.run([], a=first.join())
    world.run([], a=first.renew())
    world.run([], b=second.end())
    found: list[bool] = []

    async def begin() -> None:
        found.append(await first.begin_collecting(3600.0))

    world.clock.advance(3599.0)
    world.run([], a=begin())
    assert not any(text.startswith("collecting") for text in world.texts)
    world.clock.advance(1.0)
    world.run([], a=begin())
    assert found == [False, True]


@pytest_twisted.ensureDeferred
async def test_on_a_node(node: KuboNode, tmp_path: Path) -> None:
    folder = unique_folder()
    first = await Backend(node.url, tmp_path / "first", path=folder).start()
    exclusion = first.opened.exclusion
    assert exclusion is not None
    await first.bucket.put("a", b"1")
    assert await exclusion.begin(0.0)
    assert exclusion.holds
    assert [text.split()[0] for text in markers(node, folder)][1:] == ["collecting", "daemon"]
    await exclusion.look()
    assert exclusion.holds
    second = await Backend(node.url, tmp_path / "second", path=folder).start()
    assert await second.bucket.get("a", 1) == b"1"
    with pytest.raises(Unavailable, match="another daemon collects garbage"):
        await second.bucket.put("b", b"2")
    await exclusion.look()
    assert not exclusion.holds
    await exclusion.end()
    with pytest.raises(Unavailable, match="has just joined"):
        await second.bucket.put("b", b"2")
    await second.bucket.put("b", b"2")
    assert not await exclusion.begin(0.0)
    await second.stop()
    assert not await exclusion.begin(3600.0)
    # What a killed one has left counts for some minutes.
    put_marker(node, folder, f"collecting 0123 {int(time.time() - COLLECTING_SECONDS - 10)}")
    third = await Backend(node.url, tmp_path / "second", path=folder).start()
    await third.bucket.put("c", b"3")
    assert not any(text.startswith("collecting") for text in markers(node, folder))
    await third.stop()
    assert await exclusion.begin(0.0)
    await exclusion.end()
    await first.stop()
    assert len(markers(node, folder)) == 1
