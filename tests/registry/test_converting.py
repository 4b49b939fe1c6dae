"""``ipfsreg encrypt`` and ``decrypt`` with a real daemon: in place, resumed after kills, beside clients."""

import hashlib
import json
import os
import random
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.daemon_process import DaemonProcess
from tests.full import FULL
from tests.marks import full

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LARGE = random.Random(3).randbytes(3 * 1024 * 1024)


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def image(number: int, layer: bytes) -> bytes:
    config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(b"{}"), "size": 2}
    layers = [{"mediaType": "application/octet-stream", "digest": digest(layer), "size": len(layer)}]
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}
    return json.dumps(document | {"annotations": {"number": str(number)}}).encode()


def push(daemon: DaemonProcess, number: int, layer: bytes) -> None:
    for blob in (b"{}", layer):
        assert daemon.ask("POST", f"/v2/secret/app/blobs/uploads/?digest={digest(blob)}", blob).status == 201
    content = image(number, layer)
    assert daemon.ask("PUT", f"/v2/secret/app/manifests/tag{number}", content, {"Content-Type": MANIFEST}).status == 201


def layer_of(number: int) -> bytes:
    return LARGE if number == 0 else f"a layer that nobody else may read, {number}".encode()


def check(daemon: DaemonProcess, numbers: Sequence[int]) -> None:
    for number in numbers:
        layer = layer_of(number)
        assert daemon.ask("GET", f"/v2/secret/app/manifests/tag{number}").content == image(number, layer)
        assert daemon.ask("GET", f"/v2/secret/app/blobs/{digest(layer)}").content == layer
    tags = json.loads(daemon.ask("GET", "/v2/secret/app/tags/list").content)["tags"]
    assert {f"tag{number}" for number in numbers} <= set(tags)


def configured(daemon: DaemonProcess, encryption: str) -> DaemonProcess:
    """The same daemon with another [encryption]."""
    text = daemon.config_file.read_text().partition("[encryption]")[0]
    daemon.config_file.write_text(f"{text}\n[encryption]\nkey = {daemon.directory / 'member.key'}\n{encryption}\n")
    return daemon


ENCRYPTED, PLAIN = "enabled = yes", "enabled = no"
ENCRYPTING, DECRYPTING = "enabled = yes\nconvert = encrypt", "enabled = yes\nconvert = decrypt"


@pytest.fixture
def daemon(tmp_path: Path) -> DaemonProcess:
    """A plain registry with some images, not running, and a member's key."""
    made = DaemonProcess(tmp_path)
    with made:
        for number in range(5):
            push(made, number, layer_of(number))
    configured(made, PLAIN)
    done = made.command("keys", "init")
    assert done.returncode == 0, done.stderr
    return made


def stored(daemon: DaemonProcess) -> bytes:
    """All that the storage has, names too."""
    top = daemon.path / "bucket"
    return b"\n".join(
        str(path.relative_to(top)).encode() + (path.read_bytes() if path.is_file() else b"") for path in top.rglob("*")
    )


def plain_files(daemon: DaemonProcess) -> int:
    """How many files the storage has that are not encrypted."""
    tops = ("blobs", "repositories")
    return sum(len(files) for top in tops for _, _, files in os.walk(daemon.path / "bucket" / top))


MANY = 60 if FULL else 30
KILLS = 3 if FULL else 1

SECRETS = [b"secret", b"tag1", b"nobody else", digest(layer_of(1)).partition(":")[2].encode(), LARGE[:64]]


