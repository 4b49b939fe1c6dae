"""The bucket that is a directory on this disk."""

import errno
import os
import secrets
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor

from ipfsreg.bucket.bulk import IBulkReads
from ipfsreg.bucket.errors import BucketError, Corrupt, Forbidden, Full, InTheWay, SetupError, Unavailable
from ipfsreg.bucket.interface import Entry, IBucket, Listing, walk_by_listing
from ipfsreg.bucket.local.bucket import LocalBucket
from ipfsreg.flow.workers import Workers

from .contract import BucketContract, pause
from .storage import Collecting, Storage, read_into


class LocalStorage(Storage):
    """A directory; its outage is a volume that is no longer mounted there."""

    no_file = Corrupt

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.top = directory / "bucket"
        self._spool = directory / "spool"
        self._spool.mkdir(parents=True)
        self.workers = Workers(reactor, 8)
        self.workers.startService()
        self.bucket: IBucket = LocalBucket(directory, self.workers)

    def spooled(self, content: bytes) -> Path:
        source = self._spool / secrets.token_hex(8)
        with source.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        return source

    async def reopened(self) -> IBucket:
        self.bucket = LocalBucket(self.directory, self.workers)
        await self.bucket.start()
        return self.bucket

    @asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        away = self.directory / "unmounted"
        self.top.rename(away)
        try:
            yield
        finally:
            away.rename(self.top)

    async def close(self) -> None:
        await self.bucket.stop()
        self.workers.stopService()


class OtherVolume(LocalStorage):
    """The volume is gone, and the empty directory that it was mounted on is left."""

    @asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        async with super().outage():
            self.top.mkdir()
            yield
            assert not list(self.top.iterdir()), "something was written to where the volume is not"
            self.top.rmdir()


class BadDisk(LocalStorage):
    """The disk answers every system call with an input/output error."""

    @asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        with failing(errno.EIO, "open", "stat", "scandir", "mkdir", "replace", "unlink", "rename"):
            yield


class Listed(LocalStorage):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)

        class ListingOnly(LocalBucket):
            def walk(
                self, directory: str, into: Callable[[str], bool] | None = None
            ) -> AsyncIterator[Sequence[Listing]]:
                return walk_by_listing(self.list, directory, into)

        self.bucket = ListingOnly(directory, self.workers)


@contextmanager
def failing(number: int, *calls: str, unless: str = "\0") -> Iterator[list[Any]]:
    """Within the block some calls of `os` (and the built-in `open`) fail; yields what they were asked."""
    asked: list[Any] = []

    def fail(path: Any, *args: Any, **kwargs: Any) -> Any:
        asked.append(path)
        raise OSError(number, os.strerror(number), path)

    with pytest.MonkeyPatch.context() as patch:
        for call in calls:
            patch.setattr(os, call, fail)
            if call == "open":
                patch.setattr("io.open", fail)
                patch.setattr("ipfsreg.bucket.local.tree.open_beneath", fail)
        yield asked


async def _started(storage: LocalStorage) -> AsyncIterator[LocalStorage]:
    await storage.bucket.start()
    yield storage
    await storage.close()


class TestLocal(BucketContract):
    @pytest_twisted.async_yield_fixture()
    async def storage(self, tmp_path: Path) -> AsyncIterator[Storage]:
        async for each in _started(LocalStorage(tmp_path)):
            yield each


class TestEmptyMountPoint:
    @pytest_twisted.async_yield_fixture()
    async def storage(self, tmp_path: Path) -> AsyncIterator[Storage]:
        async for each in _started(OtherVolume(tmp_path)):
            yield each

    test_outage = BucketContract.test_an_outage_never_looks_like_an_absence


class TestBadDisk:
    @pytest_twisted.async_yield_fixture()
    async def storage(self, tmp_path: Path) -> AsyncIterator[Storage]:
        async for each in _started(BadDisk(tmp_path)):
            yield each

    test_outage = BucketContract.test_an_outage_never_looks_like_an_absence


class TestWalkByListing:
    """The way for storages that can only list is held to the contract of walks, too."""

    @pytest_twisted.async_yield_fixture()
    async def storage(self, tmp_path: Path) -> AsyncIterator[Storage]:
        async for each in _started(Listed(tmp_path)):
            yield each

    test_walking = BucketContract.test_walking
    test_changes = BucketContract.test_a_long_walk_misses_nothing_beside_changes
    test_outage = BucketContract.test_an_outage_never_looks_like_an_absence


@pytest_twisted.async_yield_fixture()
async def local(tmp_path: Path) -> AsyncIterator[LocalStorage]:
    async for each in _started(LocalStorage(tmp_path)):
        yield each


