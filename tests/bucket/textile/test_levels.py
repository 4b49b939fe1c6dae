"""Buckets of the server that make one: which are looked up, and when one is full."""

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from ipfsreg.bucket.errors import BucketError, Full, NotFound
from ipfsreg.bucket.textile import capacity
from ipfsreg.bucket.textile.capacity import Capacity
from ipfsreg.bucket.textile.options import TextileOptions
from ipfsreg.bucket.textile.placement import LEVELS, BucketName, Form, Place, all_places, place_of
from ipfsreg.bucket.textile.proto import bucketsd_pb2
from ipfsreg.bucket.textile.server.errors import BucketFull, DirectoryFull, TooManyPaths
from ipfsreg.bucket.textile.shard import Shard
from tests.bucket.contract import spawn
from tests.bucket.running import listening, pause, reactor, running
from tests.full import examples

from .backend import LIMIT, Backend
from .double import Fault, Limits, RpcError, TextileDouble
from .double.bucket import Bucket

pytest_plugins = ["tests.bucket.textile.double.fixtures"]

BUCKET = "ipfsreg"
TOO_LONG = "grpc: received message larger than max (4194400 vs. 4194304)"
TOO_BIG = "adding file: produced block is over 1MiB: big blocks can't be exchanged with other peers"


def level_of(double: TextileDouble, bucket: Bucket) -> int:
    name = next(each.name for each in double.threads.by_id.values() if each.id_string == bucket.thread)
    return 0 if name == "buckets" else int(name.split("-")[1])


def holders(double: TextileDouble, path: str) -> list[int]:
    """At which levels a path is."""
    return sorted(level_of(double, each) for each in double.buckets.all() if path in double.files(each.key))


# What is looked up.


@pytest_twisted.ensureDeferred
async def test_the_first_requests_do_not_wait_for_every_bucket(textile_hub: TextileDouble, tmp_path: Path) -> None:
    key = textile_hub.accounts.add_key()
    for place in all_places():
        textile_hub.add_bucket(textile_hub.add_thread(place.thread_name("buckets"), key), BUCKET)
    latency = textile_hub.faults.latency = 0.1  # beside which a busy machine's own time is little
    async with running(Backend(textile_hub, tmp_path / "daemon", key)) as backend:
        began = reactor.seconds()
        with pytest.raises(NotFound):
            await backend.bucket.stat("d/f")
        await backend.bucket.put("d/f", b"x")
        assert await backend.bucket.get("d/f", LIMIT) == b"x"
        assert reactor.seconds() - began < latency * 45
        # One for each level, and what is looked for beside the requests.
        assert len(textile_hub.calls.of("List")) < 45
        assert len(textile_hub.calls.of("ListThreads")) <= 2
        assert holders(textile_hub, "d/f") == [LEVELS - 1]
        # All are asked for a listing.
        textile_hub.faults.latency = 0.0
        assert [entry.name for entry in await backend.bucket.list("d")] == ["f"]
        assert len(textile_hub.calls.of("List")) == 85


@pytest_twisted.ensureDeferred
async def test_a_thread_without_its_bucket_is_no_level(textile_hub: TextileDouble, tmp_path: Path) -> None:
    """As a daemon leaves it that was killed between the two."""
    key = textile_hub.accounts.add_key()
    textile_hub.add_bucket(textile_hub.add_thread("buckets", key), BUCKET)
    textile_hub.add_thread("buckets-2-7", key)
    async with running(Backend(textile_hub, tmp_path / "daemon", key)) as backend:
        await backend.bucket.put("d/f", b"x")
        assert await backend.bucket.get("d/f", LIMIT) == b"x"
    assert holders(textile_hub, "d/f") == [0]


