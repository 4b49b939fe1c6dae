"""The traps of docs/protocols/space.md, "Traps", by their numbers: each test fails for who falls into one."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_twisted

from ipfsreg.bucket.errors import BucketError, Corrupt, Full, NotFound, Refused, Unavailable
from ipfsreg.registry import layout
from ipfsreg.registry.digest import digest_of
from tests.bucket.contract import together
from tests.bucket.running import pause, running
from tests.web.served import digest_of as digest_text

from .backend import LIMIT, Backend
from .double import Fault, SpaceDouble
from .registry import served

pytest_plugins = ["tests.bucket.space.double.fixtures"]

LAYER = os.urandom(700_000)  # more than a block, so that the daemon tells a wrong size


@pytest_twisted.async_yield_fixture()
async def backend(space_daemon: SpaceDouble, tmp_path: Path) -> AsyncIterator[Backend]:
    async with running(Backend(space_daemon, tmp_path / "daemon", cached=True)) as each:
        yield each
    space_daemon.look_at_copies()
    assert space_daemon.touched == []
    assert space_daemon.junk() == []


def blob(content: bytes) -> str:
    return layout.blob(digest_of(content))


@pytest_twisted.ensureDeferred
async def test_trap_01_status_0_is_no_success(backend: Backend, tmp_path: Path) -> None:
    bucket, faults = backend.bucket, backend.double.faults
    faults.item_errors["f"] = "bucket encryption key missing"
    with pytest.raises(Unavailable, match="bucket encryption key missing"):
        await bucket.put("d/f", b"x")
    faults.item_errors = {"f": "open /x/f: permission denied"}
    with pytest.raises(Refused):
        await bucket.put("d/f", b"x")
    faults.item_errors = {"f": "write /x: no space left on device"}
    with pytest.raises(Full):
        await bucket.put("d/f", b"x")
    # What would mean a missing file elsewhere is none here.
    faults.item_errors = {"f": 'no link named "d" under bafybeigdyrzt'}
    with pytest.raises(Unavailable):
        await bucket.put("d/f", b"x")
    faults.item_errors = {}
    faults.unanswered_items.add("f")
    with pytest.raises(Unavailable, match="without a word"):
        await bucket.put("d/f", b"x")
    faults.unanswered_items.clear()
    # Several in one call: those that went well are there, and only they.
    faults.push_bytes_per_second = 1_000_000.0  # so that the others wait meanwhile
    first = bucket.put("d/first", bytes(100_000))
    await pause(0.02)
    faults.item_errors["bad"] = "bucket encryption key missing"
    outcomes = [bucket.put(f"d/{name}", name.encode()) for name in ("a", "bad", "b")]
    await first
    for name, outcome in zip(("a", "bad", "b"), outcomes, strict=True):
        if name == "bad":
            with pytest.raises(Unavailable):
                await outcome
        else:
            await outcome
            assert await bucket.get(f"d/{name}", LIMIT) == name.encode()
    with pytest.raises(NotFound):
        await bucket.get("d/bad", LIMIT)
    assert len(backend.double.calls.of("AddItems")[-1].request.sourcePaths) == 3
    # And the call itself that ends without a status.
    faults.add(Fault("AddItems", after_messages=1))
    with pytest.raises(Unavailable):
        await bucket.put("d/f", b"x")


@pytest_twisted.ensureDeferred
async def test_trap_01_a_failed_upload_is_not_answered_201(space_daemon: SpaceDouble, tmp_path: Path) -> None:
    async with served(tmp_path / "daemon", space_daemon) as registry:
        digest = digest_text(LAYER)
        space_daemon.faults.item_errors[digest.partition(":")[2]] = "bucket encryption key missing"
        target = f"/v2/box/blobs/uploads/?digest={digest}"
        answer = await registry.ask("POST", target, None, LAYER)
        assert (answer.status, answer["retry-after"]) == (503, "10")
        assert (await registry.ask("HEAD", f"/v2/box/blobs/{digest}")).status == 404
        space_daemon.faults.item_errors.clear()
        assert (await registry.ask("POST", target, None, LAYER)).status == 201
        assert (await registry.ask("HEAD", f"/v2/box/blobs/{digest}")).status == 200


@pytest_twisted.ensureDeferred
async def test_trap_02_copies_are_only_read(space_daemon: SpaceDouble, tmp_path: Path) -> None:
    """Pushed, pulled, deleted, collected, damaged, verified: no copy is deleted, moved or written to."""
    space = space_daemon
    async with served(tmp_path / "daemon", space) as registry:
        manifest = await registry.push_image("1", layers=[LAYER])
    registry.wipe_cache()
    async with served(tmp_path / "daemon", space) as registry:
        assert (await registry.ask("GET", f"/v2/box/blobs/{digest_text(LAYER)}")).content == LAYER
        assert (await registry.ask("GET", "/v2/box/manifests/1")).content == manifest
        space.put_files({blob(LAYER): LAYER[1:]})
        verification = await registry.daemon.registry.verifier.verify()
        assert not verification.damaged  # what is in the cache was verified when it came
    registry.wipe_cache()
    async with served(tmp_path / "daemon", space) as registry:
        verification = await registry.daemon.registry.verifier.verify()
        assert verification.damaged == [digest_text(LAYER)]
        assert space.read(layout.quarantined(digest_of(LAYER))) == LAYER[1:]
        assert (await registry.ask("DELETE", "/v2/box/manifests/1")).status == 202
        assert (await registry.daemon.registry.collector.run(grace=0.0)).contents > 0
        copies = space.world.opened.locations()
        assert len(copies) > 3
        assert all(copy.exists() and copy.stat().st_nlink == 1 for copy in copies)
        space.look_at_copies()
        assert space.touched == []
        # That the double would have noticed: a copy goes, and the daemon with it.
        copies[0].unlink()
        space.look_at_copies()
        await pause(0.01)
        assert not space.listening
        assert (await registry.ask("GET", "/v2/box/manifests/2")).status == 503


@pytest_twisted.ensureDeferred
async def test_trap_02_copies_that_are_out_of_reach(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon on another machine, or with a temporary directory of its own: no file is missing for that."""
    location = backend.double.world.temporary / "none"

    async def copy(*arguments: object) -> Path:
        return location

    monkeypatch.setattr(type(backend.double.service), "_copy", copy)
    backend.double.put_files({"d/f": b"x"})
    with pytest.raises(Unavailable, match="on the daemon's machine"):
        await backend.bucket.get("d/f", LIMIT)
    with pytest.raises(Unavailable, match="on the daemon's machine"):
        await backend.bucket.move("d/f", "d/g")
    location = backend.double.world.temporary
    backend.double.put_files({"d/f": b"y"})
    with pytest.raises(Unavailable, match="no file"):
        await backend.bucket.open("d/f")
    backend.double.world.opened.stop()  # that directory changes by itself


