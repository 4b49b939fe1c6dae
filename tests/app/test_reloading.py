"""SIGHUP: log files are opened anew, transfers go on, and who has lost the terminal stops."""

import hashlib
import http.client
import os
import pty
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, formatEvent

from ipfsreg.app.reloading import Reloadable, Reloading
from tests.daemon_process import DaemonProcess, program

PATIENCE = 60.0


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


class Logging(DaemonProcess):
    """A daemon with more options of twistd's own, and perhaps a service manager that is told."""

    def __init__(self, directory: Path, *twistd: str, manager: Path | None = None) -> None:
        super().__init__(directory, environment={} if manager is None else {"NOTIFY_SOCKET": str(manager)})
        self.command_line += twistd

    @property
    def log(self) -> str:
        """Of all files."""
        return "".join(each.read_text() for each in self.directory.glob("*.log*") if each.is_file())


def upload_through_a_hangup(daemon: DaemonProcess) -> None:
    """Send half of a blob, have the daemon get the signal, send the rest."""
    content = os.urandom(300_000)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=PATIENCE)
    connection.putrequest("POST", f"/v2/box/blobs/uploads/?digest={digest}")
    connection.putheader("Content-Length", str(len(content)))
    connection.endheaders(content[:100_000])
    told = daemon.log.count("SIGHUP")
    os.kill(daemon.pid, signal.SIGHUP)
    wait_for(lambda: daemon.log.count("SIGHUP") > told)
    connection.send(content[100_000:])
    assert connection.getresponse().status == 201
    connection.close()


def test_without_a_log_file_it_changes_nothing(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon:
        upload_through_a_hangup(daemon)
        upload_through_a_hangup(daemon)
        assert "SIGHUP: there is nothing to read anew. Transfers go on." in daemon.log


def test_a_log_file_that_was_moved_away_is_opened_anew(tmp_path: Path) -> None:
    file = tmp_path / "twistd.log"
    with Logging(tmp_path, f"--logfile={file}") as daemon:
        wait_for(lambda: "Ready: " in file.read_text())
        file.rename(tmp_path / "yesterday.log")
        upload_through_a_hangup(daemon)
        assert f"SIGHUP: the log file {file} is open anew. Transfers go on." in file.read_text()
        assert "SIGHUP" not in (tmp_path / "yesterday.log").read_text()
        # Where there can be none it goes on in the old one, which the log says.
        file.rename(tmp_path / "noon.log")
        file.mkdir()
        os.kill(daemon.pid, signal.SIGHUP)
        wait_for(lambda: "the log file stays as it was: " in (tmp_path / "noon.log").read_text())
        file.rmdir()
        os.kill(daemon.pid, signal.SIGUSR1)
        os.kill(daemon.pid, signal.SIGHUP)
        wait_for(file.exists)
    assert "Stopped." in file.read_text()


def test_the_service_manager_is_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE)
        with Logging(tmp_path, manager=tmp_path / "notify") as daemon:
            assert manager.recv(200) == b"READY=1"
            os.kill(daemon.pid, signal.SIGHUP)
            assert manager.recv(200).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
            assert manager.recv(200) == b"READY=1"
        assert manager.recv(200) == b"STOPPING=1"


def in_terminal(daemon: DaemonProcess, before: Sequence[str] = ()) -> tuple[int, int]:
    """Start a daemon with a terminal of its own; answers its process and our end of the terminal."""
    command = [program("twistd"), "-n", "--pidfile=", "ipfsreg", "--config", str(daemon.config_file)]
    process, ours = pty.fork()
    if not process:
        log = os.open(daemon.log_file, os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 1)
        os.dup2(log, 2)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may have been started by nohup themselves
        os.execvp([*before, *command][0], [*before, *command])
    wait_for(daemon.answers)
    return process, ours


def test_a_daemon_whose_terminal_was_closed_stops_in_order(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path)
    process, ours = in_terminal(daemon)
    os.kill(process, signal.SIGHUP)
    wait_for(lambda: "SIGHUP: there is nothing to read anew" in daemon.log)
    assert daemon.answers()
    os.close(ours)
    os.waitpid(process, 0)
    assert "The terminal was closed, so the daemon stops." in daemon.log
    assert "Stopped." in daemon.log


def test_one_that_is_to_outlive_its_terminal_does(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path)
    process, ours = in_terminal(daemon, ["nohup"])
    os.close(ours)
    os.kill(process, signal.SIGHUP)
    wait_for(lambda: "SIGHUP: there is nothing to read anew" in daemon.log)
    assert daemon.answers()
    os.kill(process, signal.SIGTERM)
    os.waitpid(process, 0)
    assert "The terminal was closed" not in daemon.log


@pytest_twisted.ensureDeferred
async def test_each_is_read_anew_though_others_fail(log: list[LogEvent]) -> None:
    done: list[str] = []
    first: Deferred[str] = Deferred()

    async def slow() -> str:
        done.append("slow")
        return await first

    def broken() -> str:
        raise OSError("no such certificate")

    def last() -> str:
        done.append("last")
        return "the rules are those of today"

    reloading = Reloading(
        [Reloadable("slow", slow), Reloadable("the certificate", broken), Reloadable("rules", last)], reactor
    )
    reloading.reload()
    reloading.reload()
    reloading.reload()
    assert done == ["slow"]
    first.callback("the slow one is done")
    assert done == ["slow", "last", "slow", "last"]  # once more for those that came meanwhile
    said = [formatEvent(event) for event in log]
    assert said.count("SIGHUP: the certificate stays as it was: no such certificate") == 2
    assert said.count("SIGHUP: the slow one is done; the rules are those of today. Transfers go on.") == 2


def test_a_log_file_that_cannot_be_written(tmp_path: Path) -> None:
    ended = subprocess.run(
        [program("twistd"), "-n", "--logfile=/nowhere/twistd.log", "ipfsreg"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PORT": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "ipfsreg: --logfile: No such file or directory: /nowhere/twistd.log\n"
