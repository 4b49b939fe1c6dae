"""``ipfsreg publish``, ``export`` and ``import`` as users run them, with the daemon and without."""

import fcntl
import http.client
import json
import os
import pty
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ipfsreg.ipfs.car import CARReader
from ipfsreg.ipfs.cid import CID, raw_cid
from ipfsreg.ipfs.dag_pb import decode_node
from tests import fork_server
from tests.clients.images import Image, descriptor, make_image, random_layer, sha256
from tests.daemon_process import DaemonProcess, program

IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def ask(daemon: DaemonProcess, method: str, target: str, body: bytes = b"", media_type: str = "") -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=20)
    try:
        connection.request(method, f"/v2/{target}", body, {"Content-Type": media_type} if media_type else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def push(daemon: DaemonProcess, repository: str, image: Image, tag: str) -> None:
    for digest, content in image.blobs.items():
        assert ask(daemon, "POST", f"{repository}/blobs/uploads/?digest={digest}", content)[0] == 201
    assert ask(daemon, "PUT", f"{repository}/manifests/{tag}", image.manifest, IMAGE)[0] == 201


def has(daemon: DaemonProcess, repository: str, image: Image, tag: str) -> bool:
    found = {sha256(image.manifest): ask(daemon, "GET", f"{repository}/manifests/{tag}")[1]}
    found |= {digest: ask(daemon, "GET", f"{repository}/blobs/{digest}")[1] for digest in image.blobs}
    return found == {sha256(image.manifest): image.manifest, **image.blobs}


def said(done: subprocess.CompletedProcess[str]) -> str:
    """What a command printed that worked and had nothing to remark."""
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def refusal(done: subprocess.CompletedProcess[str], *statuses: int) -> str:
    """The one line of a command that failed, with one of these statuses, or with 1 or 2."""
    assert done.returncode in (statuses or {1, 2})
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("ipfsreg: ")
    return line.removeprefix("ipfsreg: ")


def sections(car: bytes) -> tuple[CID, list[tuple[CID, bytes]]]:
    """The root of a CAR, and its blocks in their order."""
    reader = CARReader()
    blocks = list(reader.feed(car))
    reader.finish()
    (root,) = reader.roots
    return root, blocks


@pytest.fixture(scope="module")
def image() -> Image:
    """An image with a layer of several blocks."""
    return make_image([random_layer("small", 2000), random_layer("large", 2_500_000)])


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, image: Image) -> Iterator[DaemonProcess]:
    """A daemon with ``app:1`` in it."""
    with DaemonProcess(tmp_path_factory.mktemp("daemon")) as daemon:
        push(daemon, "app", image, "1")
        yield daemon


@pytest.fixture(scope="module")
def car(daemon: DaemonProcess) -> Path:
    """``app:1`` as a CAR."""
    path = daemon.directory / "app.car"
    said(daemon.command("export", "app:1", "-o", str(path)))
    return path


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> DaemonProcess:
    """A directory with a configuration, where no daemon runs unless a test starts it."""
    return DaemonProcess(tmp_path_factory.mktemp("other"))


def test_an_image_goes_from_one_registry_to_another(
    daemon: DaemonProcess, other: DaemonProcess, car: Path, image: Image
) -> None:
    assert said(other.command("import", str(car))) == f"app:1 {image.digest}"
    with other:
        assert has(other, "app", image, "1")
        assert said(other.command("import", str(car), "third")) == f"third:latest {image.digest}"
        assert has(other, "third", image, "latest")
        again = other.directory / "again.car"
        root = said(other.command("export", "app:1", "-o", str(again)))
    assert again.read_bytes() == car.read_bytes()
    # Nothing is left of the work, and without the daemon it is the same file.
    assert not list((other.path / "imports").iterdir())
    assert not list((other.path / "uploads").iterdir())
    alone = other.directory / "alone.car"
    assert said(other.command("export", "app:1", "--output", str(alone))) == root
    assert alone.read_bytes() == car.read_bytes()
    assert alone.stat().st_mode & 0o777 == 0o666 & ~os.umask(os.umask(0o022))


def test_the_root_is_a_layout_and_comes_first(car: Path, image: Image) -> None:
    root, blocks = sections(car.read_bytes())
    assert blocks[0][0] == root
    names = [link.name for link in decode_node(blocks[0][1]).links]
    assert names == ["blobs", "index.json", "oci-layout"]
    assert raw_cid(bytes.fromhex(image.digest.removeprefix("sha256:"))) in dict(blocks)
    assert len(dict(blocks)) == len(blocks)


def test_standard_output_and_input(daemon: DaemonProcess, car: Path, image: Image) -> None:
    config, env = ["--config", str(daemon.config_file)], {"HOME": str(daemon.directory)}
    exported = daemon.directory / "exported.car"
    with exported.open("wb") as file:
        command = [program("ipfsreg"), "export", "app:1", *config]
        done = fork_server.run(command, cwd=daemon.directory, env=env, stdout=file)
    content = exported.read_bytes()
    assert content == car.read_bytes()
    root, _ = sections(content)
    assert done.stderr == f"{root}\n"
    command = [program("ipfsreg"), "import", "-", "piped:1", *config]
    done = fork_server.run(command, cwd=daemon.directory, env=env, input=content)
    assert done.stdout == f"piped:1 {image.digest}\n"
    assert has(daemon, "piped", image, "1")