@pytest.mark.parametrize("running", [pytest.param(False, marks=full), True], ids=["alone", "by the daemon"])
def test_there_and_back(daemon: DaemonProcess, running: bool) -> None:
    configured(daemon, ENCRYPTING)
    if running:
        daemon.start()
        check(daemon, range(5))
    done = daemon.command("encrypt", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["files"] > 10
    if running:
        check(daemon, range(5))
        push(daemon, 5, layer_of(5))
        daemon.stop()
    else:
        with daemon:
            push(daemon, 5, layer_of(5))
    assert not [each for each in SECRETS if each in stored(daemon)]
    with configured(daemon, ENCRYPTED):
        check(daemon, range(6))
        assert "Everything is whole" in daemon.command("verify").stdout

    configured(daemon, DECRYPTING)
    if running:
        daemon.start()
    done = daemon.command("decrypt", "--json")
    assert done.returncode == 0, done.stderr
    if running:
        check(daemon, range(6))
        push(daemon, 6, layer_of(6))
        time.sleep(0.1)
        daemon.stop()
    else:
        with configured(daemon, PLAIN):
            push(daemon, 6, layer_of(6))
    assert not (daemon.path / "bucket" / "encryption").exists()
    with configured(daemon, PLAIN):
        check(daemon, range(7))
        assert "Everything is whole" in daemon.command("verify").stdout
    daemon.check_log()


@pytest.mark.parametrize(("direction", "after"), [("encrypt", ENCRYPTED), pytest.param("decrypt", PLAIN, marks=full)])
def test_killed_again_and_again(daemon: DaemonProcess, direction: str, after: str) -> None:
    with configured(daemon, PLAIN):
        for number in range(5, MANY):
            push(daemon, number, layer_of(number))
    if direction == "decrypt":
        assert configured(daemon, ENCRYPTING).command("encrypt").returncode == 0
    configured(daemon, f"enabled = yes\nconvert = {direction}")
    halves = 0
    pushed: list[int] = []
    while len(pushed) < KILLS and is_under_way(daemon, direction):
        daemon.start()
        os.setpriority(os.PRIO_PROCESS, daemon.pid, 19)  # so that it is caught in the middle on a busy machine too
        pushed.append(1000 + len(pushed))
        push(daemon, pushed[-1], layer_of(pushed[-1]))
        command = threading.Thread(target=daemon.command, args=(direction,))
        begun = plain_files(daemon)
        command.start()
        while abs(plain_files(daemon) - begun) < 10 and command.is_alive():
            time.sleep(0.002)
        daemon.kill()
        command.join()
        halves += is_under_way(daemon, direction) and plain_files(daemon) != begun
    assert halves
    if is_under_way(daemon, direction):
        done = daemon.command(direction)
        assert done.returncode == 0, done.stderr
    with configured(daemon, after):
        check(daemon, range(5))
        check(daemon, pushed)
        assert "Everything is whole" in daemon.command("verify").stdout


def is_under_way(daemon: DaemonProcess, direction: str) -> bool:
    """Whether there is anything left to convert."""
    return plain_files(daemon) > 0 if direction == "encrypt" else (daemon.path / "bucket" / "encryption").exists()


@full
def test_there_and_back_and_there_again(daemon: DaemonProcess) -> None:
    for options, command in ((ENCRYPTING, "encrypt"), (DECRYPTING, "decrypt"), (ENCRYPTING, "encrypt")):
        done = configured(daemon, options).command(command)
        assert done.returncode == 0, done.stderr
        if command == "decrypt":
            again = daemon.command(command)
            assert again.returncode == 1
            assert "is not encrypted: set [encryption] enabled = no" in again.stderr
    with configured(daemon, ENCRYPTED):
        check(daemon, range(5))


def test_half_a_bucket_is_not_served(daemon: DaemonProcess) -> None:
    configured(daemon, ENCRYPTING)
    with daemon:
        pass  # the team is founded, and nothing is converted yet
    for wrong in (PLAIN, ENCRYPTED):
        done = configured(daemon, wrong).command("ls")
        assert done.returncode != 0
        assert "being converted" in done.stderr
        with pytest.raises(RuntimeError, match="being converted"):
            daemon.start()


def test_damage_stays_and_is_named(daemon: DaemonProcess) -> None:
    damaged = digest(layer_of(2)).partition(":")[2]
    (file,) = (daemon.path / "bucket" / "blobs").rglob(damaged)
    content = file.read_bytes()
    file.unlink()
    file.symlink_to("/etc/passwd")
    done = configured(daemon, ENCRYPTING).command("encrypt")
    assert done.returncode == 1
    assert f"Damaged, and left as it is: blobs/sha256/{damaged[:2]}/{damaged}" in done.stdout
    file.unlink()
    file.write_bytes(content)
    assert daemon.command("encrypt").returncode == 0
    with configured(daemon, ENCRYPTED):
        check(daemon, range(5))


@pytest.mark.parametrize("command", ["encrypt", "decrypt"])
def test_without_the_option_it_says_what_to_do(daemon: DaemonProcess, command: str) -> None:
    for options in (PLAIN, ENCRYPTED):
        done = configured(daemon, options).command(command)
        assert done.returncode == 2
        assert f"convert = {command}" in done.stderr
        assert len(done.stderr.splitlines()) == 1
