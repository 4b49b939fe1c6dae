"""How a directory is known to be the bucket: one that has gone, or is another, is an outage."""

from collections.abc import AsyncIterator
from pathlib import Path
from shutil import rmtree

import pytest
import pytest_twisted
from twisted.logger import LogEvent, formatEvent

from ipfsreg.bucket.errors import NotFound, SetupError, Unavailable
from ipfsreg.bucket.local.bucket import LocalBucket

from .test_local import LocalStorage


@pytest_twisted.async_yield_fixture()
async def local(tmp_path: Path) -> AsyncIterator[LocalStorage]:
    """A bucket that was started."""
    storage = LocalStorage(tmp_path)
    await storage.bucket.start()
    yield storage
    await storage.bucket.stop()
    storage.workers.stopService()


def logged(log: list[LogEvent]) -> str:
    return "\n".join(formatEvent(event) or "" for event in log)


@pytest_twisted.ensureDeferred
async def test_a_new_bucket_is_told_of(local: LocalStorage, tmp_path: Path, log: list[LogEvent]) -> None:
    """An empty directory may be where a volume should have been mounted."""
    await LocalBucket(tmp_path / "new", local.workers).start()
    assert f"{tmp_path}/new/bucket: there was no bucket" in logged(log)
    log.clear()
    await LocalBucket(tmp_path / "new", local.workers).start()
    assert "there was no bucket" not in logged(log)


@pytest_twisted.ensureDeferred
async def test_a_command_makes_no_bucket(local: LocalStorage, tmp_path: Path) -> None:
    bucket = LocalBucket(tmp_path / "new", local.workers)
    with pytest.raises(SetupError, match=r"there is no bucket in .*/new"):
        await bucket.existing()
    assert not (tmp_path / "new").exists()
    await bucket.start()
    await LocalBucket(tmp_path / "new", local.workers).existing()


@pytest.mark.parametrize("left", ["nothing", "an empty directory", "files"])
@pytest_twisted.ensureDeferred
async def test_a_bucket_that_has_gone_is_not_made_anew(local: LocalStorage, left: str) -> None:
    await local.bucket.put("f", b"")
    if left == "files":
        (local.top / ".bucket").unlink()
    else:
        rmtree(local.top)
        if left == "an empty directory":
            local.top.mkdir()
    other = LocalBucket(local.directory, local.workers)
    for attempt in (other.start, other.existing):
        with pytest.raises(SetupError, match="bucket"):
            await attempt()
    with pytest.raises(Unavailable):
        await local.bucket.get("missing", 10)
    assert not (local.top / ".bucket").exists()


@pytest_twisted.ensureDeferred
async def test_another_bucket_in_its_place(local: LocalStorage) -> None:
    """Somebody removed everything, and something made a new bucket: that nothing is in it is no absence."""
    await local.bucket.put("f", b"")
    rmtree(local.directory)
    other = LocalBucket(local.directory, local.workers)
    await other.start()
    for operation in (local.bucket.get("f", 10), local.bucket.list("d"), local.bucket.put("g", b"")):
        with pytest.raises(Unavailable):
            await operation
    with pytest.raises(NotFound):
        await other.get("f", 10)
    rmtree(local.directory)
    (await local.reopened()).stop()
