"""Pushes: many at once, batches, old servers, and what goes wrong on the way."""

import os
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from ipfsreg.bucket.bulk import put_in_order
from ipfsreg.bucket.errors import BucketError, Corrupt, Full, NotFound, Refused, TooLarge, Unavailable
from ipfsreg.bucket.textile import shard_sender
from tests.bucket.contract import spawn, together
from tests.bucket.running import listening, pause, running
from tests.bucket.storage import Collecting, read_into

from .backend import LIMIT, Backend
from .double import NO_PUSH_PATHS, OLD_WEBSOCKET, Fault, Generation, TextileDouble
from .double.pushing import Pushing

pytest_plugins = ["tests.bucket.textile.double.fixtures"]

BUCKET = "ipfsreg"


async def outcome_of(pushing: "Deferred[None]") -> str:
    try:
        await pushing
    except BucketError as error:
        return next(kind.__name__ for kind in (Full, Refused, Unavailable) if isinstance(error, kind))
    return "stored"


@pytest_twisted.ensureDeferred
async def test_what_waits_goes_in_one_stream(textile_hub: TextileDouble, tmp_path: Path) -> None:
    textile_hub.faults.save_seconds = 0.05
    async with running(Backend(textile_hub, tmp_path / "daemon", textile_hub.accounts.add_key())) as backend:
        contents = {f"d{number % 7}/{number}": os.urandom(1000 * number) for number in range(100)}
        await together(*(backend.bucket.put(path, content) for path, content in contents.items()))
        calls = textile_hub.calls
        assert len(calls.of("PushPath")) + len(calls.of("PushPaths")) <= 3
        assert {path: textile_hub.read(BUCKET, path) for path in contents} == contents


@pytest_twisted.ensureDeferred
async def test_the_same_path_many_times_at_once(textile_hub: TextileDouble, tmp_path: Path) -> None:
    async with running(Backend(textile_hub, tmp_path / "daemon", textile_hub.accounts.add_key())) as backend:
        await together(*(backend.bucket.put("d/f", b"%d" % number) for number in range(10)))
        assert textile_hub.read(BUCKET, "d/f") == b"9"
        assert {record.status for record in textile_hub.calls} == {0}


@pytest.mark.parametrize("generation", [NO_PUSH_PATHS, OLD_WEBSOCKET])
@pytest_twisted.ensureDeferred
async def test_older_servers(generation: Generation, tmp_path: Path) -> None:
    double = TextileDouble(hub=False, generation=generation)
    async with listening(double), running(Backend(double, tmp_path / "daemon")) as backend:
        contents = {f"d/{number}": os.urandom(70_000) for number in range(12)}
        await together(*(backend.bucket.put(path, content) for path, content in contents.items()))
        assert {path: double.read(BUCKET, path) for path in contents} == contents
        refused = [record for record in double.calls.of("PushPaths") if record.status == 12]
        assert len(refused) == (0 if generation.has_push_paths else 1)


@pytest_twisted.ensureDeferred
async def test_one_that_may_not_be_written_does_not_fail_the_others(textile_hub: TextileDouble, tmp_path: Path) -> None:
    async with running(Backend(textile_hub, tmp_path / "daemon", textile_hub.accounts.add_key())) as backend:
        await backend.bucket.put("first", b"")
        textile_hub.faults.refuse("PushPaths", 7, "verifying bucket update: permission denied", times=1)
        textile_hub.faults.add(Fault("PushPath", nth=4, code=2, text="permission denied"))
        outcomes = await together(*(outcome_of(backend.bucket.put(f"d/{number}", b"x")) for number in range(6)))
        # The first went alone, the others together; the fourth after that is the one that is refused.
        assert sorted(outcomes) == ["Refused"] + ["stored"] * 5  # type: ignore[type-var]
        stored = [f"d/{number}" for number, outcome in enumerate(outcomes) if outcome == "stored"]
        assert sorted(textile_hub.files(BUCKET)) == sorted(["first", *stored])


