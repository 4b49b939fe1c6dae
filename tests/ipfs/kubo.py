"""A real Kubo node that knows nobody and is known to nobody."""

import os
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.clients.programs import TOOLS, require_program

START_SECONDS = 30.0
STOP_SECONDS = 20.0

_LOOPBACK = "/ip4/127.0.0.1/tcp/0"


class Kubo:
    """A node's repository, and its daemon where it is used as a context manager.

    Without a swarm, bootstrap peers or discovery: what it does not have it can only get over HTTP from what
    ``router`` (a URL) names.
    """

    def __init__(self, directory: Path, router: str) -> None:
        self.program = require_program("ipfs", f"{TOOLS / 'bin'}:{os.environ['PATH']}")
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(directory), "IPFS_PATH": str(directory / "repo")}
        self._log = directory / "kubo.log"
        self._daemon: subprocess.Popen[bytes] | None = None
        self.run("init", "--profile=test", "--empty-repo")
        self.run("bootstrap", "rm", "--all")
        for name, value in (
            ("AutoConf.Enabled", "false"),
            ("Discovery.MDNS.Enabled", "false"),
            ("Addresses.Swarm", "[]"),
            ("Addresses.API", f'"{_LOOPBACK}"'),
            ("Addresses.Gateway", f'"{_LOOPBACK}"'),
            ("Routing.Type", '"delegated"'),
            ("Routing.DelegatedRouters", f'["{router}"]'),
            ("Ipns.DelegatedPublishers", "[]"),
            ("Provide.Enabled", "false"),  # a router over HTTP takes no announcements
        ):
            self.run("config", "--json", name, value)

    def run(self, *arguments: str, stdin: bytes = b"", deadline: float = 60.0) -> bytes:
        """Run `ipfs ARGUMENTS` and give what it printed."""
        done = subprocess.run(
            [self.program, *arguments],
            input=stdin,
            capture_output=True,
            env=self.environment,
            timeout=deadline,
            check=False,
        )
        assert done.returncode == 0, f"ipfs {arguments}: {done.stderr.decode()}{self.log}"
        return done.stdout

    @property
    def log(self) -> str:
        """What the daemon has written."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._daemon = subprocess.Popen(
                [self.program, "daemon"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment
            )
        end = time.monotonic() + START_SECONDS
        while "Daemon is ready" not in self.log:
            if self._daemon.poll() is not None or time.monotonic() > end:
                self.__exit__()
                raise RuntimeError(f"the node did not start:\n{self.log}")
            time.sleep(0.05)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> Any:
        if self._daemon is not None and self._daemon.poll() is None:
            self._daemon.terminate()
            try:
                self._daemon.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._daemon.kill()
                self._daemon.wait()
