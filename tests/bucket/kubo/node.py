"""A real Kubo node for tests: its own repository, 127.0.0.1 only, ports of its own, no peers."""

import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.clients.programs import TOOLS, unavailable
from tests.daemon_process import free_port

START_SECONDS = 30.0

OLDEST = "ipfs-0.8"
UNSAFE = "ipfs-0.42"
"""The last version whose MFS and garbage collection do not wait for each other."""


def require_ipfs(name: str = "ipfs") -> str:
    """The path of the program; without it the test ends."""
    found = shutil.which(name, path=f"{TOOLS / 'bin'}:{os.environ['PATH']}")
    if found is None:
        unavailable(f"{name} (Kubo) is not installed (.ci/install-programs installs it)")
    return found


class KuboNode:
    """A node in a process of its own. Its ports and repository stay the same over `kill` and `start`.

    :param config: more of its configuration, by dotted name.
    :param online: whether it may have peers; it never has any but those that a test connects.
    """

    def __init__(
        self, directory: Path, config: Mapping[str, Any] | None = None, *, online: bool = False, program: str = "ipfs"
    ) -> None:
        self.repository = directory / "ipfs"
        self.port = free_port()
        self.log_file = directory / "ipfs.log"
        self._program = require_ipfs(program)
        self._online = online
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(directory), "IPFS_PATH": str(self.repository)}
        self._process: subprocess.Popen[bytes] | None = None
        self.repository.mkdir(parents=True)
        self.command("init", "--empty-repo", "--profile=test")
        settings = json.loads((self.repository / "config").read_text())
        swarm = [f"/ip4/127.0.0.1/tcp/{free_port()}"] if online else []
        given = {
            "Bootstrap": [],
            "Addresses.API": f"/ip4/127.0.0.1/tcp/{self.port}",
            "Addresses.Gateway": [],
            "Addresses.Swarm": swarm,
            "Routing.Type": "none",
            "AutoConf.Enabled": False,
            "AutoTLS.Enabled": False,
            "Discovery.MDNS.Enabled": False,
            "Swarm.DisableNatPortMap": True,
            **(config or {}),
        }
        for name, value in given.items():
            *parents, last = name.split(".")
            section = settings
            for parent in parents:
                section = section.setdefault(parent, {})
            section[last] = value
        (self.repository / "config").write_text(json.dumps(settings))

    @property
    def url(self) -> str:
        """The RPC's address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process id of the running node."""
        assert self._process is not None
        return self._process.pid

    def command(self, *arguments: str, data: bytes | None = None, within: float = 60) -> str:
        """Run ``ipfs ARGUMENTS`` on the repository, or through the daemon where it runs."""
        command, environment = [self._program, *arguments], self._environment
        done = subprocess.run(command, input=data, capture_output=True, timeout=within, env=environment, check=False)
        assert done.returncode == 0, f"ipfs {arguments}: {done.stderr.decode()}"
        return done.stdout.decode()

    def rpc(self, command: str, *arguments: str, headers: Mapping[str, str] | None = None, **options: object) -> Any:
        """Call the RPC, and wait; answers the lines of JSON that came."""
        query = [("arg", each) for each in arguments]
        query += [(name.replace("_", "-"), str(value).lower()) for name, value in options.items()]
        url = f"{self.url}/api/v0/{command}?{urlencode(query)}"
        request = urllib.request.Request(url, b"", dict(headers or {}), method="POST")
        with urllib.request.urlopen(request, timeout=60) as answer:
            lines = answer.read().decode().splitlines()
        return [json.loads(line) for line in lines if line.strip()]

    def start(self) -> "KuboNode":
        """Start the daemon and return when its RPC answers."""
        assert self._process is None
        command = [self._program, "daemon", *([] if self._online else ["--offline"])]
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=self._environment
            )
        end = time.monotonic() + START_SECONDS
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise RuntimeError(f"the node does not start:\n{self.log_file.read_text()}")
            time.sleep(0.05)
        return self

    def answers(self) -> bool:
        """Whether its RPC answers right now, in whatever way."""
        try:
            self.rpc("version")
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """End it at once (`kill -9`)."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def stop(self) -> None:
        """End it in good order."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None


@contextmanager
def running_node(directory: Path, config: Mapping[str, Any] | None = None, **more: Any) -> Iterator[KuboNode]:
    """A node that runs for a block."""
    node = KuboNode(directory, config, **more)
    node.start()
    try:
        yield node
    finally:
        node.stop()


def connect(one: KuboNode, two: KuboNode) -> None:
    """Let two nodes know each other."""
    two.rpc("swarm/connect", one.rpc("id")[0]["Addresses"][0])
