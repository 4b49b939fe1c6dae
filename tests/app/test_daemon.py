"""The daemon's life inside the test's process: it starts, or says why not, and ends without losing anything."""

import os
import socket
import struct
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, formatEvent

from ipfsreg.app import background
from ipfsreg.app.state_directory import StateDirectory
from ipfsreg.cli.daemon_client import DaemonClient
from ipfsreg.config.sections import RegistryOptions
from ipfsreg.flow.periodic import Periodic
from tests.web.client import pause, query, until
from tests.web.served import LOCAL, Serve, Served, digest_of

DEFAULT_GRACE: float = RegistryOptions.model_fields["shutdown_grace"].default
"""Seconds for which a daemon waits for transfers that do not end."""


async def fails(directory: Path, **options: Any) -> str:
    """Start a daemon that cannot; answers the line that it says."""
    directory.mkdir(exist_ok=True)
    served = Served(directory, options)
    served.daemon.startService()
    await until(lambda: bool(served.failures))
    assert not served.daemon.ready
    await served.stop()
    assert served.daemon.ports == [] or all(not port.connected for port in served.daemon.ports)  # type: ignore[attr-defined]
    (line,) = served.failures
    assert len(line.splitlines()) == 1
    return line


@pytest_twisted.ensureDeferred
async def test_one_line_says_that_it_is_ready(serve: Serve, log: list[LogEvent]) -> None:
    registry = await serve()
    lines = [formatEvent(event) for event in log if "Ready" in formatEvent(event)]
    assert lines == [
        f"Ready: http://127.0.0.1:{registry.port}/v2/ on local directory {registry.store}. Try: docker pull busybox && "
        f"docker tag busybox 127.0.0.1:{registry.port}/busybox && docker push 127.0.0.1:{registry.port}/busybox"
    ]


@pytest.mark.parametrize(
    ("more", "backlog"), [("", 4096), (":backlog=7", 7), (":127.0.0.1:8", 8), (":interface=127.0.0.1:backlog=9", 9)]
)
@pytest_twisted.ensureDeferred
async def test_many_connections_may_wait_to_be_taken(serve: Serve, more: str, backlog: int) -> None:
    registry = await serve(registry={"listen": f"tcp:0{more}"}, auth={"insecure": "yes"})
    listening: Any = registry.daemon.ports[0]
    # Of a socket that listens, tcpi_sacked is the length of its queue (tcp_diag_get_info in Linux).
    info = listening.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
    most = int(Path("/proc/sys/net/core/somaxconn").read_text())
    assert struct.unpack_from("=8x6I", info)[5] == min(backlog, most)


@pytest_twisted.ensureDeferred
async def test_it_listens_on_several_endpoints(serve: Serve, tmp_path: Path) -> None:
    registry = await serve(registry={"listen": f"{LOCAL}, {LOCAL}"})
    first, second = (port.getHost().port for port in registry.daemon.ports)
    assert first != second
    assert (await registry.ask("GET", "/v2/")).status == 200


@pytest_twisted.ensureDeferred
async def test_a_second_daemon_keeps_out_of_the_directory(serve: Serve, tmp_path: Path) -> None:
    registry = await serve()
    line = await fails(tmp_path / "second", local={"path": registry.store})
    assert line == (
        f"another ipfsreg is using {registry.store}: stop it, or give this one a directory of its own (`path`)"
    )
    assert (await registry.ask("GET", "/v2/")).status == 200
    assert await DaemonClient(reactor, registry.store / "control.sock").do("verify", {}) != {}


@pytest_twisted.ensureDeferred
async def test_a_directory_that_cannot_be_used(tmp_path: Path, clean_log: list[LogEvent]) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for path, why in (
        (file, f"{file} is not a directory"),
        (file / "below", f"{file} is not a directory"),
        (Path("/proc/ipfsreg"), "nothing can be made in /proc"),
    ):
        line = await fails(tmp_path / "daemon", local={"path": path})
        assert line == f"{tmp_path}/daemon/ipfsreg.ini: [local] path: {why}"


@pytest_twisted.ensureDeferred
async def test_a_spool_that_cannot_be_used(tmp_path: Path, clean_log: list[LogEvent]) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / "uploads").write_text("")
    line = await fails(tmp_path / "daemon", local={"path": store})
    assert str(store / "uploads") in line