@pytest_twisted.ensureDeferred
async def test_trap_03_staged_under_its_name_until_the_stream_ends(backend: Backend, tmp_path: Path) -> None:
    bucket, double, staging = backend.bucket, backend.double, backend.options.staging
    double.faults.push_bytes_per_second = 5_000_000.0
    sources = []
    for number in range(3):
        source = tmp_path / f"source {number}"
        source.write_bytes(LAYER)
        sources.append(source)
    # The same name three times at once, in two directories; the same content, so that only the place differs.
    paths = [f"{directory}/{digest_of(LAYER).hex}" for directory in ("blobs/sha256/00", "d", "e")]
    uploads = [bucket.put_file(path, source) for path, source in zip(paths, sources, strict=True)]
    while len(list(staging.glob("*/*"))) < 3 or not double.calls.of("AddItems"):
        await pause(0.005)
    staged = list(staging.glob("*/*"))
    assert {path.name for path in staged} == {digest_of(LAYER).hex}
    assert {path.parent.parent for path in staged} == {staging}
    assert len({path.parent for path in staged}) == 3
    # A second name and no copy, and there while the daemon has not answered.
    assert {path.stat().st_ino for path in staged} == {source.stat().st_ino for source in sources}
    assert double.calls.running()
    await together(*uploads)
    assert list(staging.iterdir()) == []
    assert not any(source.exists() for source in sources)
    calls = double.calls.of("AddItems")
    assert {Path(path) for record in calls for path in record.request.sourcePaths} == set(staged)
    assert {record.request.targetPath for record in calls} == {"blobs/sha256/00", "d", "e"}
    assert double.read(paths[1]) == LAYER


@pytest_twisted.ensureDeferred
async def test_trap_03_a_staging_directory_that_the_daemon_does_not_see(backend: Backend, tmp_path: Path) -> None:
    backend.double.faults.refuse("AddItems", 2, "path not found at /var/lib/ipfsreg/staging/1/f", times=1)
    with pytest.raises(Refused, match="cannot see the staging directory"):
        await backend.bucket.put("d/f", b"x")
    # What a daemon that was killed left behind goes at the start.
    left = tmp_path / "other" / "staging" / ("0123456789abcdef" * 2)
    left.mkdir(parents=True)
    (left / "f").touch()
    async with running(Backend(backend.double, tmp_path / "other")):
        assert list((tmp_path / "other" / "staging").iterdir()) == []


