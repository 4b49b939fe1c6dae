"""Asking a running daemon: the socket, its file, and what a command is told when the daemon cannot answer."""

import os
import socket
import stat
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent

from ipfsreg.app.control.events import EVENTS, Event, Listing, Long
from ipfsreg.app.control.server import ControlServer
from ipfsreg.bucket.errors import Unavailable
from ipfsreg.cli.daemon_client import ControlError, DaemonClient
from ipfsreg.cli.errors import Exit
from ipfsreg.flow.progress import Progress
from tests.web.client import pause, until

Listen = Callable[..., Awaitable[Path]]


@pytest_twisted.async_yield_fixture()
async def listen(tmp_path: Path, clean_log: list[LogEvent]) -> AsyncIterator[Listen]:
    """Starts a server with tasks; answers its socket."""
    running: list[ControlServer] = []

    async def start(directory: Path = tmp_path, **tasks: Any) -> Path:
        path = directory / "control.sock"
        server = ControlServer(tasks, path, reactor)
        running.append(server)
        await server.start()
        return path

    yield start
    for server in running:
        await server.stop()


async def sum_up(arguments: Mapping[str, str]) -> dict[str, Any]:
    return {"sum": sum(map(int, arguments.values()))}


@pytest_twisted.ensureDeferred
async def test_a_task_is_done_and_answered(listen: Listen) -> None:
    path = await listen(sum_up=sum_up)
    assert await DaemonClient(reactor, path).do("sum_up", {"a": "3", "b": "4"}) == {"sum": 7}


@pytest_twisted.ensureDeferred
async def test_only_its_own_user_may_ask(listen: Listen) -> None:
    path = await listen()
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("length", [60, 150, 250])
@pytest_twisted.ensureDeferred
async def test_the_path_may_be_longer_than_the_kernel_takes(
    tmp_path: Path, clean_log: list[LogEvent], length: int
) -> None:
    directory = tmp_path / ("d" * (length - 1)) / "e"
    directory.mkdir(parents=True)
    before = set(os.listdir("/proc/self/fd"))
    server = ControlServer({"sum_up": sum_up}, directory / "control.sock", reactor)
    await server.start()
    assert await DaemonClient(reactor, directory / "control.sock").do("sum_up", {"a": "1"}) == {"sum": 1}
    await server.stop()
    assert list(directory.iterdir()) == []
    await until(lambda: set(os.listdir("/proc/self/fd")) == before)


@pytest_twisted.ensureDeferred
async def test_what_a_killed_daemon_left_is_in_nobodys_way(tmp_path: Path, listen: Listen) -> None:
    (tmp_path / "control.sock").write_text("left over")
    path = await listen(sum_up=sum_up)
    assert await DaemonClient(reactor, path).do("sum_up", {}) == {"sum": 0}


@pytest_twisted.ensureDeferred
async def test_failures_are_told_in_one_line(listen: Listen, log: list[LogEvent]) -> None:
    async def unavailable(arguments: Mapping[str, str]) -> dict[str, Any]:
        raise Unavailable("the node does not answer")

    path = await listen(unavailable=unavailable)
    with pytest.raises(ControlError, match=r"^the node does not answer$"):
        await DaemonClient(reactor, path).do("unavailable", {})
    with pytest.raises(ControlError, match=r"^the daemon cannot do that: its backend, or its version,"):
        await DaemonClient(reactor, path).do("unknown", {})


@pytest_twisted.ensureDeferred
async def test_a_bug_is_told_and_logged(tmp_path: Path, log: list[LogEvent]) -> None:
    async def broken(arguments: Mapping[str, str]) -> dict[str, Any]:
        raise KeyError("a bug")

    server = ControlServer({"broken": broken}, tmp_path / "control.sock", reactor)
    await server.start()
    with pytest.raises(ControlError, match=r"^the daemon failed; its log says how$"):
        await DaemonClient(reactor, tmp_path / "control.sock").do("broken", {})
    await server.stop()
    assert [event["log_failure"].type for event in log if "log_failure" in event] == [KeyError]