@pytest_twisted.ensureDeferred
async def test_a_port_in_use(tmp_path: Path, clean_log: list[LogEvent]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        line = await fails(tmp_path / "daemon", registry={"listen": f"{LOCAL}, {endpoint}"})
    assert f"ipfsreg.ini: [registry] listen: {endpoint}: Address already in use; choose another" in line
    assert "PORT=5001" in line
    await fails_not(tmp_path / "daemon")


async def fails_not(directory: Path) -> None:
    """The directory was let go of, so a daemon can start there."""
    state = StateDirectory(directory / "store")
    state.acquire()
    state.release()


@pytest.mark.parametrize(
    ("endpoint", "why"),
    [
        ("tcp:0:interface=192.0.2.1", "Cannot assign requested address"),
        ("tcp:0:interface=no.such.interface.test", "listen"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_an_endpoint_on_which_it_cannot_listen(
    tmp_path: Path, clean_log: list[LogEvent], endpoint: str, why: str
) -> None:
    line = await fails(tmp_path / "daemon", registry={"listen": endpoint}, auth={"insecure": "yes"})
    assert f"ipfsreg.ini: [registry] listen: {endpoint}: " in line
    assert why in line


@pytest_twisted.ensureDeferred
async def test_a_layout_of_another_version(serve: Serve, tmp_path: Path) -> None:
    registry = await serve()
    await registry.stop()
    (registry.store / "bucket" / "layout-version").write_text("77\n")
    line = await fails(tmp_path / "second", local={"path": registry.store})
    assert "has layout version 77, and this ipfsreg knows version 1 only" in line
    (registry.store / "bucket" / "layout-version").write_text("1\n")


@pytest_twisted.ensureDeferred
async def test_it_may_be_stopped_while_it_starts(
    tmp_path: Path, clean_log: list[LogEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    for turns in range(0, 40, 3):
        directory = tmp_path / str(turns)
        directory.mkdir()
        served = Served(directory, {})
        served.daemon.startService()
        for _ in range(turns):
            await pause(0)
        await served.stop()
        assert served.failures == []
        assert not served.daemon.ready
        await pause(0.01)
        assert not (served.store / "control.sock").exists()
        assert not any(port.connected for port in served.daemon.ports)  # type: ignore[attr-defined]
        await fails_not(directory)


@pytest_twisted.ensureDeferred
async def test_the_directory_may_have_a_long_path(serve: Serve, tmp_path: Path) -> None:
    store = tmp_path / ("long" * 40) / "store"
    registry = await serve(local={"path": store})
    assert (await DaemonClient(reactor, store / "control.sock").do("gc", {}))["contents"] == 0
    await registry.stop()
    assert not (store / "control.sock").exists()


@pytest_twisted.ensureDeferred
async def test_it_ends_in_order_where_its_sockets_were_removed(serve: Serve, tmp_path: Path) -> None:
    registry = await serve(registry={"listen": f"{LOCAL}, unix:{tmp_path}/registry.sock"})
    (tmp_path / "registry.sock").unlink()
    (registry.store / "control.sock").unlink()
    ports = list(registry.daemon.ports)
    await registry.stop()
    assert not [port for port in ports if port.connected]
    assert not [call for call in reactor.getDelayedCalls() if call.active() and "Factory" in str(call)]
    await fails_not(registry.directory)


@pytest_twisted.ensureDeferred
async def test_open_transfers_are_given_time(serve: Serve) -> None:
    """New clients are refused meanwhile, and the daemon ends as soon as the transfers have ended."""
    registry = await serve()
    content = os.urandom(5_000_000)
    digest = await registry.push_blob(content)
    location = await registry.begin_upload()
    down = await registry.connect()
    down.wire.pauseProducing()
    down.begin("GET", f"/v2/box/blobs/{digest}")
    up = await registry.connect()
    up.begin("PUT", query(location, digest=digest_of(b"abcdef")), {"Content-Length": 6})
    up.send(b"abc")
    idle = await registry.connect()
    await pause(0.1)
    stopped: Deferred[None] = registry.daemon.stopService()
    await pause(0.1)
    with pytest.raises(Exception, match="refused"):
        await registry.connect()
    assert not stopped.called
    down.wire.resumeProducing()
    assert (await down.answer()).content == content
    up.send(b"def")
    assert (await up.answer()).status == 201
    begin = reactor.seconds()
    await stopped
    assert reactor.seconds() - begin < 2.0
    await idle.ended()
    await up.ended()
    await down.ended()


@pytest_twisted.ensureDeferred
async def test_an_answer_that_is_out_arrives_though_its_client_is_slow(serve: Serve) -> None:
    """All of it is with the kernel, so its request is over: the daemon ends, and nothing is cut off."""
    registry = await serve()
    waiting = []
    for size in (300_000, 3_500_000):  # less than two sockets take, and about as much
        content = os.urandom(size)
        digest = await registry.push_blob(content)
        slow = await registry.connect()
        slow.wire.pauseProducing()
        slow.begin("GET", f"/v2/box/blobs/{digest}")
        await pause(0.2)
        waiting.append((slow, content))
    stopped: Deferred[None] = registry.daemon.stopService()
    await pause(0.3)
    for slow, content in waiting:
        slow.wire.resumeProducing()
        assert (await slow.answer()).content == content
    await stopped


@pytest_twisted.ensureDeferred
async def test_transfers_end_after_the_grace_period_and_uploads_go_on_later(serve: Serve, tmp_path: Path) -> None:
    registry = await serve(registry={"shutdown_grace": "200ms"})
    content = os.urandom(3_000_000)
    location = await registry.begin_upload()
    connection = await registry.connect()
    connection.begin("PATCH", location, {"Content-Length": len(content)})
    connection.send(content[:1_000_000])
    await until(lambda: any(spooled.stat().st_size for spooled in registry.store.glob("uploads/*/data")))
    begin = reactor.seconds()
    await registry.daemon.stopService()
    assert 0.15 < reactor.seconds() - begin < DEFAULT_GRACE
    await connection.ended()
    again = await serve(local={"path": registry.store})
    status = await again.ask("GET", location)
    received = int(status["range"].partition("-")[2]) + 1
    assert 0 < received <= 1_000_000
    part = {"Content-Range": f"{received}-{len(content) - 1}"}
    assert (await again.ask("PATCH", location, part, content[received:])).status == 202
    assert (await again.ask("PUT", query(location, digest=digest_of(content)), None, b"")).status == 201
    assert (await again.ask("GET", f"/v2/box/blobs/{digest_of(content)}")).content == content


@pytest_twisted.ensureDeferred
async def test_a_client_that_sends_junk_does_not_keep_it_from_ending(serve: Serve) -> None:
    registry = await serve()
    for junk in (b"junk\r\n\r\n", b"GET /v2/ HTTP/1.1\r\nHo", b"PUT /v2/ HTTP/1.1\r\nContent-Length: 5\r\n\r\n"):
        connection = await registry.connect()
        connection.send(junk)
        await pause(0.02)
        connection.close()
    await until(lambda: registry.daemon.site.busy == 0)
    begin = reactor.seconds()
    await registry.daemon.stopService()
    assert reactor.seconds() - begin < DEFAULT_GRACE


@pytest_twisted.ensureDeferred
async def test_all_that_is_done_in_the_background_can_be_done(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """That nothing of it fails is seen in the log, which is looked at when the test ends."""
    monkeypatch.setattr(background, "SEEN_SECONDS", 0.02)
    monkeypatch.setattr(background, "EXPIRE_UPLOADS_SECONDS", 0.02)
    began: list[str] = []
    once = Periodic._once

    async def noted(self: Periodic) -> None:
        began.append(self._what)
        await once(self)

    monkeypatch.setattr(Periodic, "_once", noted)
    await serve(gc={"interval": "20ms"}, scrub={"interval": "20ms"})
    await until(lambda: len(set(began)) >= 5)
    await pause(0.1)


@pytest_twisted.ensureDeferred
async def test_systemd_is_told(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        registry = await serve()
        assert manager.recv(100) == b"READY=1"
        await registry.stop()
        assert manager.recv(100) == b"STOPPING=1"


@pytest_twisted.ensureDeferred
async def test_systemd_is_not_told_of_a_daemon_that_cannot_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        await fails(tmp_path / "daemon", local={"path": "/proc/ipfsreg"})
        assert manager.recv(100) == b"STOPPING=1"


@pytest_twisted.ensureDeferred
async def test_a_service_manager_that_is_gone_changes_nothing(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: list[LogEvent]
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    registry = await serve()
    assert (await registry.ask("GET", "/v2/")).status == 200
    await registry.stop()
    assert sum("service manager" in formatEvent(event) for event in log) == 2


@pytest_twisted.ensureDeferred
async def test_how_many_failures_were_not_logged_is_said_at_the_end(tmp_path: Path, log: list[LogEvent]) -> None:
    served = Served(tmp_path, {})
    await served.start()
    bucket = served.store / "bucket"
    bucket.rename(served.store / "elsewhere")
    bucket.write_text("a file")
    for _ in range(23):
        assert (await served.ask("GET", "/v2/box/tags/list")).status == 503
    bucket.unlink()
    (served.store / "elsewhere").rename(bucket)
    await served.stop()
    lines = [formatEvent(event) for event in log]
    assert sum(line.startswith("3 more requests failed and were not logged: ") for line in lines) == 1
