"""The traps of docs/protocols/space.md, "Traps", from the eighth on: see `test_traps`."""

import os
from collections.abc import AsyncIterator, Awaitable, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from ipfsreg.bucket.cache import small_files
from ipfsreg.bucket.interface import Stat
from ipfsreg.bucket.space import listings
from ipfsreg.bucket.space.options import SpaceOptions
from ipfsreg.registry import layout
from ipfsreg.registry.digest import digest_of
from ipfsreg.registry.names import Repository
from tests.bucket.contract import together
from tests.bucket.helpers import read
from tests.bucket.running import StoppedClock, pause, running
from tests.web.client import until
from tests.web.served import digest_of as digest_text

from .backend import LIMIT, Backend
from .double import SpaceDouble
from .registry import served

pytest_plugins = ["tests.bucket.space.double.fixtures"]

LAYER = os.urandom(700_000)  # more than a block, so that the daemon tells a wrong size


@pytest_twisted.async_yield_fixture()
async def backend(space_daemon: SpaceDouble, tmp_path: Path) -> AsyncIterator[Backend]:
    async with running(Backend(space_daemon, tmp_path / "daemon", cached=True)) as each:
        yield each
    check_quiet(space_daemon)


def check_quiet(double: SpaceDouble) -> None:
    """Nobody touched a copy, and nothing is left over."""
    double.look_at_copies()
    assert double.touched == []
    assert double.junk() == []


class SlowListings:
    """Has the double's listings take as long as a test says, on a clock that does not depend on the machine."""

    def __init__(self, double: SpaceDouble) -> None:
        self.clock = StoppedClock()
        self._double = double

    async def take(self, seconds: float, *work: Awaitable[Any]) -> Any:
        """Do something that lists a directory, which takes so long; answers the first one's result."""
        before = len(self._listed())

        async def time_goes_on() -> None:
            await until(lambda: len(self._listed()) > before)
            self.clock.now += seconds

        self._double.faults.entry_seconds = 0.01  # one entry after the other, so that the clock goes in their midst
        first, *_ = await together(*work, time_goes_on())
        self._double.faults.entry_seconds = 0.0
        return first

    def _listed(self) -> Sequence[object]:
        return self._double.calls.of("ListDirectory")


def blob(content: bytes) -> str:
    return layout.blob(digest_of(content))


@pytest_twisted.ensureDeferred
async def test_trap_08_head_opens_nothing(
    space_daemon: SpaceDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small_files, "SHARED_SECONDS", 0.0)
    # A busy machine may take longer than a push waits for the sizes of what it has written.
    monkeypatch.setattr("ipfsreg.bucket.space.small_files.QUICK_SECONDS", 60.0)
    monkeypatch.setattr(listings, "PATIENT_SECONDS", 60.0)
    async with served(tmp_path / "daemon", space_daemon) as registry:
        manifest = await registry.push_image("1", layers=[LAYER])
    # Also after a start without any cache: the sizes were kept.
    registry.wipe_cache()
    space_daemon.calls.clear()
    async with served(tmp_path / "daemon", space_daemon) as registry:
        for _ in range(2):
            answer = await registry.ask("HEAD", f"/v2/box/blobs/{digest_text(LAYER)}")
            assert (answer.status, answer["content-length"]) == (200, str(len(LAYER)))
            assert (await registry.ask("HEAD", f"/v2/box/blobs/{digest_text(b'none')}")).status == 404
        for reference in ("1", digest_text(manifest)):
            answer = await registry.ask("HEAD", f"/v2/box/manifests/{reference}")
            assert (answer.status, answer["content-length"]) == (200, str(len(manifest)))
        assert opened(space_daemon) == []
        other = await registry.push_image("2", layers=[b"other"])
        space_daemon.calls.clear()
        for reference in ("2", digest_text(other)):
            answer = await registry.ask("HEAD", f"/v2/box/manifests/{reference}")
            assert (answer.status, answer["content-length"]) == (200, str(len(other)))
        assert opened(space_daemon) == []
    # Of an image that somebody else pushed its small files are read: the tag, the record and the manifest.
    async with served(tmp_path / "third", space_daemon) as registry:
        for reference in ("1", digest_text(manifest)):
            answer = await registry.ask("HEAD", f"/v2/box/manifests/{reference}")
            assert (answer.status, answer["content-length"]) == (200, str(len(manifest)))
        small = {layout.VERSION_FILE, blob(manifest)}
        assert all("/_tags/" in path or "/_manifests/" in path for path in {*opened(space_daemon)} - small)
    # Where nobody has kept the size, one small file is read, once, and not the content.
    space_daemon.calls.clear()
    async with served(tmp_path / "other", space_daemon) as registry:
        for _ in range(3):
            assert (await registry.ask("HEAD", f"/v2/box/blobs/{digest_text(LAYER)}")).status == 200
        link = layout.blob_link(Repository("box"), digest_of(LAYER))
        assert [path for path in opened(space_daemon) if path != layout.VERSION_FILE] == [link]


