"""How the bucket is found or made, once, and what happens while the server is away."""

from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.task import Clock

from ipfsreg.bucket.breaker import BROKEN_IN_A_ROW, LONGEST_PAUSE, Breaker
from ipfsreg.bucket.errors import NotFound, Refused, Unavailable, Unreachable
from ipfsreg.bucket.textile import shard
from ipfsreg.flow.single_flight import SingleFlight
from ipfsreg.grpcweb.errors import CallCancelled, ConnectionBroken, DeadlineExceeded, NotConnected
from tests.bucket.contract import together
from tests.bucket.running import listening, pause, running

from .backend import LIMIT, Backend
from .double import Fault, TextileDouble

pytest_plugins = ["tests.bucket.textile.double.fixtures"]


@pytest_twisted.ensureDeferred
async def test_twenty_first_requests_make_one_bucket(textile_hub: TextileDouble, tmp_path: Path) -> None:
    textile_hub.faults.create_seconds = 0.2
    async with running(Backend(textile_hub, tmp_path / "daemon", textile_hub.accounts.add_key())) as backend:
        await together(*(backend.bucket.put(f"d{number}/f", b"") for number in range(20)))
        calls = textile_hub.calls
        assert (len(calls.of("NewDB")), len(calls.of("Create"))) == (1, 1)


@pytest.mark.parametrize("wrong", ["key", "secret"])
@pytest_twisted.ensureDeferred
async def test_nothing_is_made_with_wrong_credentials(wrong: str, textile_hub: TextileDouble, tmp_path: Path) -> None:
    key = textile_hub.accounts.add_key()
    key = replace(key, key="bwrong") if wrong == "key" else replace(key, secret="bmfrgg")
    async with running(Backend(textile_hub, tmp_path / "daemon", key)) as backend:
        for _ in range(3):
            with pytest.raises(Refused):
                await backend.bucket.get("f", LIMIT)
            with pytest.raises(Refused):
                await backend.bucket.put("f", b"")
    assert not {"NewDB", "Create"} & set(textile_hub.calls.methods())
    assert not textile_hub.threads.by_id


@pytest.mark.parametrize("method", ["ListThreads", "List"])
@pytest_twisted.ensureDeferred
async def test_nothing_is_made_while_the_server_does_not_say(
    method: str, textile_hub: TextileDouble, tmp_path: Path
) -> None:
    key = textile_hub.accounts.add_key()
    textile_hub.add_bucket(textile_hub.add_thread(key=key), "ipfsreg")
    refusal = textile_hub.faults.refuse(method, 2, "mongo: connection closed")
    async with running(Backend(textile_hub, tmp_path / "daemon", key)) as backend:
        with pytest.raises(Unavailable):
            await backend.bucket.put("f", b"x")
        textile_hub.faults.remove(refusal)
        await backend.bucket.put("f", b"x")
    assert not {"NewDB", "Create"} & set(textile_hub.calls.methods())
    assert textile_hub.read("ipfsreg", "f") == b"x"


