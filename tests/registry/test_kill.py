"""`kill -9` at any moment: everything acknowledged is there and whole, nothing half is served, uploads go on."""

import hashlib
import http.client
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import pytest

from tests.daemon_process import DaemonProcess

from .place import descriptor

IMAGE = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Client:
    """One connection to the daemon; it fails with `OSError` or `http.client.HTTPException` when that is killed."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=30)

    def ask(
        self, method: str, path: str, body: bytes | Iterator[bytes] | None = None, **headers: str
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, path, body, sent, encode_chunked=isinstance(body, Iterator))
        response = self._connection.getresponse()
        return response.status, response.headers, response.read()

    def close(self) -> None:
        self._connection.close()

    def begin(self, repository: str) -> str:
        status, headers, _ = self.ask("POST", f"/v2/{repository}/blobs/uploads/")
        assert status == 202
        return urlsplit(headers["Location"]).path

    def push_blob(self, repository: str, blob: bytes) -> None:
        location = self.begin(repository)
        status, headers, _ = self.ask("PATCH", location, blob)
        assert status == 202
        status, _, _ = self.ask("PUT", f"{urlsplit(headers['Location']).path}?digest={digest_of(blob)}")
        assert status == 201

    def push_manifest(self, repository: str, tag: str, manifest: bytes) -> None:
        status, _, answer = self.ask("PUT", f"/v2/{repository}/manifests/{tag}", manifest, Content_Type=IMAGE)
        assert status == 201, answer


@dataclass
class Acknowledged:
    """What one client was told that the registry has, in the order of the answers."""

    blobs: list[tuple[str, bytes]] = field(default_factory=list)
    manifests: list[tuple[str, bytes]] = field(default_factory=list)
    tags: dict[tuple[str, str], bytes] = field(default_factory=dict)
    asked: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """Where a tag was to be moved by a request whose answer has not come: it may be there or not."""


def image(*blobs: bytes) -> bytes:
    document = {
        "schemaVersion": 2,
        "mediaType": IMAGE,
        "config": descriptor(CONFIG, blobs[0]),
        "layers": [descriptor(LAYER, blob) for blob in blobs[1:]],
    }
    return json.dumps(document).encode()


def push_in_a_loop(daemon: DaemonProcess, random: Random, tag: str, told: Acknowledged) -> None:
    """Push images, and move a tag of its own to each, until the daemon is no more."""
    repository = f"app{random.randrange(2)}"
    try:
        while True:
            client = Client(daemon)
            blobs = [random.randbytes(random.choice([10, 5000, 300_000, 1_500_000])) for _ in range(2)]
            for blob in blobs:
                client.push_blob(repository, blob)
                told.blobs.append((repository, blob))
            manifest = image(*blobs)
            told.asked[repository, tag] = manifest
            client.push_manifest(repository, tag, manifest)
            told.manifests.append((repository, manifest))
            told.tags[repository, tag] = told.asked.pop((repository, tag))
            client.close()
    except (OSError, http.client.HTTPException):
        return


def check(daemon: DaemonProcess, told: Acknowledged) -> None:
    client = Client(daemon)
    for repository, blob in told.blobs:
        status, headers, content = client.ask("GET", f"/v2/{repository}/blobs/{digest_of(blob)}")
        assert (status, content == blob) == (200, True)
        large = len(blob) > 1024 * 1024  # the CID of such a layer is there a moment later
        assert headers.get("X-Ipfs-Cid", "bafybei" if large else "").startswith("bafybei" if large else "bafkrei")
    for repository, manifest in told.manifests:
        status, _, content = client.ask("GET", f"/v2/{repository}/manifests/{digest_of(manifest)}")
        assert (status, content) == (200, manifest)
    for (repository, tag), manifest in told.tags.items():
        status, _, content = client.ask("GET", f"/v2/{repository}/manifests/{tag}")
        assert status == 200
        assert content in {manifest, told.asked.get((repository, tag))}
    # Whatever else can be found is whole as well.
    for repository in json.loads(client.ask("GET", "/v2/_catalog")[2])["repositories"]:
        for tag in json.loads(client.ask("GET", f"/v2/{repository}/tags/list")[2])["tags"]:
            status, _, manifest = client.ask("GET", f"/v2/{repository}/manifests/{tag}")
            assert status == 200
            document = json.loads(manifest)
            for part in (document["config"], *document["layers"]):
                status, _, content = client.ask("GET", f"/v2/{repository}/blobs/{part['digest']}")
                assert (status, digest_of(content)) == (200, part["digest"])
    client.close()


def test_everything_acknowledged_survives(tmp_path: Path) -> None:
    random = Random(int.from_bytes(os.urandom(4)))
    daemon = DaemonProcess(tmp_path)
    everything: list[Acknowledged] = []
    for turn in range(4):
        daemon.start()
        for told in everything:
            check(daemon, told)
        clients = [Acknowledged() for _ in range(3)]
        threads = [
            threading.Thread(target=push_in_a_loop, args=(daemon, Random(random.random()), f"{turn}-{number}", told))
            for number, told in enumerate(clients)
        ]
        for thread in threads:
            thread.start()
        # Not before something was acknowledged, the first time a whole image, and then at any moment.
        until = time.monotonic() + 60
        while not any(told.blobs if turn else told.tags for told in clients) and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.4))
        daemon.kill()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
        everything += clients
    assert any(told.tags for told in everything)
    with daemon:
        for told in everything:
            check(daemon, told)
        verified = daemon.command("verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        assert list((daemon.path / "drafts").iterdir()) == []


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path) as daemon:
        yield daemon


@pytest.fixture(params=["plain", "encrypted"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DaemonProcess]:
    """A daemon with a bucket that is encrypted, or not."""
    config = {}
    if request.param == "encrypted":
        config["encryption"] = {"enabled": "yes", "key": str(tmp_path / "member.key")}
    daemon = DaemonProcess(tmp_path, config)
    if config:
        assert daemon.command("keys", "init", str(tmp_path / "member.key")).returncode == 0
    with daemon:
        yield daemon


def offset_of(client: Client, location: str) -> int:
    status, headers, _ = client.ask("GET", location)
    assert status == 204
    first, _, last = headers["Range"].partition("-")
    assert first == "0"
    return int(last) + 1 if int(last) else 0


def test_an_upload_goes_on_after_a_kill(either: DaemonProcess) -> None:
    """Killed in the middle of a PATCH: the client asks how much there is, and sends the rest."""
    daemon = either
    layer = Random(1).randbytes(20_000_000)
    location = Client(daemon).begin("app")
    sent = threading.Event()

    def body() -> Iterator[bytes]:
        for at in range(0, 12_000_000, 100_000):
            yield layer[at : at + 100_000]
        # What was sent is on the disk or on its way there; the end of the request never comes.
        until = time.monotonic() + 10
        while file.stat().st_size < 8_000_000 and time.monotonic() < until:
            time.sleep(0.005)
        sent.set()
        time.sleep(0.3)
        yield b"never read"

    (file,) = (daemon.path / "uploads" / location.rpartition("/")[2]).glob("data*")

    def patch() -> None:
        try:
            Client(daemon).ask("PATCH", location, body())
        except (OSError, http.client.HTTPException):
            broken.set()

    broken = threading.Event()
    thread = threading.Thread(target=patch)
    thread.start()
    assert sent.wait(20)
    daemon.kill()
    thread.join(30)
    assert broken.is_set()
    daemon.start()
    client = Client(daemon)
    received = offset_of(client, location)
    assert 8_000_000 <= received <= 12_000_000
    status, _, _ = client.ask("PATCH", location, layer[:100], Content_Range="0-99")
    assert status == 416
    half = received + 1_000_000
    status, _, answer = client.ask("PATCH", location, layer[received:half], Content_Range=f"{received}-{half - 1}")
    assert status == 202, answer
    # Once more, between two requests.
    daemon.kill()
    daemon.start()
    client = Client(daemon)
    assert offset_of(client, location) == half
    status, _, _ = client.ask("PUT", f"{location}?digest={digest_of(layer)}", layer[half:])
    assert status == 201
    status, _, content = client.ask("GET", f"/v2/app/blobs/{digest_of(layer)}")
    assert (status, content == layer) == (200, True)
    assert list((daemon.path / "uploads").iterdir()) == []


@pytest.mark.parametrize(
    ("leave", "what"),
    [
        (lambda store, blob: _hide(store, f"repositories/app/_blobs/*/*/{_hex(blob)}"), "content without a link"),
        (lambda store, blob: _hide(store, f"blobs/*/*/{_hex(blob)}"), "a link without content"),
        (lambda store, blob: _cut(store, f"blobs/*/*/{_hex(blob)}"), "content that is not whole"),
    ],
)
def test_what_is_half_there_is_not_served(
    daemon: DaemonProcess, leave: Callable[[Path, bytes], None], what: str
) -> None:
    """As a crash (or something worse) between two steps leaves it; a push makes it whole."""
    blob = Random(2).randbytes(100_000)
    Client(daemon).push_blob("app", blob)
    daemon.kill()
    leave(daemon.path / "bucket", blob)
    daemon.start()
    client = Client(daemon)
    for method in ("HEAD", "GET"):
        assert client.ask(method, f"/v2/app/blobs/{digest_of(blob)}")[0] == 404, what
    status, _, _ = client.ask("PUT", "/v2/app/manifests/t", image(blob), Content_Type=IMAGE)
    assert status == 404
    client.push_blob("app", blob)
    client.push_manifest("app", "t", image(blob))
    assert client.ask("GET", f"/v2/app/blobs/{digest_of(blob)}")[2] == blob


def _hex(blob: bytes) -> str:
    return digest_of(blob).partition(":")[2]


def _hide(store: Path, pattern: str) -> None:
    (file,) = store.glob(pattern)
    file.unlink()


def _cut(store: Path, pattern: str) -> None:
    (file,) = store.glob(pattern)
    os.truncate(file, 50_000)


def test_a_kill_while_garbage_is_collected(tmp_path: Path) -> None:
    """Whatever a run had done by then: the images that are tagged are whole, and the next run frees the rest."""
    random = Random(int.from_bytes(os.urandom(4)))
    daemon = DaemonProcess(tmp_path, {"gc": {"interval": "never"}})
    shared = [random.randbytes(1000) for _ in range(10)]
    kept = Acknowledged()
    daemon.start()
    client = Client(daemon)
    for blob in shared:
        client.push_blob("app", blob)
    for number in range(30):
        own = random.randbytes(1000)
        client.push_blob("app", own)
        manifest = image(own, *random.sample(shared, 3))
        client.push_manifest("app", f"t{number}", manifest)
        if number % 3:
            assert client.ask("DELETE", f"/v2/app/manifests/t{number}")[0] == 202
        else:
            kept.tags["app", f"t{number}"] = manifest
            kept.blobs.append(("app", own))
    for seconds in (0.0, 0.02):
        collecting = threading.Thread(target=daemon.command, args=("gc", "--now"))
        collecting.start()
        _until_removing(daemon, collecting)
        time.sleep(seconds)
        daemon.kill()
        collecting.join(30)
        daemon.start()
        check(daemon, kept)
    with_all = daemon.command("gc", "--now")
    assert with_all.returncode == 0, with_all.stderr
    assert "Freed 0 bytes" in daemon.command("gc", "--now").stdout
    check(daemon, kept)
    assert len(list((daemon.path / "bucket").glob("repositories/app/_manifests/*/*/*"))) == len(kept.tags)
    daemon.stop()
    daemon.check_log()


def _until_removing(daemon: DaemonProcess, collecting: threading.Thread) -> None:
    def count() -> int:
        # Unlike a glob it does not mind directories that go away meanwhile.
        records = os.walk(daemon.path / "bucket/repositories/app/_manifests")
        return sum(len(files) for _, _, files in records)

    before, until = count(), time.monotonic() + 10
    while collecting.is_alive() and time.monotonic() < until and count() == before:
        time.sleep(0.002)
