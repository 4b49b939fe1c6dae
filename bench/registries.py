"""The registries that are compared: how each is configured, started, watched and stopped."""

import http.client
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from .errors import BenchError

CHECKOUT = Path(__file__).resolve().parent.parent
READY_WITHIN = 60.0
STOP_WITHIN = 20.0

_IPFSREG_CONFIG = """\
[registry]
listen = tcp:{port}:interface=127.0.0.1
backend = local

[local]
path = {directory}/data
"""

# What Debian ships in /etc/docker/registry/config.yml, less its password file and its logs; with the purge of
# old uploads off, and a catalogue that may be had in one answer, so that the peer is seen at its best.
_DOCKER_REGISTRY_CONFIG = """\
version: 0.1
log:
  level: error
  accesslog:
    disabled: true
storage:
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: {directory}/data
  delete:
    enabled: true
  maintenance:
    uploadpurging:
      enabled: false
catalog:
  maxentries: 100000
http:
  addr: 127.0.0.1:{port}
  headers:
    X-Content-Type-Options: [nosniff]
health:
  storagedriver:
    enabled: true
    interval: 10s
    threshold: 3
"""


class RegistryError(BenchError):
    """A registry did not start, or ended by itself; the message has the end of what it printed."""


@dataclass(frozen=True)
class Registry:
    """A registry that can be started: its name in the table, and a function to its command line.

    ``prepare`` gets a port and an existing private directory, may write a configuration there, and returns
    the command; all that the registry keeps has to stay below that directory. The command is run in ``checkout``,
    where Python finds its modules first.
    """

    name: str
    prepare: Callable[[int, Path], list[str]]
    version: Callable[[], str]
    checkout: Path = CHECKOUT


def _ipfsreg(name: str, checkout: Path, python: Path) -> Registry:
    """The registry of a checkout, run by the virtual environment of that Python."""

    def prepare(port: int, directory: Path) -> list[str]:
        twistd = python.with_name("twistd")
        if not twistd.exists():
            raise RegistryError(f"there is no twistd beside {python}: `make .venv/.installed` makes one")
        config = directory / "ipfsreg.ini"
        config.write_text(_IPFSREG_CONFIG.format(port=port, directory=directory), encoding="utf-8")
        return [str(twistd), "-n", "--pidfile=", "ipfsreg", "--config", str(config)]

    def version() -> str:
        asked = "import platform, twisted; print(f'Python {platform.python_version()}, Twisted {twisted.__version__}')"
        return f"{_commit(checkout)}, {_printed(str(python), '-c', asked)}"

    return Registry(name, prepare, version, checkout)


def _commit(checkout: Path) -> str:
    described = _printed("git", "-C", str(checkout), "describe", "--always", "--dirty")
    return f"commit {described}" if described else "no commit"