@pytest_twisted.ensureDeferred
async def test_a_level_that_another_daemon_began_a_moment_ago(
    textile_buckd: TextileDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is acknowledged must not be hidden by what is older, nor come back when it was removed."""
    monkeypatch.setattr(capacity, "FULL", 4)
    async with (
        running(Backend(textile_buckd, tmp_path / "a")) as here,
        running(Backend(textile_buckd, tmp_path / "b")) as there,
    ):
        await here.bucket.put("d/tag", b"1")
        assert await there.bucket.get("d/tag", LIMIT) == b"1"  # from now on it believes that there is one level
        await here.bucket.put("d/more", b"x")
        await here.bucket.put("d/tag", b"2")
        assert holders(textile_buckd, "d/tag") == [0, 1]
        await there.bucket.put("d/tag", b"3")
        assert await here.bucket.get("d/tag", LIMIT) == b"3"
        assert await there.bucket.get("d/tag", LIMIT) == b"3"
    async with running(Backend(textile_buckd, tmp_path / "c")) as other:
        await other.bucket.list("d")
        await other.bucket.remove("d/tag")
        with pytest.raises(NotFound):
            await other.bucket.get("d/tag", LIMIT)
    assert holders(textile_buckd, "d/tag") == []


@pytest.mark.parametrize("thread", ["buckets-1-0", "a-b-3-63"])
def test_a_thread_whose_name_is_one_of_a_level(thread: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="another registry"):
        TextileOptions.model_validate({"thread": thread, "path": tmp_path})
    TextileOptions.model_validate({"thread": thread + "x", "path": tmp_path})


@pytest.mark.parametrize("private", [True, False])
@pytest_twisted.ensureDeferred
async def test_higher_levels_are_as_private_as_the_first(
    private: bool, textile_hub: TextileDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the configuration says by then."""
    monkeypatch.setattr(capacity, "FULL", 4)
    key = textile_hub.accounts.add_key()
    async with running(Backend(textile_hub, tmp_path / "one", key, encrypted=private)) as backend:
        await backend.bucket.put("d/first", b"x")
    async with running(Backend(textile_hub, tmp_path / "two", key, encrypted=not private)) as backend:
        for number in range(20):
            await backend.bucket.put(f"d/{number}", b"x")
    assert len(textile_hub.buckets.all()) >= 3
    assert {each.private for each in textile_hub.buckets.all()} == {private}


# When one is full.


@pytest.mark.parametrize(("code", "text"), [(8, TOO_LONG), (2, "max bucket size exceeded"), (2, TOO_BIG)])
@pytest_twisted.ensureDeferred
async def test_what_a_bucket_does_not_take_goes_to_the_next_level(
    code: int, text: str, textile_hub: TextileDouble, tmp_path: Path
) -> None:
    async with running(Backend(textile_hub, tmp_path / "daemon", textile_hub.accounts.add_key())) as backend:
        await backend.bucket.put("d/old", b"x")
        textile_hub.faults.add(Fault("PushPath", code=code, text=text))
        source = tmp_path / "source"
        source.write_bytes(b"large")
        await backend.bucket.put_file("d/f", source)
        assert not source.exists()
        assert holders(textile_hub, "d/f") == [1]
        assert await backend.bucket.get("d/f", LIMIT) == b"large"
        # A batch that is refused as a whole, and of it one: they wait for the end of a push.
        textile_hub.faults.save_seconds = 0.5
        first = spawn(backend.bucket.put("d/first", b"x"))
        while not [record for record in textile_hub.calls.running() if record.method == "PushPath"]:
            await pause(0.01)
        textile_hub.faults.add(Fault("PushPaths", code=2, text=f"getting bucket: rpc error: code = X desc = {text}"))
        textile_hub.faults.add(Fault("PushPath", code=code, text=text))
        batch = [spawn(backend.bucket.put(f"d/{number}", b"x")) for number in range(3)]
        queue = backend.textile._writer._queues[place_of("d/f", 1)]
        while len(queue._queue) < 3:
            await pause(0.01)
        textile_hub.faults.save_seconds = 0.0
        for push in (first, *batch):
            await push
        assert holders(textile_hub, "d/0") == [2]
        for number in range(3):
            assert await backend.bucket.get(f"d/{number}", LIMIT) == b"x"
        # All of it is one directory still.
        assert [entry.name for entry in await backend.bucket.list("d")] == ["0", "1", "2", "f", "first", "old"]


@pytest_twisted.ensureDeferred
async def test_a_file_larger_than_any_bucket_may_be(tmp_path: Path) -> None:
    """It is refused, once a new bucket did not take it either, and what is smaller is taken where it was before."""
    double = TextileDouble(hub=True, limits=Limits(bucket_size=50_000))
    async with listening(double), running(Backend(double, tmp_path / "daemon", double.accounts.add_key())) as backend:
        await backend.bucket.put("d/f", bytes(20_000))
        for _ in range(2):
            with pytest.raises(BucketFull):
                await backend.bucket.put("d/large", bytes(60_000))
        assert sorted(level_of(double, each) for each in double.buckets.all()) == [0, 1]
        await backend.bucket.put("d/g", bytes(20_000))
        assert await backend.bucket.get("d/g", LIMIT) == bytes(20_000)


@pytest_twisted.ensureDeferred
async def test_moving_where_the_next_level_is(
    textile_hub: TextileDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capacity, "FULL", 4)
    async with running(Backend(textile_hub, tmp_path / "daemon", textile_hub.accounts.add_key())) as backend:
        for number in range(3):
            await backend.bucket.put(f"d/{number}", b"%d" % number)
        await backend.bucket.move("d/0", "e/0")
        assert holders(textile_hub, "e/0") == [1]
        assert await backend.bucket.get("e/0", LIMIT) == b"0"
        with pytest.raises(NotFound):
            await backend.bucket.get("d/0", LIMIT)


SCALE = 20
"""By how much all limits are lowered, so that they are reached with as many files fewer."""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Limits:
    for name in ("FULL", "LAST_FULL", "FULL_BYTES", "LAST_FULL_BYTES", "COUNTED_BYTES"):
        monkeypatch.setattr(capacity, name, getattr(capacity, name) // SCALE)
    limits = Limits()
    assert limits.document is not None
    assert limits.directory_block is not None
    limits.document //= SCALE
    limits.directory_block //= SCALE
    return limits


@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("level", [0, LEVELS - 1])
@pytest.mark.parametrize(
    "directory", ["repositories/team/_tags", "{n}", "a/{n}/c", "repositories/{n}/_referrers", "blobs/sha256/{n}"]
)
def test_limits_of_the_server_are_never_reached(directory: str, level: int, private: bool, small: Limits) -> None:
    """Of names as long as they get, in one directory or each in one of its own."""
    double = TextileDouble(hub=False, limits=small, keep_content=False)
    bucket = double.add_bucket(double.add_thread(), private=private)
    known = Capacity(Place(level, 0))
    randomness = random.Random(7)
    added = 0
    while True:
        batch = {}
        for _ in range(5):
            name = f"{randomness.getrandbits(64):x}".ljust(randomness.choice([128, 200, 255]), "x")
            batch[f"{directory.format(n=name)}/{name[:128]}"] = b""
        root = bucketsd_pb2.Root.FromString(double.bucket(bucket.key).encoded())
        consume(known.learn(root))
        if not all(known.takes(path, 0) for path in batch):
            break
        double.put_files(bucket.key, batch)  # fails where a limit is reached
        added += len(batch)
    assert added >= 40
    if level and directory == "repositories/team/_tags":
        # One directory is full, and others are not.
        assert known.takes("elsewhere/f", 0)
    double.content.close()


def test_the_server_refuses_what_is_more(small: Limits) -> None:
    """The limits of the test before are there."""
    double = TextileDouble(hub=False, limits=small, keep_content=False)
    bucket = double.add_bucket(double.add_thread())
    with pytest.raises(RpcError, match="big blocks"):
        double.put_files(bucket.key, {f"d/{number:0200}": b"" for number in range(300)})
    double.content.close()


def consume(steps: Iterator[None]) -> int:
    """Take all steps; answers how many there were."""
    return sum(1 for _ in steps)


def root_of(paths: list[str]) -> bucketsd_pb2.Root:
    root = bucketsd_pb2.Root()
    for path in paths:
        root.path_metadata[path].updated_at = 1 << 60
    return root


@given(
    paths=st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=4).map("/".join), unique=True, max_size=60)
)
@settings(max_examples=examples(15, 60), deadline=None)
def test_sizes_of_directories(paths: list[str]) -> None:
    """As a walk of the tree finds them."""
    names: dict[str, set[str]] = {}
    for path in paths:
        parts = path.split("/")
        for length in range(len(parts)):
            names.setdefault("/".join(parts[:length]), set()).add(parts[length])
    found: Counter[str] = Counter()
    consume(capacity._add_directories(found, paths))
    for directory, children in names.items():
        # A path that is a file's and a directory's name at once, as no server has it, counts twice.
        assert len(children) * (1 + capacity.LINK) <= found[directory] <= 2 * len(children) * (1 + capacity.LINK)


