"""A daemon with an encrypted bucket, real clients, and a search for anything plain in all that it stores."""

import hashlib
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import pytest

from tests.bucket.kubo.backend import unique_folder
from tests.bucket.kubo.conftest import node
from tests.bucket.kubo.node import KuboNode
from tests.bucket.textile.test_registry_clients import peak_memory
from tests.daemon_process import DaemonProcess

from . import test_conformance
from .images import Image, layout_blobs, make_image, random_layer, sha256, write_layout
from .programs import client_environment, require_program, run, thorough

__all__ = ["node"]

MEBIBYTE = 1024**2
LARGE = 192 * MEBIBYTE

REPOSITORY, TAG = "verysecret/appname", "v7.hidden"
UPLOADED = Random(7).randbytes(9_000_000)
"""Content that goes to a node of Kubo while it comes."""


class Encrypted:
    """A daemon, and where all that it keeps is."""

    def __init__(self, daemon: DaemonProcess, *stores: Path) -> None:
        self.daemon = daemon
        self.stores = stores

    def assert_nothing_is_plain(self, *secrets: bytes) -> None:
        """Neither a path nor a content of what is stored has any of these."""
        looked = 0
        for store in self.stores:
            for path in store.rglob("*"):
                if path.name == "_README":
                    continue  # of the node, about its own repository
                name = str(path.relative_to(store)).encode()
                content = path.read_bytes() if path.is_file() else b""
                looked += len(content)
                for secret in secrets:
                    assert secret not in name, path
                    assert secret not in content, path
        assert looked > 1_000_000


def _key(directory: Path, daemon: DaemonProcess) -> None:
    made = daemon.command("keys", "init", str(directory / "member.key"))
    assert made.returncode == 0, made.stderr


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Encrypted]:
    daemon = DaemonProcess(tmp_path, {"encryption": {"enabled": "yes", "key": str(tmp_path / "member.key")}})
    _key(tmp_path, daemon)
    with daemon:
        yield Encrypted(daemon, daemon.path)


@pytest.fixture
def kubo(node: KuboNode, tmp_path: Path) -> Iterator[Encrypted]:
    state = tmp_path / "state"
    config = {
        "registry": {"backend": "kubo"},
        "kubo": {"directory": str(state), "path": unique_folder()},
        "encryption": {"enabled": "yes", "key": str(tmp_path / "member.key")},
    }
    daemon = DaemonProcess(tmp_path, config, {"IPFS_PATH": str(node.repository)})
    _key(tmp_path, daemon)
    with daemon:
        yield Encrypted(daemon, state, node.repository)


@pytest.fixture(params=["local", "kubo"])
def encrypted(request: pytest.FixtureRequest) -> Encrypted:
    """On each of them."""
    found: Encrypted = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def image() -> Image:
    """An image whose last layer is long enough to go ahead to a node."""
    return make_image([random_layer("small", 1_000), random_layer("large", 12_000_000)])