def _printed(*command: str) -> str:
    """What a program prints, in one line; nothing where it is not there, or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=READY_WITHIN)
    except (OSError, subprocess.SubprocessError):
        return ""
    return " ".join(done.stdout.split())


def _prepare_docker_registry(port: int, directory: Path) -> list[str]:
    program = shutil.which("docker-registry")
    if program is None:
        raise RegistryError("docker-registry is not installed (Debian's package of that name)")
    config = directory / "config.yml"
    config.write_text(_DOCKER_REGISTRY_CONFIG.format(port=port, directory=directory), encoding="utf-8")
    return [program, "serve", str(config)]


def _docker_registry_version() -> str:
    return _printed("docker-registry", "--version") or "unknown version"


def _find_olareg() -> Path:
    tools = Path(os.environ.get("IPFSREG_TOOLS") or CHECKOUT / ".tools").absolute()
    found = shutil.which("olareg", path=f"{tools / 'bin'}:{os.environ.get('PATH', '')}")
    if found is None:
        raise RegistryError("olareg is not installed (.ci/install-programs installs it)")
    return Path(found)


def _prepare_olareg(port: int, directory: Path) -> list[str]:
    storage = ("--store-type", "dir", "--dir", str(directory / "data"))
    return [str(_find_olareg()), "serve", "--addr", "127.0.0.1", "--port", str(port), *storage, "--api-delete"]


def _olareg_version() -> str:
    # What was built from a module's source does not know its version; who built it has written that beside it.
    stamp = _find_olareg().with_name(".olareg")
    return stamp.read_text(encoding="utf-8").strip() if stamp.exists() else "unknown version"


IPFSREG = _ipfsreg("ipfsreg", CHECKOUT, Path(sys.executable))
DOCKER_REGISTRY = Registry("docker-registry", _prepare_docker_registry, _docker_registry_version)
OLAREG = Registry("olareg", _prepare_olareg, _olareg_version)
KNOWN = {registry.name: registry for registry in (IPFSREG, DOCKER_REGISTRY, OLAREG)}


def checkout_of(name: str, directory: Path) -> Registry:
    """This registry as another checkout has it, run by the virtual environment ``.venv`` in there.

    :raises ValueError: where there is none.
    """
    python = directory.absolute() / ".venv" / "bin" / "python"
    if not python.with_name("twistd").exists():
        raise ValueError(f"{directory} has no .venv with twistd: `make .venv/.installed` in there makes it")
    return _ipfsreg(name, directory.absolute(), python)


def peer(name: str, template: str) -> Registry:
    """Any other registry, from a command line with ``{port}`` and ``{dir}`` in it (no shell, but quotes).

    :raises ValueError: where the template lacks either, or holds another placeholder.
    """
    try:
        for part in ("{port}", "{dir}"):
            if part not in template:
                raise ValueError(f"the command of {name} has no {part}")
        template.format(port=1, dir="x")
    except (KeyError, IndexError) as error:
        raise ValueError(f"the command of {name} has an unknown placeholder: {error}") from error

    def prepare(port: int, directory: Path) -> list[str]:
        return [part.format(port=port, dir=str(directory)) for part in shlex.split(template)]

    return Registry(name, prepare, lambda: template)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Running:
    """A started registry on 127.0.0.1; ``ready_after`` is the time in seconds from start to the first answer."""

    def __init__(self, registry: Registry, directory: Path) -> None:
        """Start it on the data in ``directory`` and wait until GET /v2/ answers 200, or 401 if it wants a login.

        :raises RegistryError: where it does not within a minute.
        """
        self.name = registry.name
        self.directory = directory
        self.port = free_port()
        command = registry.prepare(self.port, directory)
        environment = {**os.environ, "PYTHONPATH": str(registry.checkout)}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # else each start would compile everything anew
        self._output = directory / "output.txt"
        with self._output.open("ab") as output:
            started = time.perf_counter()
            self._process = psutil.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=registry.checkout, env=environment
            )
        try:
            while not self._answers():
                if self._process.poll() is not None:
                    raise RegistryError(f"{self.name} ended with {self._process.returncode}: {self._printed()}")
                if time.perf_counter() - started > READY_WITHIN:
                    raise RegistryError(f"{self.name} was not ready within {READY_WITHIN:g} s: {self._printed()}")
                time.sleep(0.001)
            self.ready_after = time.perf_counter() - started
        except BaseException:
            self.stop()
            raise

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=READY_WITHIN)
        try:
            connection.request("GET", "/v2/")
            return connection.getresponse().status in (200, 401)
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _printed(self) -> str:
        return self._output.read_text(encoding="utf-8", errors="replace")[-2000:]

    def processes(self) -> list[psutil.Process]:
        """The daemon and all that it has started."""
        return [self._process, *self._process.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """The CPU time, user's and system's, that the daemon's processes have used so far.

        By each one's own clock (clock_getcpuclockid(3), which Python has not), since /proc counts in hundredths of a
        second.
        """
        total = 0.0
        for process in self.processes():
            total += time.clock_gettime(~process.pid << 3 | 2)
        return total

    def kill(self) -> None:
        """End it and whatever it started at once, without a chance to tidy up (SIGKILL)."""
        processes = self.processes()
        for process in processes:
            process.kill()
        psutil.wait_procs(processes, timeout=STOP_WITHIN)

    def stop(self) -> None:
        """End the daemon and whatever it started, politely first; does nothing to one that has ended."""
        try:
            processes = self.processes()
        except psutil.NoSuchProcess:
            processes = []
        if self._process.poll() is None:
            self._process.terminate()
        _, alive = psutil.wait_procs(processes, timeout=STOP_WITHIN)
        for process in alive:
            process.kill()
        psutil.wait_procs(alive, timeout=STOP_WITHIN)


@contextmanager
def running(registry: Registry, directory: Path) -> Iterator[Running]:
    """A registry that runs while the block does; its data stays in ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    daemon = Running(registry, directory)
    try:
        yield daemon
    finally:
        daemon.stop()
