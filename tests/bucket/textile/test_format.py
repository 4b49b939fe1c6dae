"""How paths are written in a bucket, and what says so: see `ipfsreg.bucket.textile.paths`."""

from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from ipfsreg.bucket.errors import BucketError, NotFound
from ipfsreg.bucket.textile import capacity
from ipfsreg.bucket.textile.paths import FOLDED, FORMAT_FILE, SEED, fold
from tests.bucket.contract import together
from tests.web.served import Served

from .backend import LIMIT, Backend
from .double import TextileDouble
from .registry import served

pytest_plugins = ["tests.bucket.textile.trap_fixtures"]

BUCKET = "ipfsreg"


@pytest.fixture
def old(buckd: TextileDouble) -> TextileDouble:
    """A private bucket as an earlier ipfsreg left it."""
    buckd.add_bucket(buckd.add_thread("buckets"), BUCKET, private=True)
    buckd.put_files(BUCKET, {FORMAT_FILE: b"1\n", "d/f": b"old"})
    return buckd


def backend(double: TextileDouble, directory: Path, **more: Any) -> Backend:
    return Backend(double, directory, **{"encrypted": True, **more})


def paths_in(double: TextileDouble, bucket: str = BUCKET) -> set[str]:
    return set(double.files(bucket)) - {SEED}


@pytest_twisted.ensureDeferred
async def test_a_new_private_bucket_says_that_its_paths_are_folded(buckd: TextileDouble, tmp_path: Path) -> None:
    one = await backend(buckd, tmp_path / "one").start()
    await one.bucket.put("d/f", b"x")
    await one.bucket.put("d/e/f", b"y")
    await one.stop()
    assert paths_in(buckd) == {FORMAT_FILE, fold("d/f"), fold("d/e/f")}
    # What an earlier ipfsreg takes for the layout's version.
    assert buckd.read(BUCKET, FORMAT_FILE) == FOLDED
    other = await backend(buckd, tmp_path / "other").start()
    assert await other.bucket.get("d/e/f", LIMIT) == b"y"
    assert [entry.name for entry in await other.bucket.list("d")] == ["e", "f"]
    with pytest.raises(NotFound):
        await other.bucket.get(FORMAT_FILE, LIMIT)
    await other.bucket.remove("d/f")
    assert [entry.name for entry in await other.bucket.list("d")] == ["e"]
    await other.stop()


@pytest_twisted.ensureDeferred
async def test_an_old_private_bucket_is_read_and_written_as_it_is(
    old: TextileDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it grows: an earlier ipfsreg beside this one has to find what is there."""
    monkeypatch.setattr(capacity, "FULL", 8)
    daemon = await backend(old, tmp_path).start()
    assert await daemon.bucket.get("d/f", LIMIT) == b"old"
    for number in range(12):
        await daemon.bucket.put(f"d/{number}", b"x")
    assert len(await daemon.bucket.list("d")) == 13
    walked = [listing.directory async for each in daemon.bucket.walk("d") for listing in each]
    assert walked == ["d"]
    await daemon.stop()
    written = {path for each in old.buckets.all() for path in paths_in(old, each.key)}
    assert written == {FORMAT_FILE, "d/f", *(f"d/{number}" for number in range(12))}
    assert len(old.buckets.all()) > 1


@pytest_twisted.ensureDeferred
async def test_a_public_bucket_has_plain_paths(buckd: TextileDouble, tmp_path: Path) -> None:
    daemon = await backend(buckd, tmp_path, encrypted=False).start()
    await daemon.bucket.put("d/f", b"x")
    await daemon.stop()
    assert paths_in(buckd) == {"d/f"}


@pytest_twisted.ensureDeferred
async def test_levels_are_folded_as_the_first(
    buckd: TextileDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capacity, "FULL", 8)
    names = {f"d/{number % 3}/{number}" for number in range(20)}
    daemon = await backend(buckd, tmp_path / "one").start()
    for name in sorted(names):
        await daemon.bucket.put(name, b"x")
    await daemon.stop()
    assert len(buckd.buckets.all()) > 1
    for each in buckd.buckets.all():
        assert buckd.read(each.key, FORMAT_FILE) == FOLDED
    daemon = await backend(buckd, tmp_path / "two").start()
    found = {
        f"{listing.directory}/{entry.name}"
        async for listings in daemon.bucket.walk("d")
        for listing in listings
        for entry in listing.entries
        if not entry.is_directory
    }
    assert found == names
    await daemon.stop()


@pytest_twisted.ensureDeferred
async def test_two_daemons_that_begin_at_once(buckd: TextileDouble, tmp_path: Path) -> None:
    daemons = [await backend(buckd, tmp_path / name).start() for name in ("one", "two")]
    await together(*(each.bucket.put(f"d/{number}", b"x") for number in range(10) for each in daemons))
    for each in daemons:
        assert len(await each.bucket.list("d")) == 10
        await each.stop()
    assert paths_in(buckd) == {FORMAT_FILE, *(fold(f"d/{number}") for number in range(10))}


@pytest_twisted.ensureDeferred
async def test_nothing_is_written_before_the_bucket_says_how(buckd: TextileDouble, tmp_path: Path) -> None:
    daemon = await backend(buckd, tmp_path).start()
    await daemon.textile.shards.first.ensure()
    buckd.faults.storage_exhausted = True
    with pytest.raises(BucketError):
        await daemon.bucket.put("d/f", b"x")
    assert paths_in(buckd) == set()
    buckd.faults.storage_exhausted = False
    await daemon.bucket.put("d/f", b"x")
    assert paths_in(buckd) == {FORMAT_FILE, fold("d/f")}
    await daemon.stop()


@pytest_twisted.ensureDeferred
async def test_a_walk_asks_each_bucket_once(buckd: TextileDouble, tmp_path: Path) -> None:
    daemon = await backend(buckd, tmp_path).start()
    await together(*(daemon.bucket.put(f"d/{number % 5}/{number}", b"x") for number in range(30)))
    asked = len(buckd.calls.of("Root")) + len(buckd.calls.of("ListPath"))
    listed = [listing.directory async for each in daemon.bucket.walk("d") for listing in each]
    assert listed == ["d", *(f"d/{number}" for number in range(5))]
    assert len(buckd.calls.of("Root")) + len(buckd.calls.of("ListPath")) == asked + 1
    await daemon.stop()


@pytest_twisted.ensureDeferred
async def test_an_image_in_an_old_private_bucket(old: TextileDouble, tmp_path: Path) -> None:
    async def check(registry: Served) -> None:
        assert (await registry.ask("GET", "/v2/team/app/tags/list")).json()["tags"] == ["1"]
        assert (await registry.ask("GET", "/v2/team/app/manifests/1")).status == 200

    async with served(tmp_path / "one", old, None, encrypted="yes") as registry:
        await registry.push_image("1", "team/app", layers=[b"layer"])
        await check(registry)
    async with served(tmp_path / "two", old, None, encrypted="yes") as registry:
        await check(registry)
    assert old.read(BUCKET, FORMAT_FILE) == b"1\n"