@pytest_twisted.ensureDeferred
async def test_a_source_that_vanishes_does_not_fail_the_others(textile_hub: TextileDouble, tmp_path: Path) -> None:
    async with running(Backend(textile_hub, tmp_path / "daemon", textile_hub.accounts.add_key())) as backend:
        await backend.bucket.put("first", b"")
        textile_hub.faults.save_seconds = 0.1
        source = tmp_path / "source"
        source.write_bytes(b"x")
        first = spawn(backend.bucket.put("d/0", b"x"))
        await pause(0.05)  # its stream is under way: what comes now waits for the next one
        vanishing = spawn(backend.bucket.put_file("d/1", source))
        others = [spawn(backend.bucket.put(f"d/{number}", b"x")) for number in range(2, 6)]
        await pause(0.02)
        source.unlink()
        with pytest.raises(FileNotFoundError):
            await vanishing
        for each in (first, *others):
            await each
        assert sorted(textile_hub.files(BUCKET)) == ["d/0", "d/2", "d/3", "d/4", "d/5", "first"]


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("size", [0, 300_000, 700_000])
@pytest_twisted.ensureDeferred
async def test_a_source_that_was_cut_short_is_not_acknowledged(
    size: int, alone: bool, textile_hub: TextileDouble, tmp_path: Path
) -> None:
    async with running(Backend(textile_hub, tmp_path / "daemon", textile_hub.accounts.add_key())) as backend:
        await backend.bucket.put("first", b"")
        textile_hub.faults.save_seconds = 0.1
        source = tmp_path / "source"
        source.write_bytes(os.urandom(600_000))
        first = spawn(backend.bucket.put("d/0", b"x"))
        await pause(0.05)  # its stream is under way: what comes now waits for the next one
        cut = spawn(backend.bucket.put_file("d/1", source))
        other = None if alone else spawn(backend.bucket.put("d/2", b"x"))
        await pause(0.02)
        os.truncate(source, size)
        with pytest.raises(Corrupt):
            await cut
        await first
        if other is not None:
            await other
        assert source.exists()
        assert "d/1" not in textile_hub.files(BUCKET)


@pytest_twisted.ensureDeferred
async def test_quotas_are_full(textile_hub: TextileDouble, tmp_path: Path) -> None:
    async with running(Backend(textile_hub, tmp_path / "daemon", textile_hub.accounts.add_key())) as backend:
        await backend.bucket.put("d/f", b"x")
        textile_hub.faults.storage_exhausted = True
        outcomes = await together(*(outcome_of(backend.bucket.put(f"d/{number}", b"x")) for number in range(3)))
        assert outcomes == ["Full"] * 3
        textile_hub.faults.storage_exhausted = False
        textile_hub.limits.bucket_size = 10_000
        with pytest.raises(Full):
            await backend.bucket.put("d/large", bytes(20_000))
        textile_hub.faults.egress_exhausted = True
        with pytest.raises(Refused):
            await backend.bucket.get("d/f", LIMIT)
        textile_hub.faults.egress_exhausted = False
        assert await backend.bucket.get("d/f", LIMIT) == b"x"


@pytest.mark.parametrize(
    "fault",
    [
        Fault("PushPath", drop_after_received=100_000, reset=True),
        Fault("PushPath", drop_after_sent=10),
        Fault("PushPath", after_messages=1),
        Fault("PushPath", code=2, text="adding file: context canceled"),
        Fault("PushPath", after_messages=1, code=13, text="unexpected EOF"),
    ],
    ids=repr,
)
@pytest_twisted.ensureDeferred
async def test_a_push_that_breaks_once_is_made_again(fault: Fault, textile_hub: TextileDouble, tmp_path: Path) -> None:
    content = os.urandom(600_000)
    async with running(Backend(textile_hub, tmp_path / "daemon", textile_hub.accounts.add_key())) as backend:
        await backend.bucket.put("first", b"")
        textile_hub.faults.add(fault)
        source = tmp_path / "source"
        source.write_bytes(content)
        await backend.bucket.put_file("d/f", source)
        assert not source.exists()
        assert textile_hub.read(BUCKET, "d/f") == content
        assert len(textile_hub.calls.of("PushPath")) == 3