def secrets_of(image: Image) -> list[bytes]:
    """What nobody is to find: names, digests as text and as bytes, and pieces of contents."""
    found = [b"verysecret", b"appname", TAG.encode(), b"layout-version", b"repositories", b"sha256", b"schemaVersion"]
    for digest, content in {image.digest: image.manifest, **image.blobs}.items():
        found += [digest.removeprefix("sha256:").encode(), bytes.fromhex(digest.removeprefix("sha256:"))]
        found += [content[at : at + 24] for at in range(12, len(content) - 24, max(len(content) // 5, 1))]
    return found


def ask(
    daemon: DaemonProcess, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=60)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def test_images_come_back_and_nothing_of_them_is_plain_anywhere(
    encrypted: Encrypted, image: Image, tmp_path: Path
) -> None:
    daemon = encrypted.daemon
    skopeo, env = require_program("skopeo"), client_environment(tmp_path / "home")
    write_layout(tmp_path / "out", {"1": image})
    name = f"docker://{daemon.host}/{REPOSITORY}:{TAG}"
    run(skopeo, "copy", "--dest-tls-verify=false", f"oci:{tmp_path / 'out'}:1", name, env=env)
    encrypted.assert_nothing_is_plain(*secrets_of(image))
    daemon.restart()
    run(skopeo, "copy", "--src-tls-verify=false", name, f"oci:{tmp_path / 'back'}:1", env=env)
    assert layout_blobs(tmp_path / "back") == {image.digest: image.manifest, **image.blobs}
    assert json.loads(ask(daemon, "GET", "/v2/_catalog")[2]) == {"repositories": [REPOSITORY]}
    assert json.loads(ask(daemon, "GET", f"/v2/{REPOSITORY}/tags/list")[2])["tags"] == [TAG]
    assert "Everything is whole" in daemon.command("verify").stdout
    assert daemon.command("gc", "--now").returncode == 0
    assert ask(daemon, "GET", f"/v2/{REPOSITORY}/manifests/{TAG}")[2] == image.manifest
    encrypted.assert_nothing_is_plain(*secrets_of(image))


def test_nothing_is_told_or_served_by_cid(encrypted: Encrypted, image: Image, tmp_path: Path) -> None:
    daemon = encrypted.daemon
    skopeo, env = require_program("skopeo"), client_environment(tmp_path / "home")
    write_layout(tmp_path / "out", {"1": image})
    name = f"docker://{daemon.host}/{REPOSITORY}:{TAG}"
    run(skopeo, "copy", "--dest-tls-verify=false", f"oci:{tmp_path / 'out'}:1", name, env=env)
    (digest, config) = next((digest, each) for digest, each in image.blobs.items() if each.startswith(b"{"))
    for path in (f"manifests/{TAG}", f"manifests/{image.digest}", f"blobs/{digest}"):
        for method in ("GET", "HEAD"):
            status, headers, _ = ask(daemon, method, f"/v2/{REPOSITORY}/{path}")
            assert status == 200
            assert [each for each in headers.values() if "bafk" in each or "bafy" in each] == []
            assert "X-Ipfs-Cid" not in headers
    for command in ("cid", "publish"):
        told = daemon.command(command, f"{REPOSITORY}:{TAG}")
        assert (told.returncode, told.stdout) == (4, "")  # not allowed
        assert told.stderr.count("\n") == 1
        assert "encrypted" in told.stderr
    cid = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
    assert ask(daemon, "GET", f"/ipfs/{cid}")[0] == 404
    assert ask(daemon, "GET", f"/v2/{cid}/manifests/latest")[0] == 404
    assert config


def test_an_upload_goes_on_after_a_kill(encrypted: Encrypted) -> None:
    daemon, repository = encrypted.daemon, f"/v2/{REPOSITORY}/blobs"
    status, headers, _ = ask(daemon, "POST", f"{repository}/uploads/")
    assert status == 202
    location = urlsplit(headers["Location"]).path
    assert ask(daemon, "PATCH", location, UPLOADED[:8_500_000])[0] == 202
    pieces = [UPLOADED[at : at + 24] for at in (5, 262_140, 5_000_000, 8_499_000)]
    encrypted.assert_nothing_is_plain(b"verysecret", *pieces)
    daemon.kill()
    daemon.start()
    status, headers, _ = ask(daemon, "GET", location)
    assert (status, headers["Range"]) == (204, "0-8499999")
    digest = sha256(UPLOADED)
    assert ask(daemon, "PUT", f"{location}?digest={digest}", UPLOADED[8_500_000:])[0] == 201
    assert ask(daemon, "GET", f"{repository}/{digest}")[2] == UPLOADED
    status, _, part = ask(daemon, "GET", f"{repository}/{digest}", Range="bytes=262100-262200")
    assert (status, part) == (206, UPLOADED[262100:262201])
    encrypted.assert_nothing_is_plain(b"verysecret", digest[7:].encode(), *pieces)


def test_damage_is_told_by_name_and_a_push_heals_it(local: Encrypted, image: Image, tmp_path: Path) -> None:
    daemon = local.daemon
    skopeo, env = require_program("skopeo"), client_environment(tmp_path / "home")
    write_layout(tmp_path / "out", {"1": image})
    name = f"docker://{daemon.host}/{REPOSITORY}:{TAG}"
    run(skopeo, "copy", "--dest-tls-verify=false", f"oci:{tmp_path / 'out'}:1", name, env=env)
    large = max(daemon.path.rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    with large.open("r+b") as file:
        file.seek(5_000_000)
        file.write(b"altered")
    digest = max(image.blobs, key=lambda each: len(image.blobs[each]))
    with pytest.raises((http.client.IncompleteRead, ConnectionError)) as broken:
        ask(daemon, "GET", f"/v2/{REPOSITORY}/blobs/{digest}")
    if isinstance(broken.value, http.client.IncompleteRead):
        assert image.blobs[digest].startswith(broken.value.partial)
    told = [line for line in daemon.log.splitlines() if "was altered or damaged where it is stored" in line]
    assert len(told) == 1
    assert digest.removeprefix("sha256:") in told[0]
    verified = daemon.command("verify")
    assert verified.returncode != 0
    assert digest in verified.stdout
    run(skopeo, "copy", "--dest-tls-verify=false", f"oci:{tmp_path / 'out'}:1", name, env=env)
    assert "Everything is whole" in daemon.command("verify").stdout


def test_what_nobody_needs_is_freed_and_what_is_lost_is_named(kubo: Encrypted, node: KuboNode, tmp_path: Path) -> None:
    """``gc`` and ``verify`` over an encrypted bucket on a node, beside its own garbage collection."""
    daemon, repository = kubo.daemon, f"/v2/{REPOSITORY}"
    skopeo, env = require_program("skopeo"), client_environment(tmp_path / "home")
    images = {tag: make_image([random_layer(f"layer of {tag}", 3_000_000)]) for tag in ("old", "new")}
    write_layout(tmp_path / "out", images)
    for tag in images:
        name = f"docker://{daemon.host}/{REPOSITORY}:{tag}"
        run(skopeo, "copy", "--dest-tls-verify=false", f"oci:{tmp_path / 'out'}:{tag}", name, env=env)
    layers = {tag: max(image.blobs, key=lambda each: len(image.blobs[each])) for tag, image in images.items()}
    assert ask(daemon, "DELETE", f"{repository}/manifests/{images['old'].digest}")[0] == 202
    freed = daemon.command("gc", "--now")
    assert freed.returncode == 0, freed.stderr
    assert "3 files deleted" in freed.stdout, freed.stdout
    node.rpc("repo/gc", silent=True)
    assert ask(daemon, "HEAD", f"{repository}/blobs/{layers['old']}")[0] == 404
    assert ask(daemon, "GET", f"{repository}/blobs/{layers['new']}")[2] == images["new"].blobs[layers["new"]]
    assert "Everything is whole" in daemon.command("verify").stdout
    for block in node.repository.rglob("*.data"):  # not only the largest, which may be one that is still to be freed
        if block.stat().st_size > 200_000:
            block.unlink()
    verified = daemon.command("verify")
    assert verified.returncode != 0
    assert layers["new"] in verified.stdout, verified.stderr
    assert layers["old"] not in verified.stdout


@thorough
def test_the_conformance_program_passes(encrypted: Encrypted, tmp_path: Path) -> None:
    test_conformance.test_every_group_passes(encrypted.daemon, tmp_path)


@thorough
def test_a_large_blob_takes_no_memory(encrypted: Encrypted) -> None:
    daemon, repository = encrypted.daemon, f"/v2/{REPOSITORY}/blobs"
    piece = Random(8).randbytes(MEBIBYTE)
    whole = hashlib.sha256()
    for _ in range(LARGE // MEBIBYTE):
        whole.update(piece)
    digest = f"sha256:{whole.hexdigest()}"
    assert ask(daemon, "GET", "/v2/_catalog")[0] == 200
    before = peak_memory(daemon.pid)
    location = urlsplit(ask(daemon, "POST", f"{repository}/uploads/")[1]["Location"]).path
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=120)
    body = (piece for _ in range(LARGE // MEBIBYTE))
    connection.request("PUT", f"{location}?digest={digest}", body, {"Content-Length": str(LARGE)})
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (201, b"")
    connection.request("GET", f"{repository}/{digest}")
    answer = connection.getresponse()
    came = hashlib.sha256()
    while data := answer.read(MEBIBYTE):
        came.update(data)
    connection.close()
    assert came.digest() == whole.digest()
    assert peak_memory(daemon.pid) - before < 64 * MEBIBYTE
