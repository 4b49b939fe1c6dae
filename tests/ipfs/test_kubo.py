"""A real Kubo node: it gives the same CIDs, takes our CARs, and fetches images from this daemon over HTTP alone."""

import http.client
import json
import time
from collections.abc import Iterator
from random import Random

import pytest

from ipfsreg.ipfs.file_dag import PROFILE, Profile
from tests.daemon_process import DaemonProcess
from tests.web.served import MANIFEST_TYPE, digest_of, image

from .files import content, file_dag
from .kubo import Kubo

MiB = 1024 * 1024
LAYER = Random(11).randbytes(4 * MiB + 321)


def push(daemon: DaemonProcess, data: bytes) -> str:
    """Push a blob; its CID, which for a large one is known a moment later."""
    ask(daemon, "POST", f"/v2/box/blobs/uploads/?digest={digest_of(data)}", data)
    while not (cid := ask(daemon, "HEAD", f"/v2/box/blobs/{digest_of(data)}")[0]):
        time.sleep(0.05)
    return cid


def ask(
    daemon: DaemonProcess, method: str, target: str, body: bytes | None = None, **headers: str
) -> tuple[str, bytes]:
    """Answers the X-Ipfs-Cid header, if there is one, and the body."""
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=30)
    try:
        connection.request(method, target, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        found = answer.read()
        assert answer.status in {200, 201}, found
        return answer.headers.get("X-Ipfs-Cid", ""), found
    finally:
        connection.close()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path_factory.mktemp("registry"), {"registry": {"access_log": "yes"}}) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, registry: DaemonProcess) -> Iterator[Kubo]:
    with Kubo(tmp_path_factory.mktemp("node"), registry.url) as kubo:
        yield kubo


def add(node: Kubo, data: bytes, profile: Profile) -> str:
    """The CID that the node gives, with each option said."""
    options = [
        f"--chunker=size-{profile.chunk}",
        f"--max-file-links={profile.links}",
        "--cid-version=1",
        "--raw-leaves",
    ]
    return node.run("add", "--quiet", "--only-hash", *options, stdin=data).decode().strip()


@pytest.mark.parametrize("length", [0, 1, MiB - 1, MiB, MiB + 1, len(LAYER)])
def test_what_it_adds_has_our_cid(node: Kubo, registry: DaemonProcess, length: int) -> None:
    data = LAYER[:length]
    assert push(registry, data) == add(node, data, PROFILE)


@pytest.mark.parametrize("length", [1024 * 64 - 1, 1024 * 64, 1024 * 64 + 1])
def test_nodes_that_are_full(node: Kubo, length: int) -> None:
    profile = Profile(chunk=64, links=1024)
    assert str(file_dag(content(length), profile).cid) == add(node, content(length), profile)


def test_the_profile_is_the_one_that_it_knows_by_name(node: Kubo) -> None:
    node.run("config", "profile", "apply", "unixfs-v1-2025")
    imports = json.loads(node.run("config", "Import"))
    assert imports["UnixFSChunker"] == f"size-{PROFILE.chunk}"
    assert imports["UnixFSFileMaxLinks"] == PROFILE.links
    assert (imports["CidVersion"], imports["UnixFSRawLeaves"], imports["HashFunction"]) == (1, True, "sha2-256")


def test_it_fetches_an_image_from_the_registry_over_http_alone(node: Kubo, registry: DaemonProcess) -> None:
    for data in (b"{}", LAYER):
        ask(registry, "POST", f"/v2/box/blobs/uploads/?digest={digest_of(data)}", data)
    manifest = image(layers=[LAYER])
    cid, _ = ask(registry, "PUT", "/v2/box/manifests/1", manifest, Content_Type=MANIFEST_TYPE)
    shown = registry.command("cid", "--blobs", "box:1").stdout.splitlines()
    assert shown[0].split()[0] == cid
    for line in shown:
        cid, digest, size = line.split()
        fetched = node.run("cat", cid)
        assert (digest_of(fetched), str(len(fetched))) == (digest, size)
    assert digest_of(LAYER) in "".join(shown)
    asked = [line for line in registry.log.splitlines() if '"GET /ipfs/' in line]
    assert len(asked) >= 3 + 5  # three small ones, and the root and leaves of the layer


def test_it_takes_our_car_and_makes_the_same(node: Kubo, registry: DaemonProcess) -> None:
    data = LAYER[100:]
    cid = push(registry, data)
    _, car = ask(registry, "GET", f"/ipfs/{cid}?format=car")
    imported = node.run("dag", "import", "--stats", stdin=car).decode()
    assert f"Pinned root\t{cid}\tsuccess" in imported
    assert "Imported 6 blocks" in imported
    assert node.run("cat", "--offline", cid) == data
    assert node.run("dag", "export", "--offline", cid) == car