@pytest.mark.parametrize(
    ("number", "wanted"),
    [
        (errno.ENOSPC, Full),
        (errno.EDQUOT, Full),
        (errno.EACCES, Forbidden),
        (errno.EPERM, Forbidden),
        (errno.EROFS, Forbidden),
        (errno.ENOTDIR, Corrupt),
        (errno.EIO, Unavailable),
        (errno.EMFILE, Unavailable),
        (errno.ENOENT, Unavailable),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_a_failed_write_is_called(local: LocalStorage, number: int, wanted: type[BucketError]) -> None:
    await local.bucket.put("d/f", b"before")
    source = local.spooled(b"after")
    with failing(number, "replace"):
        for write in (
            local.bucket.put("d/f", b"after"),
            local.bucket.put_file("d/f", source),
            local.bucket.move("d/f", "e"),
        ):
            with pytest.raises(BucketError) as failure:
                await write
            assert type(failure.value) is wanted
            assert f"{local.top}/" in str(failure.value)
    assert await local.bucket.get("d/f", 100) == b"before"
    assert source.read_bytes() == b"after"
    assert list((local.directory / "drafts").iterdir()) == []


@pytest_twisted.ensureDeferred
async def test_a_file_in_the_place_of_a_directory(local: LocalStorage) -> None:
    await local.bucket.put("d", b"")
    for write in (local.bucket.put("d/f", b""), local.bucket.put_file("d/f", local.spooled(b""))):
        with pytest.raises(Corrupt, match="/bucket/d is a file"):
            await write
    for read in (local.bucket.get("d/f/g", 1), local.bucket.list("d/f"), local.bucket.remove("d/f/g")):
        with pytest.raises(Corrupt, match="/bucket/d is a file"):
            await read
    # What belongs below it is not known to be missing: nothing else than this may keep a collector from taking all.
    with pytest.raises(InTheWay, match="/bucket/d is a file"):
        await local.bucket.list("d")
    with pytest.raises(InTheWay, match="/bucket/d is a file"):
        _ = [each async for each in local.bucket.walk("d")]
    with pytest.raises(InTheWay, match="/bucket/d is a file"):
        _ = [each async for each in IBulkReads(local.bucket).names("d")]


@pytest_twisted.ensureDeferred
async def test_a_directory_in_the_place_of_a_file(local: LocalStorage) -> None:
    """With something in it, it may be somebody's, and is named; it can be put out of the way as it is."""
    await local.bucket.put("e/f", b"")
    source = local.spooled(b"whole")
    for call in (
        local.bucket.put("e", b""),
        local.bucket.put_file("e", source),
        local.bucket.get("e", 1),
        local.bucket.stat("e"),
        local.bucket.open("e"),
        local.bucket.remove("e"),
    ):
        with pytest.raises(Corrupt, match="/bucket/e is a directory"):
            await call
    assert await local.bucket.get("e/f", 1) == b""
    await local.bucket.move("e", "away/e")
    assert await local.bucket.get("away/e/f", 1) == b""
    await local.bucket.put("e", b"1")
    assert await local.bucket.get("e", 1) == b"1"
    # An empty one is what a kill leaves.
    for name in ("g", "h", "i"):
        (local.top / name).mkdir()
    await local.bucket.put("g", b"1")
    await local.bucket.put_file("h", source)
    await local.bucket.remove("i")
    assert [await local.bucket.get(name, 5) for name in ("g", "h")] == [b"1", b"whole"]


@pytest_twisted.ensureDeferred
async def test_a_bad_spot_of_the_disk_is_damage_and_no_outage(local: LocalStorage) -> None:
    await local.bucket.put("f", b"content")
    reader = await local.bucket.open("f")
    for number, wanted in ((errno.EIO, Corrupt), (errno.ENOMEM, Unavailable)):
        consumer = Collecting()
        with failing(number, "pread"), pytest.raises(wanted):
            await read_into(reader, consumer, 0, 7)
        assert consumer.producer is None
    os.truncate(local.top / "f", 3)
    with pytest.raises(Corrupt):
        await read_into(reader, Collecting(), 0, 7)
    reader.close()


class Calls:
    """What the functions of `os` that make things durable were asked, in order."""

    def __init__(self, patch: pytest.MonkeyPatch, directory: Path) -> None:
        self.made: list[str] = []
        self._directory = directory
        fsync, replace, mkdir, unlink = os.fsync, os.replace, os.mkdir, os.unlink

        def note_fsync(descriptor: int) -> None:
            fsync(descriptor)
            self._note("fsync", _path_of(descriptor))

        def note_replace(source: Any, destination: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int) -> None:
            replace(source, destination, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
            self._note("replace", f"{_path_of(dst_dir_fd)}/{destination}")

        def note_mkdir(path: Any, *, dir_fd: int) -> None:
            mkdir(path, dir_fd=dir_fd)
            self._note("mkdir", f"{_path_of(dir_fd)}/{path}")

        def note_unlink(path: Any, *, dir_fd: int) -> None:
            unlink(path, dir_fd=dir_fd)
            self._note("unlink", f"{_path_of(dir_fd)}/{path}")

        for name, function in (
            ("fsync", note_fsync),
            ("replace", note_replace),
            ("mkdir", note_mkdir),
            ("unlink", note_unlink),
        ):
            patch.setattr(os, name, function)

    def _note(self, call: str, path: str) -> None:
        name = str(Path(path).relative_to(self._directory))
        self.made.append(f"{call} {'drafts/*' if name.startswith('drafts/') else name}")


def _path_of(descriptor: int) -> str:
    return os.readlink(f"/proc/self/fd/{descriptor}")


@pytest_twisted.ensureDeferred
async def test_the_order_that_makes_it_durable(local: LocalStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    source = local.spooled(b"a file")
    calls = Calls(monkeypatch, local.directory)

    async def made_by(write: Awaitable[None]) -> list[str]:
        calls.made.clear()
        await write
        return list(calls.made)

    assert await made_by(local.bucket.put("a/b/f", b"")) == [
        "mkdir bucket/a",
        "mkdir bucket/a/b",
        "fsync drafts/*",
        "fsync bucket",
        "fsync bucket/a",
        "replace bucket/a/b/f",
        "fsync bucket/a/b",
    ]
    assert await made_by(local.bucket.put("a/b/f", b"2")) == [
        "fsync drafts/*",
        "replace bucket/a/b/f",
        "fsync bucket/a/b",
    ]
    assert await made_by(local.bucket.put_file("a/b/g", source)) == [
        "replace bucket/a/b/g",
        "fsync bucket/a/b",
        "fsync spool",
    ]
    assert await made_by(local.bucket.move("a/b/g", "a/g")) == [
        "replace bucket/a/g",
        "fsync bucket/a",
        "fsync bucket/a/b",
    ]
    assert await made_by(local.bucket.remove("a/b/f")) == ["unlink bucket/a/b/f", "fsync bucket/a/b"]
    assert not (local.top / "a/b").exists()


@pytest_twisted.ensureDeferred
async def test_a_directory_that_another_thread_is_making_is_made_durable_too(
    local: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second writer must not rely on the first one's fsync of the parent, which may come later."""
    fsync, made = os.fsync, threading.Event()
    late, synced = threading.Event(), []

    def slow_fsync(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if path == str(local.top) and not made.is_set():
            made.set()
            assert late.wait(5)
        fsync(descriptor)
        synced.append(path)

    monkeypatch.setattr(os, "fsync", slow_fsync)
    first = local.bucket.put("d/first", b"")
    while not made.is_set():
        await pause(0.005)
    await local.bucket.put("d/second", b"")
    assert str(local.top) in synced
    assert not first.called
    late.set()
    await first


@pytest_twisted.ensureDeferred
async def test_a_directory_whose_sync_failed_is_made_durable_by_the_next_writer(
    local: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync, broken, synced = os.fsync, True, []

    def failing_fsync(descriptor: int) -> None:
        path = os.path.relpath(_path_of(descriptor), local.top)
        if broken and path in {".", "d"}:
            raise OSError(errno.EIO, "it fails")
        fsync(descriptor)
        synced.append(path)

    monkeypatch.setattr(os, "fsync", failing_fsync)
    for name in ("first", "second"):
        with pytest.raises(Unavailable):
            await local.bucket.put(f"d/e/{name}", b"")
    broken = False
    synced.clear()
    await local.bucket.put("d/e/third", b"")
    assert {"d/e", "d", "."} <= set(synced)


@pytest_twisted.ensureDeferred
async def test_a_long_way_of_new_directories(local: LocalStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """All are made durable, and only some are open at a time."""
    fsync, synced, most = os.fsync, set(), 0
    before = len(os.listdir("/proc/self/fd"))

    def counting_fsync(descriptor: int) -> None:
        nonlocal most
        fsync(descriptor)
        synced.add(_path_of(descriptor))
        most = max(most, len(os.listdir("/proc/self/fd")))

    monkeypatch.setattr(os, "fsync", counting_fsync)
    names = [f"d{number}" for number in range(60)]
    await local.bucket.put("/".join([*names, "f"]), b"content")
    above = local.top
    for name in names:
        assert str(above) in synced
        above /= name
    assert str(above) in synced
    assert most - before < 30
    assert await local.bucket.get("/".join([*names, "f"]), 10) == b"content"


@pytest_twisted.ensureDeferred
async def test_removing_beside_another_that_empties_the_directory(
    local: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory may be gone when the first one wants to fsync it; its file was removed all the same."""
    unlink = os.unlink
    await local.bucket.put("a/b/first", b"")

    def then_the_other(path: Any, *, dir_fd: int) -> None:
        unlink(path, dir_fd=dir_fd)
        os.rmdir(local.top / "a/b")

    monkeypatch.setattr(os, "unlink", then_the_other)
    await local.bucket.remove("a/b/first")
    monkeypatch.undo()
    assert await local.bucket.list("a") == []
    assert not (local.top / "a").exists()


@pytest_twisted.ensureDeferred
async def test_a_walk_of_a_long_directory(local: LocalStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order and in parts, but whole where it has directories."""
    monkeypatch.setattr("ipfsreg.bucket.local.tree._PART", 10)
    await local.bucket.start()
    await local.bucket.put("files/0", b"")
    for number in range(1, 35):
        (local.top / "files" / str(number)).touch()
    (local.top / "files" / "7").unlink()
    (local.top / "files" / "7").symlink_to("6")

    async def parts() -> list[Sequence[Entry]]:
        return [listing.entries async for listings in local.bucket.walk("files") for listing in listings]

    found = await parts()
    assert [len(each) for each in found] == [10, 10, 10, 5]
    everything = [entry for entries in found for entry in entries]
    assert everything == await local.bucket.list("files")
    assert Entry("7", is_directory=False, strange=True) in everything
    await local.bucket.put("files/below/one", b"")
    assert [len(each) for each in await parts()] == [36, 1]


@pytest_twisted.ensureDeferred
async def test_a_volume_that_goes_away_in_the_middle_of_a_walk(local: LocalStorage) -> None:
    """What is below must not look as if it had been removed: the collector would believe it."""
    for number in range(1000):
        (local.top / f"d/{number}").mkdir(parents=True)
        (local.top / f"d/{number}/f").touch()
    seen = 0
    walk = local.bucket.walk("d")
    async for listings in walk:
        seen += len(listings)
        break
    assert seen < 1001
    async with local.outage():
        with pytest.raises(Unavailable):
            await anext(walk)


@pytest_twisted.ensureDeferred
async def test_what_a_kill_left(local: LocalStorage) -> None:
    (local.directory / "drafts" / "half").write_bytes(b"hal")
    (local.top / "a/b/c").mkdir(parents=True)
    (local.top / "a/d").mkdir()
    await local.bucket.put("a/f", b"")
    bucket = await local.reopened()
    assert list((local.directory / "drafts").iterdir()) == []
    assert [each async for listings in bucket.walk("a") for each in listings]
    assert await bucket.list("a") == [Entry("f", False)]  # the walk tidied up


@pytest_twisted.ensureDeferred
async def test_directories_that_cannot_be_used(tmp_path: Path) -> None:
    workers = Workers(reactor, 2)
    workers.startService()
    try:
        (tmp_path / "file").write_bytes(b"")
        (tmp_path / "half").mkdir()
        (tmp_path / "half/bucket").write_bytes(b"")
        for directory in (tmp_path / "file", tmp_path / "half"):
            with pytest.raises(SetupError, match="change `path`"):
                await LocalBucket(directory, workers).start()
        if Path("/dev/shm").is_dir() and os.stat("/dev/shm").st_dev != tmp_path.stat().st_dev:
            with TemporaryDirectory(dir="/dev/shm") as elsewhere:
                (tmp_path / "two").mkdir()
                (tmp_path / "two/bucket").symlink_to(elsewhere)
                with pytest.raises(SetupError, match="one file system"):
                    await LocalBucket(tmp_path / "two", workers).start()
    finally:
        workers.stopService()


@pytest_twisted.ensureDeferred
async def test_a_new_directory_deep_down(tmp_path: Path) -> None:
    workers = Workers(reactor, 2)
    workers.startService()
    try:
        bucket = LocalBucket(tmp_path / "some/where/new", workers)
        await bucket.start()
        await bucket.put("f", b"1")
        assert await bucket.get("f", 1) == b"1"
    finally:
        workers.stopService()


@pytest_twisted.ensureDeferred
async def test_closing_while_a_piece_is_read(local: LocalStorage) -> None:
    await local.bucket.put("f", b"x" * 1000)
    reader = await local.bucket.open("f")
    consumer = Collecting()
    done = read_into(reader, consumer, 0, 1000)
    assert reader.file is not None
    reader.close()
    assert not reader.file.closed
    await done
    assert (len(consumer.content), reader.file.closed) == (1000, True)