@pytest_twisted.ensureDeferred
async def test_a_bucket_whose_making_got_no_answer_is_not_made_twice(
    textile_hub: TextileDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    textile_hub.faults.add(Fault("Create", after_messages=1))
    async with running(Backend(textile_hub, tmp_path / "daemon", textile_hub.accounts.add_key())) as backend:
        with pytest.raises(Unavailable):
            await backend.bucket.put("f", b"x")
        await backend.bucket.put("f", b"x")
    assert len(textile_hub.buckets.all()) == 1


@pytest.mark.parametrize("is_hub", [True, False])
@pytest_twisted.ensureDeferred
async def test_two_daemons_in_a_thread_that_was_there(
    is_hub: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the thread of the original program. Neither can know that it is the first: both may make a bucket."""
    monkeypatch.setattr(shard, "PATIENCE", 0.1)
    monkeypatch.setattr(shard, "SETTLE", 0.25)
    async with AsyncExitStack() as stack:
        double = await stack.enter_async_context(listening(TextileDouble(hub=is_hub)))
        double.faults.create_seconds = 0.1
        key = double.accounts.add_key() if is_hub else None
        double.add_thread(key=key)
        backends = [Backend(double, tmp_path / str(number), key) for number in range(2)]
        for backend in backends:
            await stack.enter_async_context(running(backend))
        await together(*(each.bucket.put(f"d/{number}", b"x") for number, each in enumerate(backends)))
        for backend in backends:
            assert [entry.name for entry in await backend.bucket.list("d")] == ["0", "1"]


@pytest_twisted.ensureDeferred
async def test_a_bucket_that_is_lost_is_an_outage(textile_hub: TextileDouble, tmp_path: Path) -> None:
    async with running(Backend(textile_hub, tmp_path / "daemon", textile_hub.accounts.add_key())) as backend:
        await backend.bucket.put("d/f", b"x")
        lost = textile_hub.bucket("ipfsreg")
        textile_hub.buckets.remove(lost.key)
        for ask in (
            lambda: backend.bucket.get("d/f", LIMIT),
            lambda: backend.bucket.get("none", LIMIT),
            lambda: backend.bucket.list("d"),
            lambda: backend.bucket.put("d/g", b"x"),
            lambda: backend.bucket.remove("d/f"),
        ):
            with pytest.raises(Unavailable):
                await ask()
        assert textile_hub.buckets.all() == []
        # Here it comes back as another one, as from a backup.
        textile_hub.add_bucket(textile_hub.threads.get(next(iter(textile_hub.threads.by_id))), "ipfsreg")
        textile_hub.put_files("ipfsreg", {"d/f": b"y"})
        assert await backend.bucket.get("d/f", LIMIT) == b"y"
        await together(*(backend.bucket.put(f"d/{number}", b"x") for number in range(10)))
    assert len(textile_hub.buckets.all()) == 1


@pytest_twisted.ensureDeferred
async def test_a_thread_that_is_lost_is_an_outage(textile_buckd: TextileDouble, tmp_path: Path) -> None:
    async with running(Backend(textile_buckd, tmp_path / "daemon")) as backend:
        await backend.bucket.put("d/f", b"x")
        threads = dict(textile_buckd.threads.by_id)
        textile_buckd.threads.by_id.clear()
        with pytest.raises(Unavailable):
            await backend.bucket.get("d/f", LIMIT)
        assert not textile_buckd.threads.by_id
        textile_buckd.threads.by_id.update(threads)
        assert await backend.bucket.get("d/f", LIMIT) == b"x"
        with pytest.raises(NotFound):
            await backend.bucket.get("d/g", LIMIT)


@pytest.mark.real_pauses
@pytest_twisted.ensureDeferred
async def test_a_server_that_is_away_is_not_hammered(textile_hub: TextileDouble, tmp_path: Path) -> None:
    key = textile_hub.accounts.add_key()
    await textile_hub.go_away()
    async with running(Backend(textile_hub, tmp_path / "daemon", key, silence="5s", timeout="5s")) as backend:
        with pytest.raises(Unavailable):
            await backend.bucket.get("f", LIMIT)
        textile_hub.come_back()
        # It listens again, and is still of no use: each connection is reset.
        textile_hub.faults.add(Fault(drop_after_sent=1, reset=True, times=None))
        for _ in range(24):
            with pytest.raises(Unavailable) as caught:
                await backend.bucket.put("f", b"x")
            assert 1 <= caught.value.retry_after <= 10
            await pause(0.025)
        assert len(textile_hub.calls.calls) <= 6
        textile_hub.faults.clear()
        await backend.answers()
        await backend.bucket.put("f", b"x")
    assert textile_hub.read("ipfsreg", "f") == b"x"


@pytest_twisted.ensureDeferred
async def test_it_looks_for_its_bucket_without_being_asked(textile_hub: TextileDouble, tmp_path: Path) -> None:
    key = textile_hub.accounts.add_key()
    await textile_hub.go_away()
    async with running(Backend(textile_hub, tmp_path / "daemon", key)):
        await pause(0.1)
        textile_hub.come_back()
        for _ in range(500):
            if textile_hub.buckets.all():
                break
            await pause(0.02)
        assert textile_hub.bucket("ipfsreg").name == "ipfsreg"


@pytest.mark.real_pauses
def test_the_breaker_asks_with_growing_pauses() -> None:
    clock = Clock()
    breaker = Breaker("it", clock)
    breaker.check()
    breaker.failed(NotConnected("no"))
    asked = 0
    for _ in range(6000):  # a minute
        clock.advance(0.01)
        try:
            breaker.check()
        except Unreachable:
            continue
        asked += 1
        breaker.failed(NotConnected("no"))
    assert 60 / (LONGEST_PAUSE + 1) - 1 <= asked <= 25
    clock.advance(LONGEST_PAUSE + 1)
    breaker.check()
    with pytest.raises(Unreachable):
        breaker.check()  # one question at a time
    breaker.answered()
    for _ in range(10):
        breaker.check()


@pytest.mark.real_pauses
def test_the_breaker_bears_some_broken_calls() -> None:
    clock = Clock()
    breaker = Breaker("it", clock)
    for error in (ConnectionBroken("mid-stream"), DeadlineExceeded(1.0, idle=True)):
        breaker.failed(error)
        breaker.failed(CallCancelled())
        breaker.check()
    breaker.answered()
    for _ in range(BROKEN_IN_A_ROW):
        breaker.check()
        breaker.failed(ConnectionBroken("mid-stream"))
    with pytest.raises(Unreachable):
        breaker.check()
    # Several that were under way fail at once: that is one failure, and no reason for a longer pause.
    for _ in range(50):
        breaker.failed(NotConnected("no"))
    clock.advance(1.0)
    breaker.check()
    # A question that hangs does not keep the next one from being asked.
    clock.advance(LONGEST_PAUSE)
    breaker.check()
    breaker.undecided()
    breaker.check()


@pytest_twisted.ensureDeferred
async def test_shared_work_is_done_once_and_failures_are_shared() -> None:
    done = 0

    async def work() -> int:
        nonlocal done
        done += 1
        await pause(0.01)
        if done == 2:
            raise Unavailable("no")
        return done

    shared = SingleFlight(work)
    given_up = shared.outcome()
    given_up.addErrback(lambda _: None)
    others = [shared.outcome() for _ in range(3)]
    given_up.cancel()
    assert [await each for each in others] == [1, 1, 1]
    for outcome in [shared.outcome() for _ in range(3)]:
        with pytest.raises(Unavailable):
            await outcome
    assert await shared.outcome() == 3
