"""The real program on a double in a process of its own: real clients, and memory."""

import hashlib
import http.client
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.clients import test_conformance
from tests.clients.engines import DockerEngine
from tests.clients.images import random_layer, sha256
from tests.daemon_process import DaemonProcess
from tests.full import FULL
from tests.marks import full

ROOT = Path(__file__).parents[3]
MEBIBYTE = 1024 * 1024
LARGE = (600 if FULL else 80) * MEBIBYTE
MEMORY = 40 * MEBIBYTE


class Server(NamedTuple):
    url: str
    key: str
    secret: str


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A hub in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bucket.textile.double", "--hub"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield Server(**json.loads(process.stdout.readline()))
    finally:
        process.terminate()
        process.wait(20)


def on(server: Server, directory: Path, **more: str) -> DaemonProcess:
    """A daemon on the hub."""
    section = {"host": server.url, "key": server.key, "secret": server.secret, "path": str(directory / "state"), **more}
    return DaemonProcess(directory, {"registry": {"backend": "textile"}, "textile": section})


@contextmanager
def running(server: Server, directory: Path, **more: str) -> Iterator[DaemonProcess]:
    """A daemon on the hub, whose log is looked through at the end."""
    with on(server, directory, **more) as daemon:
        yield daemon
    assert server.key not in daemon.log
    assert server.secret not in daemon.log


def conformance(server: Server, directory: Path) -> None:
    with running(server, directory, bucket="conformance", thread="conformance") as daemon:
        test_conformance.test_every_group_passes(daemon, directory)


def ten_layers(newer: bool, server: Server, directory: Path, short: Path) -> None:
    """``short`` is a directory with a short name: the engine's sockets are in there."""
    archive = directory / "image.tar"
    layers = [random_layer(number, 700_000) for number in range(10)]
    write_docker_archive(archive, layers)
    name = "containerd" if newer else "classic"
    with DockerEngine(short, newer) as engine, running(server, directory, thread=name) as daemon:
        image = f"{daemon.host}/team/ten:1"
        engine.docker("load", "--input", archive)
        engine.docker("tag", "ten:1", image)
        engine.docker("push", image)
        daemon.stop()
        shutil.rmtree(directory / "state" / "cache")
        daemon.start()
        engine.forget_images()
        engine.docker("pull", image)
        inspected = json.loads(engine.docker("image", "inspect", image))
        assert inspected[0]["RootFS"]["Layers"] == [diff_id for _, diff_id in layers]


def write_docker_archive(path: Path, layers: list[tuple[bytes, str]]) -> None:
    """An image that engines load: its name in there is ``ten:1``."""
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["/bin/sh"]},
            "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in layers]},
        }
    ).encode()
    directory = path.parent / "archive"
    directory.mkdir()
    (directory / "config.json").write_bytes(config)
    for number, (layer, _) in enumerate(layers):
        (directory / f"{number}.tar.gz").write_bytes(layer)
    names = [f"{number}.tar.gz" for number in range(len(layers))]
    manifest = [{"Config": "config.json", "RepoTags": ["ten:1"], "Layers": names}]
    (directory / "manifest.json").write_text(json.dumps(manifest))
    with tarfile.open(path, "w") as tar:
        for file in sorted(directory.iterdir()):
            tar.add(file, file.name)


def large_blob(server: Server, directory: Path) -> None:
    piece = hashlib.sha256(b"piece").digest() * (MEBIBYTE // 32)
    whole = hashlib.sha256()
    for _ in range(LARGE // MEBIBYTE):
        whole.update(piece)
    digest = f"sha256:{whole.hexdigest()}"
    with running(server, directory, thread="large") as daemon:
        push(daemon, b"small", sha256(b"small"))
        before = peak_memory(daemon.pid)
        connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=120)
        body = (piece for _ in range(LARGE // MEBIBYTE))
        target = f"{begin(connection)}?digest={digest}"
        connection.request("PUT", target, body, {"Content-Length": str(LARGE)})
        assert connection.getresponse().status == 201
        assert peak_memory(daemon.pid) - before < MEMORY
        daemon.stop()
        shutil.rmtree(directory / "state" / "cache")
        daemon.start()
        before = peak_memory(daemon.pid)
        connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=120)
        connection.request("GET", f"/v2/box/blobs/{digest}")
        answer = connection.getresponse()
        assert answer.status == 200
        came = hashlib.sha256()
        while data := answer.read(MEBIBYTE):
            came.update(data)
        assert came.digest() == whole.digest()
        assert peak_memory(daemon.pid) - before < MEMORY


def begin(connection: http.client.HTTPConnection) -> str:
    """A new upload session's location."""
    connection.request("POST", "/v2/box/blobs/uploads/", headers={"Content-Length": "0"})
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 202
    return answer.headers["Location"]


def push(daemon: DaemonProcess, content: bytes, digest: str) -> None:
    """Push a blob."""
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=30)
    connection.request("POST", f"/v2/box/blobs/uploads/?digest={digest}", content)
    assert connection.getresponse().status == 201


def peak_memory(pid: int) -> int:
    """The most memory that a process had so far, in bytes."""
    (line,) = [each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if each.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


@pytest.fixture(scope="module")
def shown(
    server: Server, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[None]]]:
    """What the tests here show, by their names, all at the same time: each of them mostly waits."""
    directory = tmp_path_factory.mktemp

    def docker(newer: bool) -> None:
        name = "containerd" if newer else "classic"
        ten_layers(newer, server, directory(f"{name}-daemon"), directory(name))

    work = {
        "conformance": lambda: conformance(server, directory("conformance")),
        "classic": lambda: docker(newer=False),
        "containerd": lambda: docker(newer=True),
        "large": lambda: large_blob(server, directory("large")),
    }
    items = [item for item in request.session.items if request.node.nodeid in item.nodeid]
    wanted = {item.name for item in items if FULL or not item.get_closest_marker("skipif")}
    with ThreadPoolExecutor(len(work)) as pool:
        yield {name: pool.submit(each) for name, each in work.items() if any(name in test for test in wanted)}


@full
def test_the_conformance_program_passes(shown: dict[str, Future[None]]) -> None:
    shown["conformance"].result()


@full
@pytest.mark.parametrize("engine", ["classic", "containerd"])
def test_docker_pushes_ten_layers_and_pulls_them_back(engine: str, shown: dict[str, Future[None]]) -> None:
    shown[engine].result()


def test_a_large_blob_takes_no_memory(shown: dict[str, Future[None]]) -> None:
    shown["large"].result()
