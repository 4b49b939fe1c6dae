"""The cache of a remote bucket, with real threads and the real reactor."""

import errno
import functools
import hashlib
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as twisted_reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater

from ipfsreg.bucket.cache.disk_cache import DiskCache
from ipfsreg.bucket.cache.fetch import TO_THE_END, WITHHELD
from ipfsreg.bucket.errors import Corrupt, Full, NotFound, Refused, SetupError, TooLarge, Unavailable
from ipfsreg.bucket.interface import IReader, Stat
from ipfsreg.flow.streams import WAITING_MAX, ConsumerGone
from ipfsreg.flow.workers import Workers

from .fake_remote import PIECE, Body, FakeRemote
from .storage import Collecting, read_into

reactor: Any = twisted_reactor

MAXIMUM = 4 * 1024 * 1024
LONG = 1024 * 1024 + 4321


def made(size: int, seed: int = 0) -> bytes:
    return hashlib.shake_128(seed.to_bytes(8, "big")).digest(size)


def at(content: bytes, algorithm: str = "sha256") -> str:
    digits = hashlib.new(algorithm, content).hexdigest()
    return f"blobs/{algorithm}/{digits[:2]}/{digits}"


async def until(condition: Callable[[], object]) -> None:
    for _ in range(1000):
        if condition():
            return
        await deferLater(reactor, 0.005, lambda: None)
    raise AssertionError("it did not come to pass")


async def error_of(what: Awaitable[object]) -> BaseException:
    try:
        await what
    except Exception as error:
        return error
    raise AssertionError("it did not fail")


class World:
    """A cache on a fake remote bucket, and how to look into it."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.where = top / "cache"
        self.remote = FakeRemote()
        self.workers = Workers(reactor, 4)
        self.cache = self.new()

    def new(self, **options: Any) -> DiskCache:
        self.cache = DiskCache(
            self.remote, self.where, **({"maximum": MAXIMUM, "workers": self.workers, "reactor": reactor} | options)
        )
        return self.cache

    def remember(self, content: bytes) -> str:
        self.remote.set(at(content), content)
        return at(content)

    def spooled(self, content: bytes) -> Path:
        source = self.top / "spooled"
        source.write_bytes(content)
        return source

    def kept(self) -> set[bytes]:
        return {each.read_bytes() for each in (self.where / "kept").iterdir()}

    def drafts(self) -> list[Path]:
        return list((self.where / "drafts").iterdir())

    async def fetched(self, path: str, size: int) -> bytes:
        reader = await self.cache.open(path)
        try:
            return await read(reader, 0, size)
        finally:
            reader.close()

    async def idle(self) -> None:
        """Wait for the end of what goes on after the last reader has everything."""
        await until(lambda: not self.cache._running)
        assert self.drafts() == []
        assert self.remote.unclosed == 0


async def read(reader: IReader, offset: int, length: int) -> bytes:
    consumer = Collecting()
    await read_into(reader, consumer, offset, length)
    assert consumer.producer is None
    return consumer.content


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest_twisted.async_yield_fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Afterwards nothing may be left: no call, no reader, no draft, no open file."""
    world = World(tmp_path)
    world.workers.startService()
    await world.cache.start()
    files = open_files()
    yield world
    if "stop" not in world.remote.calls:
        await world.cache.stop()
    assert world.remote.unclosed == 0
    assert world.remote.producers == []
    assert world.drafts() == []
    await until(lambda: open_files() <= files)
    world.workers.stopService()
    ours = [call for call in reactor.getDelayedCalls() if call.func.__module__.startswith(("ipfsreg", "tests"))]
    assert ours == []


@pytest.mark.parametrize("knows_size", [True, False])
@pytest.mark.parametrize("size", [0, 1, WITHHELD, WITHHELD + 1, LONG])
@pytest_twisted.ensureDeferred
async def test_it_is_fetched_once_and_then_a_file(world: World, size: int, knows_size: bool) -> None:
    content = made(size)
    world.remote.knows_size = knows_size
    path = world.remember(content)
    assert await world.fetched(path, size) == content
    await world.idle()
    reader = await world.cache.open(path)
    assert reader.file is not None
    assert reader.size == size
    assert await read(reader, 0, size) == content
    reader.close()
    assert world.remote.opens == 1
    assert world.remote.asked == [size if knows_size else TO_THE_END]