@pytest_twisted.ensureDeferred
async def test_a_push_that_fails_leaves_the_source(textile_hub: TextileDouble, tmp_path: Path) -> None:
    async with running(Backend(textile_hub, tmp_path / "daemon", textile_hub.accounts.add_key())) as backend:
        await backend.bucket.put("first", b"")
        textile_hub.faults.add(Fault("PushPath", drop_after_received=1000, reset=True, times=2))
        source = tmp_path / "source"
        source.write_bytes(bytes(500_000))
        with pytest.raises(Unavailable):
            await backend.bucket.put_file("d/f", source)
        assert source.read_bytes() == bytes(500_000)
        with pytest.raises(NotFound):
            await backend.bucket.stat("d/f")
        await backend.bucket.put_file("d/f", source)
        assert textile_hub.read(BUCKET, "d/f") == bytes(500_000)


@pytest_twisted.ensureDeferred
async def test_a_batch_whose_answers_are_too_few_is_not_acknowledged(
    textile_hub: TextileDouble, tmp_path: Path
) -> None:
    async with running(Backend(textile_hub, tmp_path / "daemon", textile_hub.accounts.add_key())) as backend:
        await backend.bucket.put("first", b"")
        textile_hub.faults.add(Fault("PushPaths", after_messages=2, code=0))
        await together(*(backend.bucket.put(f"d/{number}", b"x") for number in range(6)))
        # Whatever was saved of it, all were sent again.
        assert len(textile_hub.calls.of("PushPath")) == 2 + 5
        assert len(textile_hub.files(BUCKET)) == 7


@pytest_twisted.ensureDeferred
async def test_what_needs_another_file_goes_in_the_same_stream(textile_hub: TextileDouble, tmp_path: Path) -> None:
    async with running(Backend(textile_hub, tmp_path / "daemon", textile_hub.accounts.add_key())) as backend:
        files = {f"{kind}/{number}": kind.encode() for kind in ("blobs", "links", "tags") for number in range(6)}
        orders = [[(f"{kind}/{number}", kind.encode()) for kind in ("blobs", "links", "tags")] for number in range(6)]
        await together(*(put_in_order(backend.bucket, each) for each in orders))
        assert not textile_hub.calls.of("PushPath")
        assert len(textile_hub.calls.of("PushPaths")) <= 3
        assert {path: textile_hub.read(BUCKET, path) for path in files} == files