SAID = [
    (16, "invalid auth token: app token secret does not match", Refused),
    (16, "Request unauthenticated with AppToken", Refused),
    (2, "textile client not initialized in expected time", Unavailable),
    (2, "bucket ddocker not found", Unavailable),
    (2, "context deadline exceeded", Unavailable),
    (2, 'Get "http://x/no link named "a" under b": context deadline exceeded', Unavailable),
    (2, "something else", Unavailable),
    (2, "not found", Unavailable),
    (5, 'no link named "x" under bafybeigdyrzt', Unavailable),
    (2, "message corrupt or incorrect keys", Corrupt),
    (13, "", Unavailable),
    (12, "unknown method", Refused),
]


@pytest.mark.parametrize(("code", "text", "meaning"), SAID, ids=[f"{code} {text}"[:40] for code, text, _ in SAID])
@pytest_twisted.ensureDeferred
async def test_trap_04_only_the_text_tells(
    code: int, text: str, meaning: type[BucketError], space_daemon: SpaceDouble, tmp_path: Path
) -> None:
    async with running(Backend(space_daemon, tmp_path / "daemon")) as backend:
        bucket = backend.bucket
        await bucket.put("d/f", b"there")
        for method in ("OpenFile", "ListDirectory"):
            space_daemon.faults.refuse(method, code, text)
        for ask in (
            lambda: bucket.get("d/f", LIMIT),
            lambda: bucket.get("d/none", LIMIT),
            lambda: bucket.stat("d/none"),
            lambda: bucket.open("d/none"),
            lambda: bucket.list("none"),
            lambda: bucket.remove("d/none"),
        ):
            with pytest.raises(BucketError) as caught:
                await ask()
            assert isinstance(caught.value, meaning)
            assert not isinstance(caught.value, NotFound)
        space_daemon.faults.clear()
        with pytest.raises(NotFound):
            await bucket.get("d/none", LIMIT)
        assert await bucket.get("d/f", LIMIT) == b"there"


def test_trap_05_and_10_calls_that_are_never_made() -> None:
    """Nor may anybody put them in without meeting this: the first destroys, the second listens for one at a time."""
    package = Path(__file__).parents[3] / "ipfsreg" / "bucket" / "space"
    text = "".join(file.read_text() for file in package.glob("*.py"))
    assert "OpenFileRequest" in text
    assert "WithForce" not in text
    assert "Subscribe" not in text


# Trap 6, the token that is shown once, is all of test_setup.


@pytest_twisted.ensureDeferred
async def test_trap_07_a_mistyped_bucket_is_not_half_made(space_daemon: SpaceDouble, tmp_path: Path) -> None:
    async with served(tmp_path / "daemon", space_daemon, bucket="ddoker") as registry:
        for _ in range(2):
            answer = await registry.ask("GET", "/v2/box/manifests/1")
            assert answer.status == 502
    assert set(space_daemon.calls.methods()) == {"GetPublicKey", "ListBuckets"}
    assert set(space_daemon.account.records) == {"ddocker", "personal"}
    async with running(Backend(space_daemon, tmp_path / "typed", bucket="ddoker")) as backend:
        with pytest.raises(Refused, match=r"no bucket 'ddoker', but 'ddocker': .* `ipfsreg space create ddoker`"):
            await backend.bucket.list("d")
        space_daemon.add_bucket("ddoker")  # as that command does
        assert await backend.bucket.list("d") == []
    # One that is like no other is made, once.
    async with running(Backend(space_daemon, tmp_path / "new", bucket="images")) as backend:
        await together(*(backend.bucket.list(f"d{number}") for number in range(20)))
    assert [record.request.slug for record in space_daemon.calls.of("CreateBucket")] == ["images"]
    assert space_daemon.junk() == []


@pytest_twisted.ensureDeferred
async def test_trap_07_junk_of_somebody_else(space_daemon: SpaceDouble, tmp_path: Path) -> None:
    space_daemon.account.record("junk")
    async with running(Backend(space_daemon, tmp_path / "daemon")) as backend:
        with pytest.raises(Refused, match="`ipfsreg space create junk`"):
            await backend.bucket.list("d")
        space_daemon.add_bucket("junk")
        assert await backend.bucket.list("d") == []
    space_daemon.account.record("half-made")
    async with running(Backend(space_daemon, tmp_path / "half-made", bucket="half-made")) as backend:
        await backend.bucket.put("d/f", b"x")
    assert space_daemon.read("d/f", "half-made") == b"x"