def test_a_large_document_is_looked_at_in_slices() -> None:
    """So that the reactor has its turn between them."""

    class Turns(Clock):
        """Makes one call for each turn, as a reactor does with those that come meanwhile."""

        def callLater(self, delay: float, callable: Any, *args: object, **kw: object) -> Any:
            return super().callLater(delay + 1, callable, *args, **kw)

    clock = Turns()
    client: Any = None
    place = Place(LEVELS - 1, 0)
    large = Shard(client, client, clock, place, BucketName("buckets", "ipfsreg"), lambda: Form(False, False))
    root = root_of([f"repositories/team/_tags/{number:0100}" for number in range(10_000)])
    large.learn(root)
    assert large.capacity.paths == 10_000
    assert large.capacity.takes("repositories/team/_tags/one-more", 0)
    turns = 0
    while clock.getDelayedCalls():
        clock.advance(1)
        turns += 1
    assert turns == 10_000 // capacity.SLICE
    assert not large.capacity.takes("repositories/team/_tags/one-more", 0)


def test_what_was_refused_is_remembered_for_what_it_was() -> None:
    known = Capacity(Place(0, 0))
    known.refused("d/f", 1000, BucketFull("too large"))
    assert (known.takes("d/f", 999), known.takes("d/f", 1000)) == (True, False)
    known.refused("d/f", 0, DirectoryFull("too many names"))
    assert (known.takes("d/g", 0), known.takes("d/e/f", 0), known.takes("e/f", 0)) == (False, False, True)
    known.refused("e/f", 0, TooManyPaths("too many paths"))
    assert not known.takes("e/f", 0)


def test_what_is_on_its_way_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "FULL", 3)
    known = Capacity(Place(0, 0))
    consume(known.learn(root_of(["", "a"])))
    with known.reserved("b"):
        assert not known.takes("c", 0)
    assert known.takes("c", 0)


@pytest_twisted.ensureDeferred
async def test_a_push_to_a_full_last_level(
    textile_hub: TextileDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capacity, "FULL", 2)
    monkeypatch.setattr(capacity, "LAST_FULL", 2)
    async with running(Backend(textile_hub, tmp_path / "daemon", textile_hub.accounts.add_key())) as backend:
        outcomes: list[object] = []
        for number in range(8):
            try:
                await backend.bucket.put(f"d/{number}", b"x")
            except BucketError as error:
                outcomes.append(error)
        assert outcomes
        assert all(isinstance(error, Full) for error in outcomes)
        assert {place_of("d/0", level).level for level in range(LEVELS)} == {0, 1, 2, 3}
