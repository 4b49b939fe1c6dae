"""A daemon that is not ready, refuses, or has lost its bucket: an outage or a refusal in one line, never an absence."""

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_twisted

from ipfsreg.bucket.errors import NotFound, Refused, Unavailable, Unreachable
from ipfsreg.registry import layout
from ipfsreg.registry.digest import digest_of
from ipfsreg.registry.names import Repository
from tests.bucket.contract import together
from tests.bucket.helpers import names
from tests.bucket.running import listening, pause, reactor, running
from tests.web.client import until
from tests.web.served import digest_of as digest_text

from .backend import LIMIT, Backend
from .double import Fault, Patience, SpaceDouble
from .registry import logged, served, text_of

pytest_plugins = ["tests.bucket.space.double.fixtures"]

LAYER = b"layer"
LINK = layout.blob_link(Repository("box"), digest_of(LAYER))


@pytest_twisted.async_yield_fixture()
async def backend(space_daemon: SpaceDouble, tmp_path: Path) -> AsyncIterator[Backend]:
    async with running(Backend(space_daemon, tmp_path / "daemon", cached=True)) as each:
        yield each


@pytest_twisted.ensureDeferred
async def test_a_bucket_that_is_lost_is_an_outage(backend: Backend) -> None:
    bucket, double = backend.bucket, backend.double
    await bucket.put("d/f", b"x")
    double.world.buckets.remove(double.bucket().key)
    for _ in range(2):
        for ask in (
            lambda: bucket.get("d/f", LIMIT),
            lambda: bucket.get("none", LIMIT),
            lambda: bucket.list("d"),
            lambda: bucket.put("d/g", b"x"),
            lambda: bucket.remove("d/f"),
        ):
            with pytest.raises(Unavailable):
                await ask()
    assert double.calls.of("CreateBucket") == []
    # Another one of the name is not taken for it: what is in there is not what was pushed.
    double.add_bucket()
    with pytest.raises(Refused, match="another bucket") as caught:
        await bucket.put("d/f", b"y")
    kept = backend.directory / "space-buckets"
    assert f"remove {kept}" in str(caught.value)
    kept.unlink()  # as it says, where that is meant
    await bucket.put("d/f", b"y")
    assert await bucket.get("d/f", LIMIT) == b"y"


@pytest_twisted.ensureDeferred
async def test_a_start_at_another_daemon(space_daemon: SpaceDouble, tmp_path: Path) -> None:
    async with running(Backend(space_daemon, tmp_path)) as backend:
        await backend.bucket.put("d/f", b"x")
    async with running(Backend(space_daemon, tmp_path)) as backend:
        assert await backend.bucket.get("d/f", LIMIT) == b"x"
    async with listening(SpaceDouble()) as other:
        async with running(Backend(other, tmp_path)) as backend:
            for ask in (lambda: backend.bucket.get("d/f", LIMIT), lambda: backend.bucket.put("d/f", b"y")):
                with pytest.raises(Unavailable, match=f"remove {tmp_path}/space-buckets"):
                    await ask()
        assert other.calls.of("CreateBucket") == []
        other.add_bucket()
        async with running(Backend(other, tmp_path)) as backend:
            with pytest.raises(Refused, match="another bucket"):
                await backend.bucket.get("d/f", LIMIT)
        # One of another name is none of that.
        async with running(Backend(other, tmp_path, bucket="images")) as backend:
            await backend.bucket.put("d/f", b"y")
    async with running(Backend(space_daemon, tmp_path)) as backend:
        assert await backend.bucket.get("d/f", LIMIT) == b"x"


@pytest_twisted.ensureDeferred
async def test_what_waits_for_a_long_upload_does_not_fail(backend: Backend) -> None:
    """The daemon changes a bucket for one call after the other, and says nothing to those that wait."""
    bucket, double = backend.bucket, backend.double
    await together(bucket.put("gone/a", b"x"), bucket.put("gone/b", b"x"))
    backend.client.timeout = 0.4
    double.calls.clear()
    double.faults.push_bytes_per_second = 1_000_000.0
    long = bucket.put("long/f", bytes(1_200_000))
    while not double.calls.of("AddItems"):
        await pause(0.005)
    await together(*(bucket.put(f"d{number}/f", b"x") for number in range(4)), bucket.remove("gone/a"))
    await long
    writes = [record for record in double.calls if record.method in {"AddItems", "RemoveDirOrFile"}]
    assert len(writes) == 6
    for before, after in itertools.pairwise(sorted(writes, key=lambda record: record.started)):
        assert before.finished is not None
        assert before.finished <= after.started
    assert await names(bucket, "gone") == ["b"]


@pytest_twisted.ensureDeferred
async def test_changes_that_take_too_long_say_nothing_of_the_daemon(backend: Backend) -> None:
    """Another program may be changing the bucket: then ours wait in the daemon, which is well."""
    bucket, double = backend.bucket, backend.double
    await bucket.put("d/f", b"x")
    backend.client.timeout = 0.5  # what is not delayed takes less, also on a busy machine
    double.faults.add(Fault("AddItems", delay=2.0, times=None))
    double.faults.add(Fault("RemoveDirOrFile", delay=2.0, times=None))
    changes = [lambda: bucket.put("d/g", b"x"), lambda: bucket.put("e/g", b"x"), lambda: bucket.remove("d/f")]
    for change in changes * 2:
        with pytest.raises(Unavailable, match="did not end within") as caught:
            await change()
        assert not isinstance(caught.value, Unreachable)
    backend.client.timeout = 5.0
    double.faults.clear()
    assert await bucket.get("d/f", LIMIT) == b"x"
    assert len(double.calls.of("AddItems")) == 5


