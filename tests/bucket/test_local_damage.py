"""What is below the bucket's directory and neither a file nor a directory: never followed, never waited for."""

import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
import pytest_twisted

from ipfsreg.bucket.errors import BucketError, Corrupt, NotFound, SetupError
from ipfsreg.bucket.interface import Entry
from ipfsreg.bucket.local import beneath

from .test_local import LocalStorage

LIMIT = 1000


def make_link(path: Path, outside: Path) -> None:
    path.symlink_to(outside)


def make_file_link(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "secret")


def make_loop(path: Path, outside: Path) -> None:
    path.symlink_to(path)


def make_dangling(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "nothing")


def make_fifo(path: Path, outside: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path, outside: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        here = os.getcwd()
        os.chdir(path.parent)  # the path of a socket is short
        try:
            bound.bind(path.name)
        finally:
            os.chdir(here)


def make_device(path: Path, outside: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero: it would never end
    except PermissionError:
        pytest.skip("only root makes devices")


STRANGERS = [make_link, make_file_link, make_loop, make_dangling, make_fifo, make_socket, make_device]

Make = Callable[[Path, Path], None]


@pytest_twisted.async_yield_fixture(params=["at once", "by steps"])
async def local(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[LocalStorage]:
    """A bucket, with and without the system call that resolves a path at once."""
    if request.param == "by steps":
        monkeypatch.setattr(beneath, "has_openat2", lambda: False)
    elif not beneath.has_openat2():
        pytest.skip("the kernel has no openat2")
    storage = LocalStorage(tmp_path / "store")
    await storage.bucket.start()
    yield storage
    await storage.close()


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A tree that is not the bucket's, with empty directories and a file."""
    for directory in ("empty", "deep/down/empty", "full"):
        (tmp_path / "outside" / directory).mkdir(parents=True)
    for file in ("secret", "full/file"):
        (tmp_path / "outside" / file).write_bytes(b"secret")
    return tmp_path / "outside"


def tree(directory: Path) -> list[tuple[str, int, bytes | None]]:
    """All of a directory, with the times at which anything in it was changed."""
    return sorted(
        (str(each), each.lstat().st_mtime_ns, each.read_bytes() if each.is_file() else None)
        for each in (directory, *directory.rglob("*"))
    )


@pytest.mark.parametrize("make", STRANGERS)
@pytest_twisted.ensureDeferred
async def test_in_the_place_of_a_file(local: LocalStorage, outside: Path, make: Make) -> None:
    before = tree(outside)
    bucket = local.bucket
    await bucket.put("d/other", b"")
    make(local.top / "d/f", outside)
    for read in (partial(bucket.get, "d/f", LIMIT), partial(bucket.stat, "d/f"), partial(bucket.open, "d/f")):
        with pytest.raises(Corrupt, match="/bucket/d/f is a"):
            await read()
    assert await bucket.list("d") == [Entry("f", False, strange=True), Entry("other", False)]
    walked = [each.directory async for listings in bucket.walk("d") for each in listings]
    assert walked == ["d"]
    # It can be put out of the way, replaced and removed, as any damaged file.
    await bucket.move("d/f", "away/f")
    assert await bucket.list("away") == [Entry("f", False, strange=True)]
    with pytest.raises(NotFound):
        await bucket.stat("d/f")
    await bucket.put("away/f", b"whole")
    assert await bucket.get("away/f", LIMIT) == b"whole"
    make(local.top / "d/f", outside)
    await bucket.put_file("d/f", local.spooled(b"whole"))
    assert await bucket.get("d/f", LIMIT) == b"whole"
    make(local.top / "d/g", outside)
    await bucket.remove("d/g")
    assert [entry.name for entry in await bucket.list("d")] == ["f", "other"]
    assert tree(outside) == before


@pytest.mark.parametrize("below", ["d", "d/empty", "d/deep/down"])
@pytest.mark.parametrize("make", STRANGERS)
@pytest_twisted.ensureDeferred
async def test_in_the_place_of_a_directory(local: LocalStorage, outside: Path, make: Make, below: str) -> None:
    """What belongs below it is not known to be missing."""
    before = tree(outside)
    bucket = local.bucket
    await bucket.put("kept/f", b"kept")
    make(local.top / "d", outside)
    path = f"{below}/f"
    calls: list[Callable[[], Awaitable[object]]] = [
        partial(bucket.get, path, LIMIT),
        partial(bucket.stat, path),
        partial(bucket.open, path),
        partial(bucket.put, path, b"written"),
        partial(bucket.put_file, path, local.spooled(b"written")),
        partial(bucket.move, "kept/f", path),
        partial(bucket.move, path, "kept/g"),
        partial(bucket.remove, path),
        partial(bucket.list, below),
        partial(walk, local, below),
    ]
    for call in calls:
        with pytest.raises(Corrupt, match="/bucket/d is a"):
            await call()
    assert await bucket.get("kept/f", LIMIT) == b"kept"
    assert tree(outside) == before


async def walk(local: LocalStorage, directory: str) -> list[str]:
    return [each.directory async for listings in local.bucket.walk(directory) for each in listings]


@pytest_twisted.ensureDeferred
async def test_a_walk_tidies_nothing_up_outside(local: LocalStorage, outside: Path) -> None:
    before = tree(outside)
    await local.bucket.put("d/f", b"")
    (local.top / "d/empty").mkdir()
    (local.top / "d/link").symlink_to(outside)
    (local.top / "d/parent").symlink_to("..")
    assert await walk(local, "d") == ["d"]
    assert not (local.top / "d/empty").exists()
    assert tree(outside) == before


@pytest_twisted.ensureDeferred
async def test_drafts_that_are_elsewhere(local: LocalStorage, outside: Path) -> None:
    """Neither are they written there, nor is what is there thrown away at the start."""
    drafts = local.directory / "drafts"
    drafts.rmdir()
    drafts.symlink_to(outside)
    before = tree(outside)
    with pytest.raises(BucketError, match="drafts"):
        await local.bucket.put("d/f", b"")
    with pytest.raises(SetupError, match="drafts"):
        await local.reopened()
    assert tree(outside) == before


@pytest_twisted.ensureDeferred
async def test_a_mark_that_nobody_could_open(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    (tmp_path / "bucket").mkdir()
    os.mkfifo(tmp_path / "bucket/.bucket")
    with pytest.raises(SetupError, match="is a FIFO"):
        await storage.bucket.start()
    await storage.close()


@pytest_twisted.ensureDeferred
async def test_the_directory_itself_may_be_a_link(tmp_path: Path) -> None:
    """It is what the configuration says, and may lead where the operator wants."""
    (tmp_path / "volume").mkdir()
    (tmp_path / "here").symlink_to(tmp_path / "volume")
    storage = LocalStorage(tmp_path / "here")
    await storage.bucket.start()
    await storage.bucket.put("d/f", b"content")
    assert await storage.bucket.get("d/f", LIMIT) == b"content"
    assert (tmp_path / "volume/bucket/d/f").read_bytes() == b"content"
    await storage.close()