def opened(double: SpaceDouble) -> list[str]:
    """The paths of all files that were opened."""
    return [record.request.path for record in double.calls.of("OpenFile")]


@pytest_twisted.ensureDeferred
async def test_trap_09_sizes_are_not_believed_and_listings_are_slow(space_daemon: SpaceDouble, tmp_path: Path) -> None:
    double, slow = space_daemon, SlowListings(space_daemon)
    async with running(Backend(double, tmp_path / "daemon", cached=True, clock=slow.clock)) as backend:
        bucket = backend.bucket
        await together(*(bucket.put(f"d/{number}", b"x") for number in range(20)))
        double.put_files({"d/large": LAYER})
        assert await bucket.stat("d/large") == Stat(None)
        assert await read(backend.space, "d/large") == LAYER
        double.calls.clear()
        await slow.take(0.4, *(bucket.stat(f"d/{number}") for number in range(20)))
        assert len(double.calls.of("ListDirectory")) == 1
        slow.clock.now += 0.39
        await bucket.stat("d/0")  # a slow one is believed for as long as it took
        assert len(double.calls.of("ListDirectory")) == 1
        # But what is changed here is seen at once.
        await bucket.put("d/new", b"x")
        assert (await bucket.stat("d/new")) == Stat(None)
        assert all(record.request.omitMembers for record in double.calls.of("ListDirectory"))
        # A fast one is asked for anew: others may have changed it.
        double.put_files({"d/of others": b"x"})
        await bucket.stat("d/of others")
    check_quiet(double)


@pytest_twisted.ensureDeferred
async def test_trap_10_and_12_binary_posts_only(backend: Backend) -> None:
    await backend.bucket.put("d/f", b"x")
    assert await backend.bucket.get("d/f", LIMIT) == b"x"
    assert {record.transport for record in backend.double.calls} == {"post"}
    assert {record.metadata["content-type"] for record in backend.double.calls} == {"application/grpc-web+proto"}


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("[::1]", False), ("192.0.2.1", True)])
def test_trap_11_open_ports(host: str, warned: bool, tmp_path: Path) -> None:
    options = SpaceOptions.model_validate({"url": f"http://{host}:1", "path": tmp_path})
    assert ["is not this machine" in each for each in options.warnings()] == [True] * warned
    text = (Path(__file__).parents[3] / "docs" / "space.md").read_text()
    for what in ("all interfaces", "9997", "9998", "9999", "any web page"):
        assert what in text


