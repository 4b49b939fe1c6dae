"""What a user is promised of a registry on Textile, by a daemon on the double."""

import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent

from ipfsreg.bucket.cache import small_files
from ipfsreg.bucket.textile.paths import unfold
from ipfsreg.bucket.textile.proto import bucketsd_pb2
from ipfsreg.bucket.textile.server.identity import Identity, save_identity
from tests.bucket.contract import spawn
from tests.bucket.running import listening
from tests.daemon_process import DaemonProcess
from tests.web.client import Answer, pause
from tests.web.served import Served, digest_of, image

from .double import TextileDouble
from .registry import TextileServed, check_no_secrets, logged, served, text_of

pytest_plugins = ["tests.bucket.textile.double.fixtures"]

BUCKET = "ipfsreg"
LAYER = os.urandom(900_000)


@pytest.fixture(autouse=True)
def log() -> Iterator[list[LogEvent]]:
    with logged() as events:
        yield events
    assert "Traceback" not in text_of(events)


@pytest_twisted.async_yield_fixture(params=[False, True], ids=["public", "private"])
async def empty_cache(
    request: pytest.FixtureRequest, textile_hub: TextileDouble, tmp_path: Path
) -> AsyncIterator[Served]:
    """A daemon with the image ``box:1``, of which it has nothing on its disk."""
    key = textile_hub.accounts.add_key()
    async with served(tmp_path / "first", textile_hub, key, encrypted=request.param) as first:
        await first.push_image("1", layers=[LAYER])
    async with served(tmp_path / "second", textile_hub, key, encrypted=request.param) as daemon:
        textile_hub.calls.clear()
        yield daemon


@pytest_twisted.ensureDeferred
async def test_head_never_downloads_a_layer(empty_cache: Served, textile_hub: TextileDouble) -> None:
    answer = await empty_cache.ask("HEAD", f"/v2/box/blobs/{digest_of(LAYER)}")
    assert (answer.status, answer["content-length"]) == (200, str(len(LAYER)))
    assert (await empty_cache.ask("HEAD", f"/v2/box/blobs/{digest_of(b'none')}")).status == 404
    # Docker asks so before each push, and a mount is no reason for a download either.
    mounted = await empty_cache.ask(
        "POST", f"/v2/else/blobs/uploads/?mount={digest_of(LAYER)}&from=box", {"Content-Length": 0}
    )
    assert mounted.status == 201
    pulled = [record for record in textile_hub.calls.of("PullPath") if is_blob(record.request.path)]
    assert not pulled
    assert max((record.messages_sent for record in textile_hub.calls.of("PullPath")), default=0) <= 1


@pytest_twisted.ensureDeferred
async def test_bytes_flow_while_they_arrive(empty_cache: Served, textile_hub: TextileDouble) -> None:
    textile_hub.faults.pull_bytes_per_second = 600_000.0
    first, second = await empty_cache.connect(), await empty_cache.connect()
    pulls = []
    for connection in (first, second):
        received: list[int] = []
        data_received = connection.dataReceived

        def counted(data: bytes, received: list[int] = received, pass_on: object = data_received) -> None:
            received.append(len(data))
            assert callable(pass_on)
            pass_on(data)

        connection.dataReceived = counted  # type: ignore[method-assign]
        pulls.append((received, spawn(connection.ask("GET", f"/v2/box/blobs/{digest_of(LAYER)}"))))
    while not all(sum(received) > 200_000 for received, _ in pulls):
        await pause(0.01)
    # Both have a part of it, the one transfer goes on.
    (transfer,) = [record for record in textile_hub.calls.running() if record.method == "PullPath"]
    assert is_blob(transfer.request.path)
    for _, pull in pulls:
        answer = await pull
        assert isinstance(answer, Answer)
        assert answer.content == LAYER


@pytest_twisted.ensureDeferred
async def test_the_cache_is_bounded(textile_hub: TextileDouble, tmp_path: Path) -> None:
    async with served(
        tmp_path / "daemon", textile_hub, textile_hub.accounts.add_key(), cache_size="1000kB"
    ) as registry:
        layers = [os.urandom(300_000) for _ in range(6)]
        for layer in layers:
            await registry.push_blob(layer)
        for layer in layers:
            assert (await registry.ask("GET", f"/v2/box/blobs/{digest_of(layer)}")).content == layer
        kept = [file.stat().st_size for file in (tmp_path / "daemon/state/cache/kept").rglob("*") if file.is_file()]
        assert 300_000 <= sum(kept) <= 1_000_000
        # The last ones are there: they are not asked for again.
        textile_hub.calls.clear()
        assert (await registry.ask("GET", f"/v2/box/blobs/{digest_of(layers[-1])}")).content == layers[-1]
        assert not [each for each in textile_hub.calls.of("PullPath") if is_blob(each.request.path)]


