"""Machines for tests: network namespaces on one switch, each with a node, a daemon and clients of its own."""

import configparser
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.clients.programs import unavailable
from tests.daemon_process import program

from .node import require_ipfs

PATIENCE = 60.0

_CLIENT = """
import sys, urllib.error, urllib.request
method, url, kind = sys.argv[1:4]
data = sys.stdin.buffer.read() if method != "GET" else None
request = urllib.request.Request(url, data, {"Content-Type": kind}, method=method)
try:
    answer = urllib.request.urlopen(request, timeout=30)
except urllib.error.HTTPError as error:
    answer = error
except OSError as error:
    print(f"0\\n{error}", end="")
    sys.exit()
sys.stdout.buffer.write(b"%d\\n" % answer.status + answer.read())
"""


class Machine:
    """One namespace, with ``address`` on the switch."""

    def __init__(self, directory: Path, namespace: str, address: str) -> None:
        self.directory = directory
        self.address = address
        self.store = directory / "store"
        self._enter = ["ip", "netns", "exec", namespace]
        self._repository = directory / "ipfs"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._daemon: subprocess.Popen[bytes] | None = None
        directory.mkdir()

    def run(self, *command: str, data: bytes = b"", check: bool = True) -> bytes:
        """Run a program there, and answer what it says."""
        done = subprocess.run(
            [*self._enter, *command],
            input=data,
            capture_output=True,
            timeout=90,
            env=self._environment(),
            cwd=self.directory,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"{command}: {done.stderr.decode()}"
        return done.stdout if check else done.stdout + done.stderr

    def ipfs(self, *arguments: str) -> str:
        """Run ``ipfs ARGUMENTS``."""
        return self.run(require_ipfs(), *arguments).decode().strip()

    def command(self, *arguments: str, check: bool = True) -> str:
        """Run ``ipfsreg ARGUMENTS`` with this machine's configuration."""
        return self.run(program("ipfsreg"), *arguments, "--config", "ipfsreg.ini", check=check).decode().strip()

    def ask(
        self, method: str, path: str, data: bytes = b"", kind: str = "application/octet-stream"
    ) -> tuple[int, bytes]:
        """Ask this machine's registry: the status, which is 0 where it does not answer, and the body."""
        found = self.run(sys.executable, "-c", _CLIENT, method, f"http://127.0.0.1:5000/v2/{path}", kind, data=data)
        status, _, body = found.partition(b"\n")
        return int(status), body

    def until(self, path: str, status: int = 200) -> bytes:
        """Ask until the registry answers with a status."""
        end = time.monotonic() + PATIENCE
        while (found := self.ask("GET", path))[0] != status:
            assert time.monotonic() < end, f"{path}: {found}\n{self.log[-4000:]}"
            time.sleep(0.3)
        return found[1]

    def start_node(self) -> None:
        """Make a node, and start it."""
        self.ipfs("init", "--empty-repo", "--profile=test")
        settings = {
            "Bootstrap": [],
            "Addresses.API": "/ip4/127.0.0.1/tcp/5001",
            "Addresses.Gateway": [],
            "Addresses.Swarm": [f"/ip4/{self.address}/tcp/4001"],
            "Routing.Type": "dht",
            "AutoConf.Enabled": False,
            "AutoTLS.Enabled": False,
            "Discovery.MDNS.Enabled": False,
            "Swarm.DisableNatPortMap": True,
        }
        file = self._repository / "config"
        found = json.loads(file.read_text())
        for name, value in settings.items():
            *parents, last = name.split(".")
            section = found
            for parent in parents:
                section = section.setdefault(parent, {})
            section[last] = value
        file.write_text(json.dumps(found))
        self._spawn([require_ipfs(), "daemon"], "ipfs.log")
        end = time.monotonic() + PATIENCE
        while b"ID" not in self.run(require_ipfs(), "id", "--api=/ip4/127.0.0.1/tcp/5001", check=False):
            assert time.monotonic() < end
            time.sleep(0.2)

    def connect(self, other: "Machine") -> None:
        """Let the nodes of two machines know each other."""
        identity = json.loads(other.ipfs("id"))["ID"]
        self.ipfs("swarm", "connect", f"/ip4/{other.address}/tcp/4001/p2p/{identity}")

    def configure(self, kubo: Mapping[str, str], encryption: Mapping[str, str] | None = None) -> None:
        """Write the configuration."""
        parser = configparser.ConfigParser(interpolation=None)
        sections = {
            "registry": {"listen": "tcp:5000:interface=127.0.0.1", "backend": "kubo"},
            "kubo": {"api": "/ip4/127.0.0.1/tcp/5001", "directory": str(self.store), **kubo},
        }
        if encryption is not None:
            sections["encryption"] = {"enabled": "yes", "key": str(self.directory / "member.key"), **encryption}
        parser.read_dict(sections)
        with (self.directory / "ipfsreg.ini").open("w") as file:
            parser.write(file)

    def start(self) -> None:
        """Start the daemon."""
        self._daemon = self._spawn(
            [program("twistd"), "-n", "--pidfile=", "ipfsreg", "--config", "ipfsreg.ini"], "daemon.log"
        )
        self.until("")

    def stop(self) -> None:
        """Stop the daemon."""
        assert self._daemon is not None
        self._end(self._daemon)
        self._daemon = None

    @property
    def log(self) -> str:
        """What the daemon wrote."""
        return (self.directory / "daemon.log").read_text()

    def end(self) -> None:
        """End all that runs here."""
        for process in reversed(self._processes):
            self._end(process)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _spawn(self, command: Sequence[str], log: str) -> subprocess.Popen[bytes]:
        with (self.directory / log).open("ab") as file:
            process = subprocess.Popen(
                [*self._enter, *command],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=self._environment(),
                cwd=self.directory,
            )
        self._processes.append(process)
        return process

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "IPFS_PATH": str(self._repository),
            "PYTHONUNBUFFERED": "1",
        }


@contextmanager
def machines(directory: Path, *names: str) -> Iterator[list[Machine]]:
    """Machines that reach each other and nobody else, for a block; their nodes run."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        unavailable("network namespaces need root and the program ip")
    tag = secrets.token_hex(2)
    switch = f"switch-{tag}"
    with ExitStack() as until_end:

        def ip(*arguments: str, within: str | None = None) -> None:
            prefix = [] if within is None else ["ip", "netns", "exec", within]
            done = subprocess.run([*prefix, "ip", *arguments], capture_output=True, text=True, check=False)
            if done.returncode:
                unavailable(f"network namespaces cannot be made here: {done.stderr.strip()}")

        def namespace(name: str) -> None:
            ip("netns", "add", name)
            until_end.callback(subprocess.run, ["ip", "netns", "del", name], capture_output=True, check=False)
            ip("link", "set", "lo", "up", within=name)

        namespace(switch)
        ip("link", "add", "br0", "type", "bridge", within=switch)
        ip("link", "set", "br0", "up", within=switch)
        found = []
        for number, name in enumerate(names, 1):
            own, port, address = f"{name}-{tag}", f"p{number}", f"10.77.{int(tag[:2], 16)}.{number}"
            namespace(own)
            ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", own, within=switch)
            ip("link", "set", port, "master", "br0", "up", within=switch)
            ip("addr", "add", f"{address}/24", "dev", "eth0", within=own)
            ip("link", "set", "eth0", "up", within=own)
            machine = Machine(directory / name, own, address)
            until_end.callback(machine.end)
            found.append(machine)
        for machine in found:
            machine.start_node()
            for other in found[: found.index(machine)]:
                machine.connect(other)
        yield found
