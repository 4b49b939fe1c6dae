"""A private Docker engine: its own socket, images and containerd, no network changes; see its class."""

import contextlib
import json
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from . import programs
from .programs import client_environment, require_program, run

START_SECONDS = 30.0
NAMESPACE = "tests"


class DockerEngine:
    """A dockerd of its own under `directory`, started on entry and stopped by its process id on exit.

    :param newer: run the newer engine with the containerd image store, what new installations do, in place of
        the system's with the classic store.
    :param trusted: the certificate of an authority that it trusts for TLS, in place of the system's.
    """

    def __init__(self, directory: Path, newer: bool, trusted: Path | None = None) -> None:
        self.directory = directory
        self.newer = newer
        # Debian's own before what else a machine may have under /usr/local.
        path = programs.NEWER_ENGINE_PATH if newer else "/usr/bin:/usr/sbin"
        self.env = client_environment(directory / "home", [path])
        if trusted is not None:
            self.env["SSL_CERT_FILE"] = str(trusted)
        programs.require_root()
        self._dockerd = require_program("dockerd", self.env["PATH"])
        self._docker = require_program("docker", self.env["PATH"])
        self._ctr = require_program("ctr", self.env["PATH"])
        for helper in ("containerd", "runc"):
            require_program(helper, self.env["PATH"])
        if newer and not self._dockerd.startswith(str(programs.NEWER_ENGINE)):
            programs.unavailable("the newer Docker engine is not installed (.ci/install-programs installs it)")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def store(self) -> str:
        """The kind of image store; tests have it in repository names, for both engines push to one daemon."""
        return "containerd" if self.newer else "classic"

    def docker(self, *arguments: str | Path, fails: bool = False) -> str:
        """Run the docker command on this engine and return what it printed; see `programs.run`."""
        return run(self._docker, "--host", self.address, *arguments, env=self.env, fails=fails)

    def ctr(self, *arguments: str | Path, fails: bool = False) -> str:
        """Run the ctr command on this engine's containerd, in a namespace of its own."""
        options = ("--address", self._containerd, "--namespace", NAMESPACE)
        return run(self._ctr, *options, *arguments, env=self.env, fails=fails)

    def nerdctl(self, *arguments: str | Path, fails: bool = False) -> str:
        """Run the nerdctl command on this engine's containerd, in the namespace of `ctr`."""
        nerdctl = require_program("nerdctl", str(programs.TOOLS / "bin"))
        options = ("--address", self._containerd, "--namespace", NAMESPACE, "--data-root", self.directory / "nerdctl")
        return run(nerdctl, *options, *arguments, env=self.env, fails=fails)

    @property
    def content(self) -> set[str]:
        """The digests of all that containerd has for `ctr` and `nerdctl`."""
        return set(self.ctr("content", "ls", "--quiet").split())

    def run_image(self, name: str, *command: str) -> str:
        """Run a command in a container of an image that is there, without a network; what it printed.

        Not attached: on a busy machine an engine may lose what a short-lived container prints to who is attached.
        """
        container = self.docker("run", "--detach", "--pull=never", "--network=none", name, *command).strip()
        try:
            assert self.docker("wait", container).strip() == "0"
            return self.docker("logs", container)
        finally:
            self.docker("rm", "--force", container)

    def pulled_digest(self, name: str) -> str:
        """The digest that the engine says an image of this name came with."""
        (repository_digest,) = json.loads(self.docker("image", "inspect", name))[0]["RepoDigests"]
        digest: str = repository_digest.partition("@")[2]
        return digest

    def forget_images(self) -> None:
        """Remove every image and its content, so that the next pull fetches all of it."""
        self.docker("image", "prune", "--all", "--force")
        for name in self.ctr("images", "ls", "--quiet").split():
            self.ctr("images", "rm", "--sync", name)
        if self.newer:
            # The containerd store drops content when its collector next runs; a synchronous removal runs it.
            self.ctr("leases", "create", "--id", "collect")
            self.ctr("leases", "rm", "--sync", "collect")

    def __enter__(self) -> Self:
        config = self.directory / "daemon.json"
        config.write_text(json.dumps({"features": {"containerd-snapshotter": True}} if self.newer else {}))
        with (self.directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    self._dockerd,
                    "--config-file",
                    str(config),
                    "--host",
                    self.address,
                    "--data-root",
                    str(self.directory / "data"),
                    "--exec-root",
                    str(self.directory / "exec"),
                    "--pidfile",
                    str(self.directory / "pid"),
                    "--iptables=false",
                    "--ip6tables=false",
                    "--ip-forward=false",
                    "--bridge=none",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.env,
            )
        end = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(AssertionError):
                self.docker("version")
                return self
            if self._process.poll() is not None or time.monotonic() > end:
                self.__exit__(None, None, None)
                raise RuntimeError(f"dockerd did not start:\n{(self.directory / 'log').read_text()}")
            time.sleep(0.1)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        # Hundreds of megabytes of unpacked images that pytest would keep for three runs.
        shutil.rmtree(self.directory / "data", ignore_errors=True)

    @property
    def address(self) -> str:
        """Where it listens, as `DOCKER_HOST` has it."""
        return f"unix://{self.directory / 'docker.sock'}"

    @property
    def _containerd(self) -> Path:
        return self.directory / "exec" / "containerd" / "containerd.sock"
