"""Threads: everything that they are given is done, and heard of in the reactor."""

import threading
import weakref
from collections.abc import Iterator
from random import Random
from time import sleep

import pytest
import pytest_twisted
from twisted.internet import reactor

from ipfsreg.flow.gather import gather
from ipfsreg.flow.workers import Workers


@pytest.fixture
def workers() -> Iterator[Workers]:
    made = Workers(reactor, 3)
    made.startService()
    yield made
    if made.running:
        made.stopService()


@pytest_twisted.ensureDeferred
async def test_results_and_exceptions(workers: Workers) -> None:
    here = threading.get_ident()

    def work(a: int, *, b: int) -> tuple[int, bool]:
        return a + b, threading.get_ident() == here

    assert await workers.run(work, 1, b=2) == (3, False)
    with pytest.raises(ZeroDivisionError):
        await workers.run(lambda: 1 // 0)
    assert threading.get_ident() == here


@pytest_twisted.ensureDeferred
async def test_nothing_is_lost_and_threads_are_bounded(workers: Workers) -> None:
    random, seen = Random(1), set()

    def work(number: int) -> int:
        seen.add(threading.get_ident())
        if number % 50 == 0:
            sleep(random.random() / 100)
        return number

    assert await gather(lambda number: workers.run(work, number), range(3000), 100) == list(range(3000))
    assert len(seen) <= 3


@pytest_twisted.ensureDeferred
async def test_they_come_with_the_work(workers: Workers) -> None:
    before = threading.active_count()
    for _ in range(20):
        await workers.run(sleep, 0)
    assert threading.active_count() == before + 1


class Piece:
    def use(self) -> None:
        pass

    def fail(self) -> None:
        raise OSError


@pytest_twisted.ensureDeferred
async def test_what_they_were_given_is_not_kept(workers: Workers) -> None:
    def give(name: str) -> "weakref.ref[Piece]":
        piece = Piece()
        workers.run(getattr(piece, name)).addErrback(lambda failure: None)
        return weakref.ref(piece)

    for each in [give("use"), give("fail")]:
        await workers.run(sleep, 0)
        await workers.run(sleep, 0)
        assert each() is None


@pytest_twisted.ensureDeferred
async def test_they_end_when_all_is_done() -> None:
    workers = Workers(reactor, 2)
    done: list[int] = []
    before = set(threading.enumerate())

    def work(number: int) -> None:
        sleep(0.01)
        done.append(number)

    first = workers.run(work, 0)  # given before the start
    workers.startService()
    others = [workers.run(work, number) for number in range(1, 9)]
    workers.stopService()
    assert set(threading.enumerate()) <= before
    assert len(done) == 9
    await first
    for each in others:
        await each
