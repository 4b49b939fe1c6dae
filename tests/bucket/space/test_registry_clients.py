"""The real program on a double in a process of its own: real clients, after a daemon's first day by `space init`."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import fork_server
from tests.bucket.textile.test_registry_clients import write_docker_archive
from tests.clients import test_conformance
from tests.clients.engines import DockerEngine
from tests.clients.images import random_layer
from tests.daemon_process import DaemonProcess, program

ROOT = Path(__file__).parents[3]


class SpaceServer:
    """A Space Daemon with a token and a key pair, both made by ``ipfsreg space init``."""

    def __init__(self, url: str, directory: Path) -> None:
        self.url = url
        self.token_file = directory / "space-token"
        init = [program("ipfsreg"), "space", "init", "--url", url, "--token-file", str(self.token_file)]
        environment = {"PATH": os.environ["PATH"], "HOME": str(directory)}
        fork_server.run(init, cwd=directory, env=environment).check_returncode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SpaceServer]:
    """A daemon that was just installed, in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bucket.space.double", "--new"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        known: Mapping[str, str] = json.loads(process.stdout.readline())
        yield SpaceServer(known["url"], tmp_path_factory.mktemp("space"))
        assert process.poll() is None, "the Space Daemon ended itself: somebody touched a copy"
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def running(server: SpaceServer, directory: Path, **more: str) -> Iterator[DaemonProcess]:
    """A daemon on it, whose log is looked through at the end."""
    section = {"url": server.url, "token_file": str(server.token_file), "path": str(directory / "state"), **more}
    with DaemonProcess(directory, {"registry": {"backend": "space"}, "space": section}) as daemon:
        yield daemon
    token = server.token_file.read_text().strip()
    assert not any(part in daemon.log for part in token.split("."))


def test_the_conformance_program_passes(server: SpaceServer, tmp_path: Path) -> None:
    with running(server, tmp_path, bucket="conformance") as daemon:
        test_conformance.test_every_group_passes(daemon, tmp_path)


def test_docker_pushes_ten_layers_and_pulls_them_back(
    server: SpaceServer, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    archive = tmp_path / "image.tar"
    layers = [random_layer(number, 700_000) for number in range(10)]
    write_docker_archive(archive, layers)
    # A directory with a short name: the engine's sockets are in there.
    engine_directory = tmp_path_factory.mktemp("docker")
    with DockerEngine(engine_directory, newer=False) as engine, running(server, tmp_path) as daemon:
        image = f"{daemon.host}/team/ten:1"
        engine.docker("load", "--input", archive)
        engine.docker("tag", "ten:1", image)
        engine.docker("push", image)
        daemon.stop()
        shutil.rmtree(tmp_path / "state")  # the cache, and all else that is on this side
        daemon.start()
        engine.forget_images()
        engine.docker("pull", image)
        inspected = json.loads(engine.docker("image", "inspect", image))
        assert inspected[0]["RootFS"]["Layers"] == [diff_id for _, diff_id in layers]
