"""Real clients, and a daemon in a process of its own that can be killed."""

import hashlib
import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bucket.textile.test_registry_clients import peak_memory, write_docker_archive
from tests.clients import test_conformance
from tests.clients.engines import DockerEngine
from tests.clients.images import layout_blobs, make_image, random_layer, write_layout
from tests.clients.programs import client_environment, require_program, run, thorough
from tests.daemon_process import DaemonProcess

from .backend import unique_folder
from .node import KuboNode

MEBIBYTE = 1024**2
LARGE = 256 * MEBIBYTE


@pytest.fixture
def daemon(node: KuboNode, tmp_path: Path) -> Iterator[DaemonProcess]:
    """A daemon on the module's node, found as a user's would be: by the file that the node has written."""
    section = {"directory": str(tmp_path / "state"), "path": unique_folder()}
    environment = {"IPFS_PATH": str(node.repository)}
    with DaemonProcess(tmp_path, {"registry": {"backend": "kubo"}, "kubo": section}, environment) as daemon:
        yield daemon


@thorough
def test_the_conformance_program_passes(daemon: DaemonProcess, tmp_path: Path) -> None:
    test_conformance.test_every_group_passes(daemon, tmp_path)


@thorough
def test_docker_pushes_ten_layers_and_pulls_them_back(
    daemon: DaemonProcess, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    archive = tmp_path / "image.tar"
    layers = [random_layer(number, 700_000) for number in range(10)]
    write_docker_archive(archive, layers)
    with DockerEngine(tmp_path_factory.mktemp("docker"), newer=False) as engine:
        image = f"{daemon.host}/team/ten:1"
        engine.docker("load", "--input", archive)
        engine.docker("tag", "ten:1", image)
        engine.docker("push", image)
        daemon.restart()
        engine.forget_images()
        engine.docker("pull", image)
        inspected = json.loads(engine.docker("image", "inspect", image))
        assert inspected[0]["RootFS"]["Layers"] == [diff_id for _, diff_id in layers]


def test_a_kill_of_both_loses_nothing(daemon: DaemonProcess, node: KuboNode, tmp_path: Path) -> None:
    image = make_image([random_layer("small", 1_000), random_layer("large", 5_000_000)])
    write_layout(tmp_path / "out", {"1": image})
    skopeo, env = require_program("skopeo"), client_environment(tmp_path / "home")
    name = f"docker://{daemon.host}/team/app:1"
    run(skopeo, "copy", "--dest-tls-verify=false", f"oci:{tmp_path / 'out'}:1", name, env=env)
    daemon.kill()
    node.kill()
    node.start()
    daemon.start()
    run(skopeo, "copy", "--retry-times=3", "--src-tls-verify=false", name, f"oci:{tmp_path / 'back'}:1", env=env)
    assert layout_blobs(tmp_path / "back") == {image.digest: image.manifest, **image.blobs}
    assert "Everything is whole" in daemon.command("verify").stdout
    assert daemon.command("gc").returncode == 0


@thorough
def test_a_large_blob_takes_no_memory(daemon: DaemonProcess) -> None:
    piece = hashlib.sha256(b"piece").digest() * (MEBIBYTE // 32)
    whole = hashlib.sha256()
    for _ in range(LARGE // MEBIBYTE):
        whole.update(piece)
    digest = f"sha256:{whole.hexdigest()}"
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=120)
    connection.request("GET", "/v2/_catalog")
    connection.getresponse().read()
    before = peak_memory(daemon.pid)
    connection.request("POST", "/v2/box/blobs/uploads/", headers={"Content-Length": "0"})
    answer = connection.getresponse()
    answer.read()
    body = (piece for _ in range(LARGE // MEBIBYTE))
    connection.request("PUT", f"{answer.headers['Location']}?digest={digest}", body, {"Content-Length": str(LARGE)})
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 201
    connection.request("GET", f"/v2/box/blobs/{digest}")
    answer = connection.getresponse()
    came = hashlib.sha256()
    while data := answer.read(MEBIBYTE):
        came.update(data)
    assert came.digest() == whole.digest()
    assert peak_memory(daemon.pid) - before < 64 * MEBIBYTE