@pytest_twisted.ensureDeferred
async def test_the_other_forms_of_paths(world: World) -> None:
    content = made(LONG)
    for path in (at(content, "sha512"), f"blobs/sha256:{hashlib.sha256(content).hexdigest()}"):
        world.remote.set(path, content)
        assert await world.fetched(path, LONG) == content
        await world.idle()
        assert world.kept() == {content}
        await world.cache.remove(path)


@pytest_twisted.ensureDeferred
async def test_twenty_readers_one_fetch(world: World) -> None:
    content = made(LONG)
    path = world.remember(content)
    early = [world.fetched(path, LONG) for _ in range(10)]
    world.remote.hold_at = 500_000
    first = gatherResults([Deferred.fromCoroutine(each) for each in early])
    await until(lambda: world.remote.delivered == 500_000)
    late = gatherResults([Deferred.fromCoroutine(world.fetched(path, LONG)) for _ in range(10)])
    world.remote.go_on()
    assert set(await first) | set(await late) == {content}
    assert world.remote.opens == 1
    assert world.remote.delivered == LONG


@pytest_twisted.ensureDeferred
async def test_bytes_flow_while_they_arrive_except_the_end(world: World) -> None:
    content = made(LONG)
    world.remote.knows_size = False
    world.remote.hold_at = 5 * PIECE
    reader = await world.cache.open(world.remember(content))
    assert reader.size is None
    assert reader.file is None
    assert await read(reader, 100, 200_000) == content[100:200_100]
    whole, tail = Collecting(), Collecting()
    reading = [read_into(reader, whole, 0, LONG), read_into(reader, tail, LONG - 1000, 1000)]
    await until(lambda: len(whole.content) == 5 * PIECE - WITHHELD)
    await deferLater(reactor, 0.05, lambda: None)
    assert len(whole.content) == 5 * PIECE - WITHHELD
    world.remote.go_on()
    await gatherResults(reading)
    assert (whole.content, tail.content) == (content, content[-1000:])
    assert reader.size == LONG
    assert reader.file is not None
    assert os.pread(reader.file.fileno(), LONG, 0) == content
    reader.close()
    reader.close()


@pytest_twisted.ensureDeferred
async def test_a_slow_reader_does_not_slow_others(world: World) -> None:
    content = made(LONG)
    reader = await world.cache.open(world.remember(content))
    slow = Collecting(lambda producer: producer.pauseProducing())
    reading = read_into(reader, slow, 0, LONG)
    assert await read(reader, 0, LONG) == content
    assert len(slow.pieces) <= 1
    assert not reading.called
    for count in range(1, 100):
        if reading.called:
            break
        assert slow.producer is not None
        slow.producer.resumeProducing()
        await until(functools.partial(lambda count: len(slow.pieces) > count or reading.called, count))
    await reading
    assert slow.content == content
    reader.close()