@pytest_twisted.ensureDeferred
async def test_nobody_listens(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (
        tmp_path / "control.sock",
        tmp_path / "file",
        tmp_path / "gone" / "control.sock",
        tmp_path / ("x" * 200) / "c.sock",
    ):
        with pytest.raises(ControlError, match=r"^the daemon that uses .* does not listen; is it just") as raised:
            await DaemonClient(reactor, path).do("verify", {})
        assert len(str(raised.value).splitlines()) == 1


@pytest_twisted.ensureDeferred
async def test_a_killed_daemon_has_left_its_socket(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with pytest.raises(ControlError, match=r"does not answer \(.*refused.*\); is it just starting or stopping\?$"):
        await DaemonClient(reactor, path).do("verify", {})


@pytest_twisted.ensureDeferred
async def test_a_hung_daemon_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It accepts the connection, as the kernel does for a process that is stopped, and that is all."""
    monkeypatch.setattr("ipfsreg.cli.daemon_client.SIGN_OF_LIFE_SECONDS", 0.1)
    path = tmp_path / "control.sock"
    port = await UNIXServerEndpoint(reactor, str(path)).listen(Factory.forProtocol(Protocol))
    with pytest.raises(ControlError, match=r"^the daemon that uses .* does not answer; is it hung\?$"):
        await DaemonClient(reactor, path).do("verify", {})
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_a_daemon_may_take_its_time_while_it_is_alive(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipfsreg.cli.daemon_client.SIGN_OF_LIFE_SECONDS", 0.25)

    async def long(arguments: Mapping[str, str]) -> dict[str, Any]:
        await pause(0.6)
        return {"done": True}

    path = await listen(long=long)
    assert await DaemonClient(reactor, path).do("long", {}) == {"done": True}


@pytest_twisted.ensureDeferred
async def test_a_machine_that_stood_still_is_no_hung_daemon(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where it is suspended, or both processes get no time: neither of them could do anything."""
    monkeypatch.setattr("ipfsreg.cli.daemon_client.SIGN_OF_LIFE_SECONDS", 0.3)

    async def long(arguments: Mapping[str, str]) -> dict[str, Any]:
        await pause(0.1)
        return {"done": True}

    path = await listen(long=long)
    reactor.callLater(0, time.sleep, 0.6)
    assert await DaemonClient(reactor, path).do("long", {}) == {"done": True}


@pytest_twisted.ensureDeferred
async def test_a_daemon_that_hangs_in_the_middle_is_not_waited_for(
    listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ipfsreg.cli.daemon_client.SIGN_OF_LIFE_SECONDS", 0.1)
    never: Deferred[dict[str, Any]] = Deferred()

    async def endless(arguments: Mapping[str, str]) -> dict[str, Any]:
        path.rename(path.with_name("elsewhere"))  # so that no sign of life comes any more
        return await never

    path = await listen(endless=endless)
    with pytest.raises(ControlError, match=r"^the daemon that uses .* answers no more; is it hung\?$"):
        await DaemonClient(reactor, path).do("endless", {})
    path.with_name("elsewhere").rename(path)
    never.callback({})


@pytest_twisted.ensureDeferred
async def test_a_daemon_that_stops_in_the_middle_is_told(tmp_path: Path, clean_log: list[LogEvent]) -> None:
    never: Deferred[dict[str, Any]] = Deferred()
    asked: list[bool] = []

    async def endless(arguments: Mapping[str, str]) -> dict[str, Any]:
        asked.append(True)
        return await never

    server = ControlServer({"endless": endless}, tmp_path / "control.sock", reactor)
    await server.start()
    answer = Deferred.fromCoroutine(DaemonClient(reactor, tmp_path / "control.sock").do("endless", {}))
    await until(lambda: bool(asked))
    await server.stop()
    with pytest.raises(ControlError, match=r"^the daemon that uses .* ended before it had an answer$"):
        await answer
    never.callback({})


@pytest_twisted.ensureDeferred
async def test_a_command_that_goes_does_not_interrupt_the_task(listen: Listen, log: list[LogEvent]) -> None:
    """The collector may be in the middle of a removal."""
    steps: list[str] = []

    async def work(arguments: Mapping[str, str]) -> dict[str, Any]:
        steps.append("begun")
        try:
            await pause(0.2)
        except CancelledError:
            steps.append("cancelled")
            raise
        steps.append("done")
        return {}

    path = await listen(work=work)
    answer = Deferred.fromCoroutine(DaemonClient(reactor, path).do("work", {}))
    await until(lambda: steps == ["begun"])
    answer.addErrback(lambda failure: None)
    answer.cancel()
    await until(lambda: len(steps) == 2)
    assert steps == ["begun", "done"]


@pytest_twisted.ensureDeferred
async def test_a_task_may_take_longer_than_a_connection_may_be_idle(
    listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ipfsreg.app.control.server.IDLE_SECONDS", 0.2)

    async def slow(arguments: Mapping[str, str]) -> dict[str, Any]:
        await pause(0.7)
        return {"done": True}

    path = await listen(slow=slow)
    assert await DaemonClient(reactor, path).do("slow", {}) == {"done": True}


@pytest_twisted.ensureDeferred
async def test_events_come_before_the_result(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipfsreg.app.control.events.EVERY_SECONDS", 0.05)

    async def work(arguments: Mapping[str, str], progress: Progress) -> dict[str, Any]:
        progress.begin("Working", 2)
        await until(lambda: bool(heard))
        progress.done = 2
        return {"of": arguments["a"]}

    async def pages(arguments: Mapping[str, str]) -> AsyncGenerator[list[int], None]:
        for number in range(3):
            yield [number]

    heard: list[Event] = []
    path = await listen(work=Long(work), pages=Listing(pages))
    assert await DaemonClient(reactor, path).do("work", {"a": "1"}, heard.append) == {"of": "1"}
    assert heard[0] == {"progress": {"what": "Working", "done": 0, "total": 2, "moved": 0}}
    heard.clear()
    assert await DaemonClient(reactor, path).do("pages", {}, heard.append) == {}
    assert heard == [{"items": [0]}, {"items": [1]}, {"items": [2]}]


@pytest.mark.parametrize("first", [[], [1]])
@pytest_twisted.ensureDeferred
async def test_a_failure_among_events(listen: Listen, log: list[LogEvent], first: list[int]) -> None:
    async def pages(arguments: Mapping[str, str]) -> AsyncGenerator[list[int], None]:
        if first:
            yield first
        raise Unavailable("the node does not answer")

    path = await listen(pages=Listing(pages))
    with pytest.raises(ControlError, match=r"^the node does not answer$") as raised:
        await DaemonClient(reactor, path).do("pages", {})
    assert raised.value.status == Exit.UNAVAILABLE


@pytest_twisted.ensureDeferred
async def test_long_work_goes_on_when_the_command_goes(
    listen: Listen, log: list[LogEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector may be in the middle of a removal. How it fails then is for the log."""
    monkeypatch.setattr("ipfsreg.app.control.events.EVERY_SECONDS", 0.01)
    go_on: Deferred[None] = Deferred()
    steps: list[str] = []

    async def work(arguments: Mapping[str, str], progress: Progress) -> dict[str, Any]:
        steps.append("begun")
        await go_on
        steps.append("done")
        raise Unavailable("it failed in the end")

    path = await listen(work=Long(work))

    def ask_and_go() -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            connection.sendall(f"POST /work HTTP/1.1\r\nHost: daemon\r\nAccept: {EVENTS}\r\n\r\n".encode())
            while b"progress" not in connection.recv(4096):
                pass

    await deferToThread(ask_and_go)
    await pause(0.1)
    go_on.callback(None)
    await until(lambda: steps == ["begun", "done"])
    await until(lambda: any("it failed in the end" in str(event.get("error")) for event in log))


@pytest_twisted.ensureDeferred
async def test_an_older_command_gets_the_result_alone(listen: Listen) -> None:
    async def work(arguments: Mapping[str, str], progress: Progress) -> dict[str, Any]:
        return {"done": True}

    path = await listen(work=Long(work))
    connection = socket.socket(socket.AF_UNIX)

    def ask() -> bytes:
        with connection:
            connection.connect(str(path))
            connection.sendall(b"POST /work HTTP/1.1\r\nHost: daemon\r\nConnection: close\r\n\r\n")
            return b"".join(iter(lambda: connection.recv(4096), b""))

    assert (await deferToThread(ask)).endswith(b'\r\n\r\n{"done": true}')
