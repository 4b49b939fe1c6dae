"""A service manager's part in `Type=notify` (sd_notify(3)), for one process."""

import os
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

from tests import fork_server

START_SECONDS = 20.0
STOP_SECONDS = 20.0


def run_until_ready(command: Sequence[str], directory: Path) -> list[str]:
    """Run a command in a directory until it says that it is ready, then stop it; all that it said.

    Its output is in the file ``log`` of the directory.
    """
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        (directory / "log").open("wb") as log,
        open(os.devnull, "rb") as nothing,
    ):
        manager.bind(str(directory / "notify"))
        manager.settimeout(START_SECONDS)
        environment = {"PATH": os.environ["PATH"], "HOME": "/", "NOTIFY_SOCKET": str(directory / "notify")}
        process = fork_server.start(command, cwd=directory, env=environment, stdin=nothing, stdout=log, stderr=log)
        try:
            said = [manager.recv(4096).decode()]
            process.send_signal(signal.SIGTERM)
            status = process.wait(STOP_SECONDS)
        except BaseException:
            process.kill()
            process.wait()
            raise
        assert status in (0, -signal.SIGTERM), (directory / "log").read_text()
        manager.setblocking(False)
        try:
            while True:
                said.append(manager.recv(4096).decode())
        except BlockingIOError:
            return said