@pytest_twisted.ensureDeferred
async def test_the_fetch_waits_for_the_disk(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    content = made(12 * 1024 * 1024)
    free = threading.Event()
    real = os.pwrite

    def pwrite(*args: Any) -> int:
        assert free.wait(10)
        return real(*args)

    monkeypatch.setattr(os, "pwrite", pwrite)
    fetched = Deferred.fromCoroutine(world.fetched(world.remember(content), len(content)))
    try:
        await until(lambda: world.remote.producers and world.remote.delivered and world.remote.producers[0].paused)
        await deferLater(reactor, 0.05, lambda: None)
        # What the fetch holds, what the double does, and the piece that was one too many.
        assert 4 * 1024**2 <= world.remote.delivered <= 4 * 1024**2 + WAITING_MAX + PIECE
    finally:
        free.set()
    assert await fetched == content


@pytest.mark.parametrize("knows_size", [True, False])
@pytest.mark.parametrize("damage", [lambda c: c[:-1] + bytes([c[-1] ^ 1]), lambda c: c[:-1], lambda c: c + b"x"])
@pytest.mark.parametrize("size", [1000, LONG])
@pytest_twisted.ensureDeferred
async def test_damaged_content(world: World, damage: Callable[[bytes], bytes], size: int, knows_size: bool) -> None:
    content = made(size)
    path = at(content)
    world.remote.knows_size = knows_size
    world.remote.set(path, damage(content))
    consumers = [Collecting() for _ in range(3)]

    async def one(consumer: Collecting) -> None:
        reader = await world.cache.open(path)
        try:
            await read_into(reader, consumer, 0, size)
        finally:
            reader.close()

    errors = await gatherResults([Deferred.fromCoroutine(error_of(one(each))) for each in consumers])
    assert [type(error) for error in errors] == [Corrupt] * 3
    # Nobody has so much that the rest could be guessed, and short content is refused before there is a reader.
    for consumer in consumers:
        assert len(consumer.content) <= max(0, size + 1 - WITHHELD)
        assert consumer.registered == (size == LONG)
    await world.idle()
    assert world.kept() == set()
    world.remote.set(path, content)
    assert await world.fetched(path, size) == content
    assert world.remote.opens == 2


@pytest_twisted.ensureDeferred
async def test_an_outage_on_the_way(world: World) -> None:
    content = made(LONG)
    path = world.remember(content)
    world.remote.hold_at = 500_000
    world.remote.error_at = (600_000, Unavailable("gone", 7))
    reader = await world.cache.open(path)
    paused = Collecting(lambda producer: producer.pauseProducing())
    reading = [error_of(read_into(reader, paused, 0, LONG)), error_of(read_into(reader, Collecting(), LONG - 5, 5))]
    errors = gatherResults([Deferred.fromCoroutine(each) for each in reading])
    await until(lambda: paused.pieces)
    world.remote.go_on()
    # Who waits for bytes is told at once, and who wants none for now when it wants more.
    await until(lambda: not world.cache._running)
    assert not errors.called
    assert paused.producer is not None
    paused.producer.resumeProducing()
    for error in await errors:
        assert isinstance(error, Unavailable)
        assert error.retry_after == 7
    assert isinstance(await error_of(read_into(reader, Collecting(), 0, 1)), Unavailable)
    world.remote.error_at = None
    assert await world.fetched(path, LONG) == content
    reader.close()


@pytest_twisted.ensureDeferred
async def test_a_failure_after_the_last_byte_is_none(world: World) -> None:
    content = made(LONG)
    world.remote.knows_size = False
    world.remote.error_at = (LONG, Unavailable("no trailers"))
    assert await world.fetched(world.remember(content), LONG) == content


@pytest.mark.parametrize("fails_at_read", [True, False])
@pytest_twisted.ensureDeferred
async def test_missing_content_has_no_reader(world: World, fails_at_read: bool) -> None:
    world.remote.fails_at_read = fails_at_read
    opening = [world.cache.open(at(b"missing")) for _ in range(3)]
    for each in opening:
        assert isinstance(await error_of(each), NotFound)
    world.remember(b"missing")
    assert await world.fetched(at(b"missing"), 7) == b"missing"


@pytest.mark.parametrize("error", [Unavailable("away"), Refused("no"), RuntimeError("a mistake")])
@pytest_twisted.ensureDeferred
async def test_a_failure_before_the_first_byte(world: World, error: Exception) -> None:
    path = world.remember(b"content")
    world.remote.error_at = (0, error)
    expected = Unavailable if isinstance(error, RuntimeError) else type(error)
    assert type(await error_of(world.cache.open(path))) is expected


@pytest_twisted.ensureDeferred
async def test_more_is_asked_for_than_there_is(world: World) -> None:
    content = made(LONG)
    world.remote.knows_size = False
    reader = await world.cache.open(world.remember(content))
    assert isinstance(await error_of(read_into(reader, Collecting(), 10, LONG)), Corrupt)
    reader.close()


@pytest_twisted.ensureDeferred
async def test_a_consumer_that_stops(world: World) -> None:
    world.remote.hold_at = 500_000
    reader = await world.cache.open(world.remember(made(LONG)))
    waiting = Collecting()
    reading = read_into(reader, waiting, 0, LONG)
    stopping = Collecting(lambda producer: producer.stopProducing())
    assert isinstance(await error_of(read_into(reader, stopping, 0, LONG)), ConsumerGone)
    assert len(stopping.pieces) == 1
    await until(lambda: len(waiting.content) == 500_000 - WITHHELD)
    assert waiting.producer is not None
    waiting.producer.stopProducing()
    assert isinstance(await error_of(reading), ConsumerGone)
    reader.close()


@pytest_twisted.ensureDeferred
async def test_put_file_keeps_the_file(world: World) -> None:
    content = made(LONG)
    source = world.spooled(content)
    await world.cache.put_file(at(content), source)
    assert not source.exists()
    assert world.remote.bodies[at(content)].block == content
    assert await world.fetched(at(content), LONG) == content
    assert world.remote.opens == 0


@pytest_twisted.ensureDeferred
async def test_put_file_fails(world: World) -> None:
    content = made(LONG)
    source = world.spooled(content)
    before = source.stat()
    world.remote.put_error = Unavailable("away")
    assert isinstance(await error_of(world.cache.put_file(at(content), source)), Unavailable)
    after = source.stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_nlink) == (before.st_ino, before.st_mtime_ns, 1)
    assert source.read_bytes() == content
    assert world.kept() == set()
    assert world.drafts() == []


