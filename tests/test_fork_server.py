"""A command that is forked does what one does that is started anew."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from . import fork_server
from .daemon_process import DaemonProcess, program
from .full import some


@pytest.mark.parametrize(
    "arguments",
    some(2, [["--version"], ["check"], ["check", "--config", "missing.ini"], ["cid", "box"], ["nosuch"]]),
)
def test_commands(tmp_path: Path, arguments: list[str]) -> None:
    command = [program("ipfsreg"), *arguments]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PORT": "0"}
    anew = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    forked = fork_server.run(command, cwd=tmp_path, env=environment)
    assert (forked.returncode, forked.stdout, forked.stderr) == (anew.returncode, anew.stdout, anew.stderr)


def test_signals(tmp_path: Path) -> None:
    with (tmp_path / "log").open("ab") as log, open(os.devnull, "rb") as nothing:
        process = fork_server.start(
            [program("twistd"), "-n", "ipfsreg"],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PORT": "0"},
            stdin=nothing,
            stdout=log,
            stderr=log,
        )
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.kill()
    assert process.wait(20) == process.poll() == process.returncode == -signal.SIGKILL


def test_daemons(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon:
        os.kill(daemon.pid, 0)
        assert daemon.answers()