@pytest_twisted.ensureDeferred
async def test_what_needs_another_file_is_sent_after_the_answer_about_that(
    textile_hub: TextileDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting: dict[str, int] = {}
    take_in = Pushing._end_file

    async def end_file(double: Pushing, call: Any, draft: Any, path: str, file: Any) -> None:
        await pause(0.1)
        waiting[path] = len(call._messages)  # what came in meanwhile
        await take_in(double, call, draft, path, file)

    async with running(Backend(textile_hub, tmp_path / "daemon", textile_hub.accounts.add_key())) as backend:
        await backend.bucket.put("first", b"")
        monkeypatch.setattr(Pushing, "_end_file", end_file)
        await put_in_order(backend.bucket, [("content", b"c"), ("link", b"l"), ("tag", b"t")])
        assert waiting == {"content": 0, "link": 0, "tag": 0}


@pytest_twisted.ensureDeferred
async def test_a_proxy_that_collects_what_is_sent(
    textile_hub: TextileDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No answer comes before the stream's end, so what needs one goes in the next stream, and soon without a wait."""
    late: list[tuple[Any, ...]] = []
    take_in, take_files = Pushing._end_file, Pushing._take_files

    async def end_file(*arguments: Any) -> None:
        late.append(arguments)

    async def collect(*arguments: Any) -> None:
        await take_files(*arguments)
        while late:
            await take_in(*late.pop(0))

    monkeypatch.setattr(Pushing, "_end_file", end_file)
    monkeypatch.setattr(Pushing, "_take_files", collect)
    async with running(Backend(textile_hub, tmp_path / "daemon", textile_hub.accounts.add_key())) as backend:
        for number, seconds in enumerate((0.3, 600.0)):
            monkeypatch.setattr(shard_sender, "ANSWER_SECONDS", seconds)
            orders = [[(f"{number}/{each}", b"c"), (f"l{number}/{each}", b"l")] for each in "ab"]
            await together(*(put_in_order(backend.bucket, each) for each in orders))
        paths = {f"{directory}/{each}" for directory in ("0", "1", "l0", "l1") for each in "ab"}
        assert set(textile_hub.files(BUCKET)) == paths
        assert {record.status for record in textile_hub.calls} == {0}


@pytest.mark.parametrize("encrypted", [False, True])
@pytest_twisted.ensureDeferred
async def test_what_was_pushed_is_asked_for_all_at_once(
    encrypted: bool, textile_hub: TextileDouble, tmp_path: Path
) -> None:
    key = textile_hub.accounts.add_key()
    mine = Backend(textile_hub, tmp_path / "mine", key, encrypted=encrypted)
    other = Backend(textile_hub, tmp_path / "other", key, encrypted=encrypted)
    async with running(mine), running(other):
        links = {f"links/{number}": b"%d" % number for number in range(8)}
        await put_in_order(mine.bucket, list(links.items()))
        textile_hub.calls.clear()
        found = await together(*(mine.bucket.get(path, LIMIT) for path in links))
        await together(*(mine.bucket.stat(path) for path in links))
        assert found == list(links.values())
        assert [method for method in textile_hub.calls.methods() if method != "ListThreads"] == ["Root"] * 2
        # Another daemon replaces one, and removes one: that is seen at once.
        await other.bucket.put("links/1", b"other")
        await other.bucket.remove("links/2")
        assert await mine.bucket.get("links/1", LIMIT) == b"other"
        for asked in (mine.bucket.get("links/2", LIMIT), mine.bucket.stat("links/2")):
            with pytest.raises(NotFound):
                await asked
        with pytest.raises(TooLarge):
            await mine.bucket.get("links/3", 0)


@pytest_twisted.ensureDeferred
async def test_stopping_fails_what_waits_and_frees_the_lock(textile_hub: TextileDouble, tmp_path: Path) -> None:
    backend = await Backend(textile_hub, tmp_path / "daemon", textile_hub.accounts.add_key()).start()
    await backend.bucket.put("first", b"")
    textile_hub.faults.push_bytes_per_second = 20_000.0
    pushes = [spawn(outcome_of(backend.bucket.put(f"d/{number}", bytes(10_000)))) for number in range(3)]
    await pause(0.1)
    await backend.stop()
    assert [await push for push in pushes] == ["Unavailable"] * 3
    assert await outcome_of(backend.bucket.put("d/late", b"")) == "Unavailable"
    await pause(0.6)
    assert not textile_hub.buckets.is_locked(textile_hub.bucket(BUCKET).key)
    assert not textile_hub.calls.running()


@pytest_twisted.ensureDeferred
async def test_what_is_read_halfway_does_not_stay_open(textile_hub: TextileDouble, tmp_path: Path) -> None:
    async with running(Backend(textile_hub, tmp_path / "daemon", textile_hub.accounts.add_key())) as backend:
        await backend.bucket.put("d/f", os.urandom(900_000))
        textile_hub.faults.pull_bytes_per_second = 500_000.0
        with pytest.raises(TooLarge):
            await backend.bucket.get("d/f", 1000)
        reader = await backend.bucket.open("d/f")
        reader.close()
        reader = await backend.bucket.open("d/f")
        some = Collecting()
        await read_into(reader, some, 10, 100)
        assert len(some.content) == 100
        # A consumer that goes while the server is silent need not wait for it.
        textile_hub.faults.pull_bytes_per_second = 1.0
        gone = Collecting()
        reading = spawn(read_into(reader, gone, 0, 900_000))
        await pause(0.1)
        assert gone.producer is not None
        gone.producer.stopProducing()
        assert reading.called
        reading.addErrback(lambda _: None)
        reader.close()
        await pause(0.1)
        # The double notices only when it would send the next piece.
        assert all(record.cancelled for record in textile_hub.calls.running())