@pytest_twisted.ensureDeferred
async def test_archive_every(tmp_path: Path, log: list[LogEvent]) -> None:
    async with listening(TextileDouble(powergate=True)) as double:
        double.limits.archive_smallest = 1
        key = double.accounts.add_key()
        async with served(tmp_path / "daemon", double, key, archive_every="100ms") as registry:
            await registry.push_image("1")
            while len(double.calls.of("Archive")) < 2:
                await pause(0.02)
        # Done once: the others find that nothing has changed, which is no reason to worry.
        assert [record.status for record in double.calls.of("Archive")].count(0) == 1
        assert "not archived" not in text_of(log)
        # A daemon that starts, this one again or another, finds that the last one is not old enough.
        tried = len(double.calls.of("Archive"))
        async with served(tmp_path / "daemon", double, key, archive_every="1h") as registry:
            await registry.push_image("2")
            (work,) = registry.daemon.parts.backend.repeated
            await work.work()
            assert len(double.calls.of("Archives")) > tried
            assert len(double.calls.of("Archive")) == tried
            double.bucket("ipfsreg").archives.current.created_at -= 3601
            await work.work()
            assert len(double.calls.of("Archive")) == tried + 1
            double.set_archive_status("ipfsreg", bucketsd_pb2.ARCHIVE_STATUS_FAILED)
            await work.work()
            assert len(double.calls.of("Archive")) == tried + 2
        double.world.powergate = False
        async with served(tmp_path / "daemon", double, key, archive_every="100ms"):
            while "no Powergate" not in text_of(log):
                await pause(0.02)


@pytest_twisted.ensureDeferred
async def test_the_variables_of_the_original_program(textile_hub: TextileDouble, tmp_path: Path) -> None:
    key = textile_hub.accounts.add_key()
    environment = {
        "HUB_HOST": textile_hub.url,
        "HUB_KEY": key.key,
        "HUB_SECRET": key.secret,
        "BUCKET_NAME": "images",
        "BUCKET_ENCRYPTION": "true",
        "BUCKET_TEMP_DIR": str(tmp_path / "temporary"),
    }
    daemon = DaemonProcess(tmp_path, environment=environment)
    daemon.config_file.write_text(f"[registry]\nlisten = tcp:{daemon.port}:interface=127.0.0.1\nbackend = textile\n")
    await deferToThread(daemon.start)
    try:
        client = TextileServed(tmp_path / "client", textile_hub, key)
        client.port = daemon.port
        await client.push_image("1", layers=[LAYER])
        assert textile_hub.bucket("images").private
        assert (tmp_path / "temporary").is_dir()
    finally:
        await deferToThread(daemon.stop)
    check_no_secrets(textile_hub, daemon.log)


@pytest_twisted.ensureDeferred
async def test_a_user_group_key(textile_hub: TextileDouble, tmp_path: Path, log: list[LogEvent]) -> None:
    key = textile_hub.accounts.add_key(for_users=True)
    async with served(tmp_path / "none", textile_hub, key) as registry:
        assert (await registry.ask("GET", "/v2/box/manifests/1")).status == 502
    assert "set [textile] identity_file" in text_of(log)
    assert not textile_hub.threads.by_id
    file = tmp_path / "identity"
    save_identity(Identity.generate(), file)
    async with (
        served(tmp_path / "a", textile_hub, key, identity_file=file) as here,
        served(tmp_path / "b", textile_hub, key, identity_file=file) as there,
    ):
        await here.push_image("1", layers=[LAYER])
        assert (await there.ask("GET", "/v2/box/manifests/1")).content == image(layers=[LAYER])
    assert len(textile_hub.buckets.all()) == 1
    check_no_secrets(textile_hub, text_of(log))


@pytest.mark.parametrize("is_hub", [True, False])
@pytest_twisted.ensureDeferred
async def test_a_server_of_the_other_kind_is_named(is_hub: bool, tmp_path: Path, log: list[LogEvent]) -> None:
    """A hub without a key, and a buckd with one."""
    async with listening(TextileDouble(hub=is_hub)) as double:
        key = None if is_hub else TextileDouble(hub=True).accounts.add_key()
        async with served(tmp_path / "daemon", double, key) as registry:
            assert (await registry.ask("GET", "/v2/box/manifests/1")).status == 502
        assert ("is a hub and wants [textile] key" if is_hub else "is a buckd") in text_of(log)
        assert not double.threads.by_id


