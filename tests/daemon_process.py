"""The daemon as users run it: `twistd -n ipfsreg --config FILE` in a process of its own.

For tests and benchmarks that must see the real program: real clients, kills, restarts, memory. Nothing here
needs pytest or a reactor.
"""

import configparser
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tests import fork_server

START_SECONDS = 20.0
STOP_SECONDS = 30.0


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Answer(NamedTuple):
    """What the daemon answered to a request."""

    status: int
    headers: http.client.HTTPMessage
    content: bytes


class DaemonProcess:
    """One daemon with its own directory, configuration file and port.

    The port, the configuration and the stored images stay the same over `stop`, `kill` and `restart`, so
    clients keep their image names. Used as a context manager, it starts on entry and on exit stops and checks
    that the daemon ended by itself and logged no unexpected error.

    :param directory: an existing directory for configuration, log and images; also the daemon's home.
    :param config: more options, `{section: {option: value}}`; they win over the defaults (a free port,
        backend `local` in `directory/store`).
    :param environment: more environment variables for the daemon.
    """

    def __init__(
        self,
        directory: Path,
        config: Mapping[str, Mapping[str, str]] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.port = free_port()
        self.path = directory / "store"
        self.config_file = directory / "ipfsreg.ini"
        self.log_file = directory / "daemon.log"
        parser = configparser.ConfigParser(interpolation=None)
        parser.read_dict(
            {
                "registry": {"listen": f"tcp:{self.port}:interface=127.0.0.1", "backend": "local"},
                "local": {"path": str(self.path)},
            }
        )
        parser.read_dict(config or {})
        with self.config_file.open("w", encoding="utf-8") as file:
            parser.write(file)
        self._environment = _clean_environment(directory) | dict(environment or {})
        self.command_line = [program("twistd"), "-n", "--pidfile="]
        """What starts it, up to twistd's own options."""
        self._process: fork_server.Started | None = None

    @property
    def host(self) -> str:
        """What image names start with: `127.0.0.1:PORT`."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The base of every address, without a slash at the end."""
        return f"http://{self.host}"

    @property
    def pid(self) -> int:
        """The process id of the running daemon."""
        return self._running().pid

    @property
    def log(self) -> str:
        """All that the daemon has written since the first start."""
        return self.log_file.read_text(encoding="utf-8", errors="replace") if self.log_file.exists() else ""

    def start(self, deadline: float = START_SECONDS) -> None:
        """Start the daemon and return when `GET /v2/` is answered.

        :raises RuntimeError: if it ended or did not answer within `deadline` seconds, with the log.
        """
        if self._process is not None:
            raise RuntimeError("the daemon is running already")
        with self.log_file.open("ab") as log, open(os.devnull, "rb") as nothing:
            self._process = fork_server.start(
                [*self.command_line, "ipfsreg", "--config", str(self.config_file)],
                cwd=self.directory,
                env=self._environment,
                stdin=nothing,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + deadline
        while not self.answers():
            if self._process.poll() is not None:
                code = self._process.returncode
                self._process = None
                raise RuntimeError(f"the daemon ended at once with code {code}:\n{self.log}")
            if time.monotonic() > end:
                self.kill()
                raise RuntimeError(f"the daemon did not answer within {deadline} s:\n{self.log}")
            time.sleep(0.02)

    def answers(self) -> bool:
        """Whether something answers `GET /v2/` as a registry does, with or without a login, right now."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/v2/")
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        return response.status in (200, 401)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 60.0,
    ) -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def stop(self, deadline: float = STOP_SECONDS) -> None:
        """Ask the daemon to end, as systemd does, and check that it did so in good order.

        :raises RuntimeError: if it had to be killed after `deadline` seconds or ended in disorder.
        """
        process = self._running()
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(deadline)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError(f"the daemon did not stop within {deadline} s:\n{self.log}") from None
        self._process = None
        # Twisted, having shut down on a signal, ends the process with that same signal.
        if code not in (0, -signal.SIGTERM) or "Stopped." not in self.log:
            raise RuntimeError(f"the daemon ended with code {code}:\n{self.log}")

    def kill(self) -> None:
        """End the daemon at once, without a chance to tidy up (`kill -9`)."""
        process = self._running()
        process.kill()
        process.wait()
        self._process = None

    def restart(self) -> None:
        """Stop in good order, then start on the same port and images."""
        self.stop()
        self.start()

    def check_log(self) -> None:
        """Check that nothing in the log tells of a bug: no traceback, nothing unhandled.

        :raises RuntimeError: if something does; the log is in the message.
        """
        if "Traceback (most recent call last)" in self.log or "Unhandled" in self.log:
            raise RuntimeError(f"the daemon logged an unexpected error:\n{self.log}")

    def command(self, *arguments: str, deadline: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run `ipfsreg ARGUMENTS --config FILE` with this daemon's configuration, whatever its exit code."""
        command = [program("ipfsreg"), *arguments, "--config", str(self.config_file)]
        return fork_server.run(command, cwd=self.directory, env=self._environment, timeout=deadline)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process is not None:
            self.stop()
        if error is None:
            self.check_log()

    def _running(self) -> fork_server.Started:
        if self._process is None:
            raise RuntimeError("the daemon is not running")
        return self._process


def program(name: str) -> str:
    """The path of a command of the virtual environment that runs this code."""
    return str(Path(sys.executable).with_name(name))


def _clean_environment(home: Path) -> dict[str, str]:
    """This process's environment less what could reach into the daemon's configuration."""
    kept = ("PATH", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    return environment | {"HOME": str(home), "PYTHONUNBUFFERED": "1"}