@pytest_twisted.ensureDeferred
async def test_put_file_from_another_file_system(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(os, "link", link)
    await world.cache.put_file(at(b"content"), world.spooled(b"content"))
    assert world.kept() == set()
    assert await world.fetched(at(b"content"), 7) == b"content"


@pytest_twisted.ensureDeferred
async def test_put_file_of_what_is_too_large_leaves_the_cache(world: World) -> None:
    await world.cache.put_file(at(b"content"), world.spooled(b"content"))
    large = made(MAXIMUM + 1)
    await world.cache.put_file(at(large), world.spooled(large))
    assert world.kept() == {b"content"}


@pytest_twisted.ensureDeferred
async def test_the_cache_cannot_be_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def pread(*_: object) -> bytes:
        raise OSError(errno.EIO, "broken")

    world.remote.hold_at = 500_000
    reader = await world.cache.open(world.remember(made(LONG)))
    monkeypatch.setattr(os, "pread", pread)
    assert isinstance(await error_of(read_into(reader, Collecting(), 0, 1000)), Unavailable)
    reader.close()


@pytest_twisted.ensureDeferred
async def test_put_file_elsewhere_is_not_kept(world: World) -> None:
    await world.cache.put_file("some/file", world.spooled(b"content"))
    assert world.kept() == set()
    assert await world.fetched("some/file", 7) == b"content"
    assert world.kept() == set()


@pytest_twisted.ensureDeferred
async def test_everything_else_goes_through(world: World) -> None:
    cache = world.cache
    assert (cache.name, cache.shared) == ("fake", True)
    # A link to content and damaged content: paths of the form, and not the content.
    for directory in ("repositories/x/_blobs", "quarantine"):
        path = at(b"content").replace("blobs", directory, 1)
        await cache.put(path, b"something else")
        assert await world.fetched(path, 14) == b"something else"
        assert await cache.get(path, 100) == b"something else"
    path = at(b"content")
    await cache.put(path, b"content")
    assert await cache.get(path, 7) == b"content"
    assert isinstance(await error_of(cache.get(path, 6)), TooLarge)
    directory, _, name = path.rpartition("/")
    assert [entry.name for entry in await cache.list(directory)] == [name]
    assert [step[0].directory async for step in cache.walk("blobs")] == ["blobs"]
    assert world.kept() == set()


@pytest_twisted.ensureDeferred
async def test_stat_asks_the_bucket_and_knows_more(world: World) -> None:
    content = made(LONG)
    path = world.remember(content)
    world.remote.knows_size = False
    assert await world.cache.stat(path) == Stat(None, "cid")
    await world.fetched(path, LONG)
    await world.idle()
    assert await world.cache.stat(path) == Stat(LONG, "cid")
    del world.remote.bodies[path]  # somebody else's daemon
    assert isinstance(await error_of(world.cache.stat(path)), NotFound)


@pytest.mark.parametrize("way", ["remove", "move"])
@pytest_twisted.ensureDeferred
async def test_what_is_removed_or_moved_is_dropped(world: World, way: str) -> None:
    content = made(LONG)
    path = world.remember(content)

    async def change() -> None:
        if way == "remove":
            await world.cache.remove(path)
        else:
            await world.cache.move(path, at(content).replace("blobs", "quarantine", 1))

    await world.fetched(path, LONG)
    await world.idle()
    assert world.kept() == {content}
    await change()
    assert world.kept() == set()
    assert isinstance(await error_of(world.cache.open(path)), NotFound)

    # While it is fetched: who reads it reads on, and it is not kept.
    world.remember(content)
    world.remote.hold_at = 500_000
    reader = await world.cache.open(path)
    await change()
    assert isinstance(await error_of(world.cache.open(path)), NotFound)
    world.remote.go_on()
    assert await read(reader, 0, LONG) == content
    reader.close()
    await world.idle()
    assert world.kept() == set()


@pytest_twisted.ensureDeferred
async def test_what_is_removed_while_it_is_stored_is_not_kept(world: World) -> None:
    world.remember(b"content")
    world.remote.put_waits = Deferred()
    storing = world.cache.put_file(at(b"content"), world.spooled(b"content"))
    await until(world.drafts)
    await world.cache.remove(at(b"content"))
    world.remote.put_waits.callback(None)
    await storing
    assert world.kept() == set()


@pytest_twisted.ensureDeferred
async def test_a_restart_keeps_the_cache(world: World) -> None:
    contents = [made(1024 * 1024, seed) for seed in range(4)]
    paths = [world.remember(content) for content in contents]
    for path in paths:
        await world.fetched(path, 1024 * 1024)
    await world.idle()
    await world.cache.stop()
    # As if they had been used in another order, and the daemon killed in the middle of a transfer.
    for age, content in enumerate([contents[2], contents[0], contents[3], contents[1]]):
        name = next(each for each in (world.where / "kept").iterdir() if each.read_bytes() == content)
        os.utime(name, (1e9 - age, 1e9 - age))
    (world.where / "drafts" / "half").write_bytes(b"half")
    await world.new().start()
    assert world.drafts() == []
    assert await world.fetched(paths[0], 1024 * 1024) == contents[0]
    assert world.remote.opens == 4
    await world.fetched(world.remember(b"x"), 1)
    await world.idle()
    assert world.kept() == {contents[0], contents[2], contents[3], b"x"}
    await world.cache.stop()
    await world.new(maximum=2 * 1024 * 1024).start()
    assert world.kept() == {contents[0], b"x"}


@pytest_twisted.ensureDeferred
async def test_the_one_unused_for_longest_goes_first(world: World) -> None:
    contents = [made(1024 * 1024, seed) for seed in range(6)]
    paths = [world.remember(content) for content in contents]
    for path in paths[:4]:
        await world.fetched(path, 1024 * 1024)
        await world.idle()
    reading = await world.cache.open(paths[1])
    await world.fetched(paths[0], 1024 * 1024)
    for path in paths[4:]:
        await world.fetched(path, 1024 * 1024)
        await world.idle()
    assert world.kept() == {contents[number] for number in (1, 0, 4, 5)}
    large = made(MAXIMUM + 1)
    assert await world.fetched(world.remember(large), MAXIMUM + 1) == large
    await world.idle()
    assert world.kept() == set()
    assert await read(reading, 0, 1024 * 1024) == contents[1]
    reading.close()
    assert await world.fetched(at(large), MAXIMUM + 1) == large


@pytest_twisted.ensureDeferred
async def test_a_full_disk(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    content = made(LONG)
    await world.fetched(world.remember(b"kept"), 4)
    await world.idle()
    real, room = os.pwrite, 700_000

    def pwrite(descriptor: int, data: bytes, offset: int) -> int:
        if offset >= room:
            raise OSError(errno.ENOSPC, "full")
        return real(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    path = world.remember(content)
    assert isinstance(await error_of(world.fetched(path, LONG)), Full)
    await world.idle()
    assert world.kept() == set()
    monkeypatch.undo()
    assert await world.fetched(path, LONG) == content


@pytest_twisted.ensureDeferred
async def test_the_disk_cannot_keep_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def rename(*_: object) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "rename", rename)
    content = made(LONG)
    assert await world.fetched(world.remember(content), LONG) == content
    await world.cache.put_file(at(b"content"), world.spooled(b"content"))
    await world.idle()
    assert world.kept() == set()


@pytest_twisted.ensureDeferred
async def test_a_fetch_that_nobody_wants_is_given_up(world: World) -> None:
    await world.cache.stop()
    world.remote.calls.clear()
    await world.new(grace=0.05).start()
    content = made(LONG)
    path = world.remember(content)
    world.remote.hold_at = 500_000
    (await world.cache.open(path)).close()
    again = await world.cache.open(path)  # within the grace: the same fetch
    await deferLater(reactor, 0.1, lambda: None)
    assert (world.remote.opens, len(world.remote.producers)) == (1, 1)
    again.close()
    await world.idle()
    assert world.remote.producers == []
    world.remote.go_on()
    assert await world.fetched(path, LONG) == content
    assert world.remote.opens == 2


@pytest_twisted.ensureDeferred
async def test_it_is_stopped_in_the_middle(world: World) -> None:
    path = world.remember(made(LONG))
    world.remote.hold_at = 500_000
    reader = await world.cache.open(path)
    reading = Deferred.fromCoroutine(error_of(read_into(reader, Collecting(), 0, LONG)))
    world.remote.open_waits = Deferred()
    opening = Deferred.fromCoroutine(error_of(world.cache.open(at(b"other"))))
    world.remote.stop_error = RuntimeError("the bucket's own trouble")
    assert await error_of(world.cache.stop()) is world.remote.stop_error
    assert isinstance(await reading, Unavailable)
    assert isinstance(await opening, Unavailable)
    assert world.remote.unclosed == 0
    assert world.drafts() == []
    assert isinstance(await error_of(world.cache.open(path)), Unavailable)
    reader.close()


@pytest_twisted.ensureDeferred
async def test_an_opening_that_is_cancelled(world: World) -> None:
    path = world.remember(b"content")
    world.remote.hold_at = 0
    opening = world.cache.open(path)
    other = Deferred.fromCoroutine(world.fetched(path, 7))
    await until(lambda: world.remote.producers)
    opening.cancel()
    assert isinstance(await error_of(opening), CancelledError)
    world.remote.go_on()
    assert await other == b"content"


@pytest_twisted.ensureDeferred
async def test_a_directory_that_cannot_be_used(world: World) -> None:
    (world.top / "file").write_bytes(b"")
    cache = DiskCache(FakeRemote(), world.top / "file", MAXIMUM, world.workers, reactor)
    error = await error_of(cache.start())
    assert isinstance(error, SetupError)
    assert "cache directory" in str(error)


class Counting(Collecting):
    """A consumer that keeps nothing, and knows how much memory the process had at most."""

    total = 0
    peak = 0

    def write(self, data: bytes) -> None:
        self.total += len(data)
        if self.total // (8 << 20) != (self.total - len(data)) // (8 << 20):
            self.peak = max(self.peak, resident())


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest_twisted.ensureDeferred
async def test_memory_is_flat(world: World) -> None:
    block, size = made(PIECE), 200 * 1024 * 1024
    digest = hashlib.sha256()
    for _ in range(size // PIECE):
        digest.update(block)
    path = f"blobs/sha256:{digest.hexdigest()}"
    world.remote.bodies[path] = Body(block, size)
    before = resident()
    reader = await world.cache.open(path)
    slow = Collecting(lambda producer: producer.pauseProducing())
    stuck = read_into(reader, slow, 0, size)
    counting = Counting()
    await read_into(reader, counting, 0, size)
    assert counting.total == size
    assert 0 < counting.peak < before + 40 * 1024 * 1024
    assert slow.producer is not None
    slow.producer.stopProducing()
    assert isinstance(await error_of(stuck), ConsumerGone)
    reader.close()
    await world.idle()