def test_what_is_refused(daemon: DaemonProcess, other: DaemonProcess, car: Path) -> None:
    whole = bytearray(car.read_bytes())
    whole[len(whole) // 4] ^= 1  # the daemon says so while the rest is still being sent
    file = daemon.directory / "wrong.car"
    file.write_bytes(whole)
    for registry in (daemon, other):
        assert "is not what its CID" in refusal(registry.command("import", str(file), "refused:1"))
        assert not list((registry.path / "imports").iterdir())
        assert not list((registry.path / "uploads").iterdir())
    assert ask(daemon, "GET", "refused/tags/list")[0] == 404
    assert "nothing.car: No such file" in refusal(daemon.command("import", "nothing.car", "refused:1"))


def test_an_index_with_a_platform_that_is_not_here(daemon: DaemonProcess, other: DaemonProcess, image: Image) -> None:
    entries = [descriptor(IMAGE, image.manifest), descriptor(IMAGE, b"another platform")]
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()
    assert ask(daemon, "PUT", "app/manifests/multi", index, INDEX)[0] == 201
    file = daemon.directory / "multi.car"
    done = daemon.command("export", "app:multi", "-o", str(file))
    assert (done.returncode, done.stderr) == (
        0,
        "Without 1 of the manifests that the image lists, which are not here.\n",
    )
    done = other.command("import", str(file))
    assert (done.returncode, done.stdout) == (0, f"app:multi {sha256(index)}\n")
    assert "Without 1" in done.stderr
    by_digest = daemon.directory / "digest.car"
    said(daemon.command("export", f"app@{image.digest}", "-o", str(by_digest)))
    assert said(daemon.command("import", str(by_digest))) == f"app@{image.digest} {image.digest}"


def test_what_cannot_be_exported(daemon: DaemonProcess) -> None:
    target = daemon.directory / "none.car"
    assert "no image app:none; app has" in refusal(daemon.command("export", "app:none", "-o", str(target)), 3)
    assert "No such file" in refusal(daemon.command("export", "app:1", "-o", str(target / "x")))
    assert not [path for path in daemon.directory.iterdir() if "none.car" in path.name]


def test_a_blob_that_is_damaged_is_not_exported(tmp_path: Path, image: Image) -> None:
    with DaemonProcess(tmp_path) as daemon:
        push(daemon, "app", image, "1")
        digest, content = max(image.blobs.items(), key=lambda each: len(each[1]))
        stored = next(daemon.path.glob(f"bucket/blobs/sha256/*/{digest.removeprefix('sha256:')}"))
        assert daemon.command("cid", "app:1", "--blobs").returncode == 0  # its CIDs were known while it was whole
        stored.write_bytes(content[:-1] + b"?")
        target = tmp_path / "app.car"
        line = refusal(daemon.command("export", "app:1", "-o", str(target)))
        assert "could not read all" in line
        assert not target.exists()
        assert f"{digest} is damaged" in daemon.log


def test_progress_is_shown_on_a_terminal(daemon: DaemonProcess, car: Path, tmp_path: Path) -> None:
    """Of what takes longer than a second: here the program that takes the CAR waits until it sees it."""
    os.mkfifo(tmp_path / "pipe")
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with subprocess.Popen(
        [program("ipfsreg"), "export", "app:1", "-o", "pipe", "--config", str(daemon.config_file)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
        cwd=tmp_path,
        env={**os.environ, "TERM": "xterm"},
    ) as process:
        os.close(theirs)
        with (tmp_path / "pipe").open("rb") as pipe:
            shown = ""
            while "Exporting" not in shown or " MB" not in shown:
                shown += os.read(ours, 1 << 16).decode()
            content = pipe.read()
        printed, _ = process.communicate(timeout=60)
        os.close(ours)
    assert content == car.read_bytes()
    assert printed.decode() == f"{sections(content)[0]}\n"


def test_published_images_have_a_cid(daemon: DaemonProcess, image: Image) -> None:
    cid = said(daemon.command("publish", "app:1"))
    status, manifest = ask(daemon, "GET", f"ipfs/{cid}/manifests/latest")
    assert status == 200
    layers = json.loads(manifest)["layers"]
    assert [each["digest"] for each in layers] == [each["digest"] for each in json.loads(image.manifest)["layers"]]
    assert all(each["urls"][0].startswith("ipfs://b") for each in layers)
    assert "no image app:none; app has" in refusal(daemon.command("publish", "app:none"), 3)


def test_it_can_be_published_with_every_push(tmp_path: Path, image: Image) -> None:
    options = {"ipfs": {"publish": "always"}, "gateway": {"private": "secret/*"}}
    with DaemonProcess(tmp_path, options) as daemon:
        push(daemon, "secret/app", image, "1")
        push(daemon, "app", image, "1")
        cid = said(daemon.command("publish", "app:1"))
        end = time.monotonic() + 60
        while f"Published app@{image.digest}: ipfs://{cid}" not in daemon.log:
            assert time.monotonic() < end, daemon.log
            time.sleep(0.02)
        assert "[gateway] private" in refusal(daemon.command("publish", "secret/app:1"), 4)
        assert "secret/app@" not in daemon.log


def test_an_interrupted_command_cleans_up(tmp_path: Path, car: Path) -> None:
    registry = DaemonProcess(tmp_path)
    imports = registry.path / "imports"
    process = subprocess.Popen(
        [program("ipfsreg"), "import", "-", "--config", str(registry.config_file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a script may have it ignored
    )
    with process:
        while not (imports.exists() and list(imports.iterdir())):  # it has begun, and waits for the file
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60) == ("", "Aborted!\n")
    assert process.returncode == 1
    assert not list(imports.iterdir())
    assert said(registry.command("import", str(car))).startswith("app:1 ")