@pytest_twisted.ensureDeferred
async def test_trap_08_where_listing_is_slow(
    space_daemon: SpaceDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory that takes a while is waited for; one that takes long is opened from, until it may be quick again."""
    double, slow = space_daemon, SlowListings(space_daemon)
    monkeypatch.setattr(listings, "PATIENT_SECONDS", 60.0)
    monkeypatch.setattr("ipfsreg.bucket.space.small_files.QUICK_SECONDS", 60.0)
    async with running(Backend(double, tmp_path / "daemon", cached=True, clock=slow.clock)) as backend:
        bucket = backend.bucket
        double.put_files({f"d/{number}": b"x" for number in range(9)})
        await bucket.put("d/tag", b"content")
        for _ in range(2):
            assert await slow.take(0.3, bucket.get("d/tag", LIMIT)) == b"content"
            slow.clock.now += 0.5
        assert opened(double) == []
        monkeypatch.setattr(listings, "PATIENT_SECONDS", 0.1)
        monkeypatch.setattr(listings, "SLOW_SECONDS", 0.8)
        monkeypatch.setattr(listings, "SLOW_TIMES", 1)
        double.calls.clear()
        assert len(await slow.take(0.3, bucket.list("d"))) == 10
        assert await bucket.get("d/tag", LIMIT) == b"content"  # by that listing, which is believed for as long
        assert double.calls.methods() == ["ListDirectory"]
        slow.clock.now += 0.4
        assert await bucket.get("d/tag", LIMIT) == b"content"
        assert double.calls.methods() == ["ListDirectory", "OpenFile"]
        monkeypatch.setattr(listings, "PATIENT_SECONDS", 60.0)
        slow.clock.now += 0.5
        for _ in range(2):
            assert await bucket.get("d/tag", LIMIT) == b"content"
        assert double.calls.methods() == ["ListDirectory", "OpenFile"] + ["ListDirectory"] * 2
    check_quiet(double)


@pytest_twisted.ensureDeferred
async def test_trap_13_the_same_name_again(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = backend.bucket
    for content in (b"first", b"second", b"first", b""):
        await bucket.put("d/tag", content)
        assert await bucket.get("d/tag", LIMIT) == content
    # What was written here is known, as long as it is what is there.
    assert opened(backend.double) == []
    backend.double.put_files({"d/tag": b"of somebody else"})
    assert await bucket.get("d/tag", LIMIT) == b"of somebody else"
    backend.double.put_files({"d/tag": b"first"})
    assert await bucket.get("d/tag", LIMIT) == b"first"
    assert opened(backend.double) == ["d/tag"] * 2
    # Where listing is slow nothing waits for that, and then nothing is listed for it.
    monkeypatch.setattr(listings, "PATIENT_SECONDS", 0.2)
    backend.double.faults.entry_seconds = 1.0
    await bucket.put("d/tag", b"slow")
    assert [record.method for record in backend.double.calls.running()] == ["ListDirectory"]
    while backend.double.calls.running():
        await pause(0.02)
    await pause(0.02)
    backend.double.calls.clear()
    await bucket.put("d/tag", b"slower")
    assert await bucket.get("d/tag", LIMIT) == b"slower"
    assert backend.double.calls.methods() == ["AddItems", "OpenFile"]


@pytest_twisted.ensureDeferred
async def test_trap_14_deletes_that_are_undone(
    space_daemon: SpaceDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restore brings back what the mirror has. That is then whole, and can be deleted again."""
    monkeypatch.setattr(small_files, "SHARED_SECONDS", 0.0)
    space_daemon.record().backup = True
    async with served(tmp_path / "daemon", space_daemon) as registry:
        manifest = await registry.push_image("1", layers=[LAYER])
        target = f"/v2/box/manifests/{digest_text(manifest)}"
        assert (await registry.ask("DELETE", target)).status == 202
        await registry.daemon.registry.collector.run(grace=0.0)
        assert (await registry.ask("GET", target)).status == 404
        assert not [path for path in space_daemon.files() if path.startswith(("blobs", "repositories"))]
        space_daemon.put_files({path: space_daemon_read(space_daemon, path) for path in space_daemon.record().mirror})
        assert (await registry.ask("GET", "/v2/box/manifests/1")).content == manifest
        assert (await registry.ask("GET", f"/v2/box/blobs/{digest_text(LAYER)}")).content == LAYER
        assert (await registry.ask("DELETE", target)).status == 202
        await registry.daemon.registry.collector.run(grace=0.0)
        assert not [path for path in space_daemon.files() if path.startswith(("blobs", "repositories"))]


def space_daemon_read(double: SpaceDouble, path: str) -> bytes:
    record = double.record()
    return b"".join(record.cipher.opened(record.mirror[path].content))


# Trap 15, that only the hub's own word says what it has, is in test_commands.