@pytest_twisted.ensureDeferred
async def test_a_file_that_is_never_opened_is_asked_for_again(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon has a deadlock: see docs/protocols/space.md, "Opening files"."""
    monkeypatch.setattr("ipfsreg.bucket.space.bucket.OPEN_AGAIN_SECONDS", 0.2)
    double, bucket = backend.double, backend.space
    for path in ("d/f", "d/g"):
        await bucket.put(path, b"x" * 1000)
        double.calls.clear()
        double.faults.deadlocks = 1
        await bucket.open(path)
        assert len(double.calls.of("OpenFile")) == 2
        await until(lambda: not double.calls.running())
    # One that fails is told at once, and one that answers is not asked twice.
    double.calls.clear()
    with pytest.raises(NotFound):
        await bucket.get("d/none", LIMIT)
    assert len(double.calls.of("OpenFile")) <= 1


@pytest_twisted.ensureDeferred
async def test_the_wait_of_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon keeps its callers waiting; ours are told so in a moment, and each is told what it is."""
    monkeypatch.setattr("ipfsreg.bucket.space.bucket_finder.READY_SECONDS", 0.1)
    double = SpaceDouble(patience=Patience(initialised=1.0))
    double.world.started = False
    async with listening(double), served(tmp_path / "daemon", double) as registry:
        began = reactor.seconds()
        for target in ("/v2/box/manifests/1", "/v2/box/tags/list", f"/v2/box/blobs/{digest_text(LAYER)}"):
            answer = await registry.ask("GET", target)
            assert answer.status == 503
            assert int(answer["retry-after"]) > 0
        assert reactor.seconds() - began < 0.8
        double.world.started = True
        await registry.push_image("1", layers=[LAYER])
        # It waits again after a new start.
        double.world.started = False
        await double.go_away()
        assert (await registry.ask("GET", "/v2/box/manifests/2")).status == 503
        double.come_back()
        await pause(1.0)
        assert (await registry.ask("GET", "/v2/box/manifests/2")).status == 503
        assert double.junk() == []


@pytest_twisted.ensureDeferred
async def test_a_copy_that_was_changed_is_named(space_daemon: SpaceDouble, tmp_path: Path) -> None:
    async with served(tmp_path / "daemon", space_daemon) as registry:
        manifest = await registry.push_image("1", layers=[LAYER])
    space_daemon.faults.add(Fault("OpenFile", alter=True, times=None))
    async with running(Backend(space_daemon, tmp_path / "other")) as backend:  # which knows none of the files
        for path in (layout.blob(digest_of(manifest)), LINK):
            with logged() as events:
                for _ in range(2):
                    await backend.bucket.get(path, LIMIT)
            locations = [each for each in space_daemon.world.opened.locations() if path.endswith(each.name[-64:])]
            lines = [line for line in text_of(events).splitlines() if str(locations[0]) in line]
            assert len(lines) == len(locations) == 1
            assert path in lines[0]
            assert "stop the Space Daemon, delete that copy, start it" in lines[0]
    async with served(tmp_path / "third", space_daemon) as registry:
        assert (await registry.ask("GET", "/v2/box/manifests/1")).status == 500


@pytest_twisted.ensureDeferred
async def test_refusals_are_one_line_each(new_space_daemon: SpaceDouble, tmp_path: Path) -> None:
    double = new_space_daemon
    await double.service.InitializeMasterAppToken(None, None)  # type: ignore[arg-type]
    async with running(Backend(double, tmp_path / "no keys")) as backend:
        with pytest.raises(Refused, match="no key pair: run `ipfsreg space init`"):
            await backend.bucket.list("d")
    async with running(Backend(double, tmp_path / "wrong", token="wrong.token")) as backend:
        with pytest.raises(Refused, match="does not accept the token") as caught:
            await backend.bucket.list("d")
        assert "wrong.token" not in str(caught.value)
    assert double.world.account is None


@pytest_twisted.ensureDeferred
async def test_a_wrong_token_is_told_and_kept_to_oneself(space_daemon: SpaceDouble, tmp_path: Path) -> None:
    with logged() as events:
        async with served(tmp_path / "daemon", space_daemon) as registry:
            manifest = await registry.push_image("1", layers=[LAYER])
            fault = Fault(times=None, code=16, text="invalid auth token: app token secret does not match")
            space_daemon.faults.add(fault)
            for method, target in (
                ("GET", "/v2/box/manifests/none"),
                ("HEAD", f"/v2/box/blobs/{digest_text(b'none')}"),
                ("GET", "/v2/box/tags/list"),
                ("DELETE", f"/v2/box/manifests/{digest_text(manifest)}"),
            ):
                assert (await registry.ask(method, target)).status == 502
            assert (await registry.push(manifest, "2")).status == 502
            space_daemon.faults.remove(fault)
            assert (await registry.ask("GET", "/v2/box/manifests/1")).content == manifest
            assert (await registry.ask("GET", "/v2/box/manifests/2")).status == 404
    text = text_of(events)
    assert "does not accept the token" in text
    assert not any(part in text for part in space_daemon.token.split("."))
    assert "Traceback" not in text