@pytest_twisted.ensureDeferred
async def test_a_thread_in_other_letters_is_named(
    textile_hub: TextileDouble, tmp_path: Path, log: list[LogEvent]
) -> None:
    key = textile_hub.accounts.add_key()
    textile_hub.add_thread("Buckets", key)
    async with served(tmp_path / "daemon", textile_hub, key) as registry:
        assert (await registry.ask("GET", "/v2/box/manifests/1")).status == 502
    assert "upper or lower case" in text_of(log)


@pytest_twisted.ensureDeferred
async def test_names_that_the_server_keeps_for_itself(
    textile_hub: TextileDouble, tmp_path: Path, log: list[LogEvent]
) -> None:
    async with served(tmp_path / "daemon", textile_hub, textile_hub.accounts.add_key()) as registry:
        await registry.push_image("1")
        for name, tag in (("box", "v1.textileseed"), ("a.textileseed/b.textileseed", "1")):
            await registry.push_image(tag, name)
            assert (await registry.ask("GET", f"/v2/{name}/manifests/{tag}")).status == 200
            assert tag in (await registry.ask("GET", f"/v2/{name}/tags/list")).json()["tags"]
            assert name in (await registry.ask("GET", "/v2/_catalog")).json()["repositories"]
            assert (await registry.ask("DELETE", f"/v2/{name}/manifests/{tag}")).status == 202
            assert (await registry.ask("GET", f"/v2/{name}/manifests/{tag}")).status == 404


@pytest.mark.parametrize("by", ["post", "websocket"])
@pytest_twisted.ensureDeferred
async def test_a_wrong_clock_is_named_when_pushing(
    by: str, textile_hub: TextileDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: list[LogEvent]
) -> None:
    from ipfsreg.bucket.textile.server import transport

    monkeypatch.setattr(small_files, "SHARED_SECONDS", 0.05)
    if by == "websocket":
        monkeypatch.setattr(transport.TransportChoice, "transport", transport.Transport.WEBSOCKET)
    async with served(tmp_path / "daemon", textile_hub, textile_hub.accounts.add_key()) as registry:
        await registry.push_image("1")
        textile_hub.faults.clock_offset = 7200.0
        content = os.urandom(1000)
        target = f"/v2/box/blobs/uploads/?digest={digest_of(content)}"
        assert (await registry.ask("POST", target, None, content)).status == 502
        assert "clock is 7" in text_of(log)


@pytest_twisted.ensureDeferred
async def test_wrong_credentials_make_nothing_and_are_no_404(
    textile_hub: TextileDouble, tmp_path: Path, log: list[LogEvent]
) -> None:
    right = textile_hub.accounts.add_key()
    for number, key in enumerate((replace(right, key="bwrong"), replace(right, secret="bmfrgg"))):
        async with served(tmp_path / str(number), textile_hub, key) as registry:
            for method, target in (("GET", "/v2/box/manifests/1"), ("HEAD", f"/v2/box/blobs/{digest_of(LAYER)}")):
                assert (await registry.ask(method, target)).status == 502
            answer = await registry.ask("POST", f"/v2/box/blobs/uploads/?digest={digest_of(LAYER)}", None, LAYER)
            assert answer.status == 502
    assert not textile_hub.threads.by_id
    check_no_secrets(textile_hub, text_of(log))


@pytest_twisted.ensureDeferred
async def test_201_comes_after_status_0(textile_hub: TextileDouble, tmp_path: Path) -> None:
    """The answers about the files are not one."""
    async with served(tmp_path / "daemon", textile_hub, textile_hub.accounts.add_key()) as registry:
        await registry.push_image("1")
        textile_hub.calls.clear()
        textile_hub.faults.save_seconds = 0.3
        pushing = spawn(registry.push_blob(LAYER))
        while not (pushes := textile_hub.calls.of("PushPaths")) or pushes[0].messages_sent < 2:
            await pause(0.01)
        # It has the content and the link, and has told so.
        assert pushes[0].status is None
        assert not pushing.called
        await pushing
        assert pushes[0].status == 0


def is_blob(path: str) -> bool:
    """Whether a path at the server, plain or folded, is that of a content."""
    return (unfold(path) or path).startswith("blobs/")
