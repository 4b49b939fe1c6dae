"""What is in the place of a registry's file is named as what it is: in the log, by the commands, and to clients."""

import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPMessage
from pathlib import Path

import pytest

from tests.daemon_process import DaemonProcess
from tests.full import some
from tests.marks import full

from .test_kill import IMAGE, Client, digest_of, image

Put = Callable[[Path], None]

CONFIG = b"{}"


def put_directory(path: Path) -> None:
    path.mkdir()
    (path / "somebodys").write_bytes(b"")


def put_link(path: Path) -> None:
    path.symlink_to("/nowhere")


def put_loop(path: Path) -> None:
    path.symlink_to(path)


def put_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(f"/proc/self/fd/{os.open(path.parent, os.O_PATH)}/{path.name}")


def put_device(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero: it would never end
    except PermissionError:
        pytest.skip("only root makes devices")


KINDS: dict[str, Put] = {
    "directory": put_directory,
    "link": put_link,
    "loop": put_loop,
    "FIFO": os.mkfifo,
    "socket": put_socket,
    "device": put_device,
}


@dataclass
class Pushed:
    """An image in a repository of its own, named like the file of it that is damaged."""

    repository: str

    @property
    def layer(self) -> bytes:
        """Content that no other has."""
        return self.repository.encode() * 1000

    @property
    def manifest(self) -> bytes:
        """It has the tag ``t``."""
        return image(CONFIG, self.layer)

    def push(self, client: Client) -> int:
        """Push it as clients do that ask before; the status of the first answer that is not 201."""
        for blob in (CONFIG, self.layer):
            if client.ask("HEAD", f"/v2/{self.repository}/blobs/{digest_of(blob)}")[0] != 200:
                location = client.begin(self.repository)
                status, _, _ = client.ask("PUT", f"{location}?digest={digest_of(blob)}", blob)
                if status != 201:
                    return status
        return self.tag(client, "t")[0]

    def tag(self, client: Client, name: str) -> tuple[int, HTTPMessage, bytes]:
        """Give it a tag."""
        return client.ask("PUT", f"/v2/{self.repository}/manifests/{name}", self.manifest, Content_Type=IMAGE)

    def is_whole(self, client: Client) -> bool:
        """Whether it can be pulled."""
        manifest = client.ask("GET", f"/v2/{self.repository}/manifests/t")
        layer = client.ask("GET", f"/v2/{self.repository}/blobs/{digest_of(self.layer)}")
        return [manifest[0], manifest[2], layer[0], layer[2]] == [200, self.manifest, 200, self.layer]

    def file(self, daemon: DaemonProcess) -> Path:
        """The file after which the repository is called."""
        manifest, layer = (digest_of(each).partition(":")[2] for each in (self.manifest, self.layer))
        pattern = {
            "tag": "repositories/tag/_tags/t",
            "record": f"repositories/record/_manifests/sha256/*/{manifest}",
            "manifest": f"blobs/sha256/*/{manifest}",
            "link": f"repositories/link/_blobs/sha256/*/{layer}",
            "blob": f"blobs/sha256/*/{layer}",
        }[self.repository]
        (file,) = (daemon.path / "bucket").glob(pattern)
        return file


ALL = [Pushed(place) for place in ("tag", "record", "manifest", "link", "blob")]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """One daemon for all: each test mends what it damaged."""
    with DaemonProcess(tmp_path_factory.mktemp("damage"), {"registry": {"cache_memory": "0"}}) as daemon:
        yield daemon


@pytest.fixture
def client(daemon: DaemonProcess) -> Iterator[Client]:
    """A client of the daemon, which has all the images."""
    client = Client(daemon)
    assert [each.push(client) for each in ALL] == [201] * len(ALL)
    yield client
    client.close()


@pytest.mark.parametrize("place", ["blob", "manifest"])
def test_who_pulls_what_was_damaged_is_told_and_who_asks_before_a_push_heals_it(
    daemon: DaemonProcess, client: Client, place: str
) -> None:
    (pushed,) = (each for each in ALL if each.repository == place)
    file = pushed.file(daemon)
    file.write_bytes(bytes(file.stat().st_size))
    assert daemon.command("verify").returncode == 1
    target = f"/v2/{place}/" + (f"blobs/{digest_of(pushed.layer)}" if place == "blob" else "manifests/t")
    for _ in range(2):
        assert client.ask("HEAD", target)[0] == 404
        status, _, answer = client.ask("GET", target)
        assert (status, b"found damaged" in answer, b"push it again" in answer) == (404, True, True), answer
    other = f"/v2/other/{target.removeprefix(f'/v2/{place}/')}"
    assert b"damaged" not in client.ask("GET", other)[2]  # what others have is told to nobody
    assert pushed.push(client) == 201
    assert pushed.is_whole(client)
    shutil.rmtree(daemon.path / "bucket/quarantine")


@pytest.mark.parametrize("kind", KINDS)
def test_in_the_place_of_a_file(daemon: DaemonProcess, client: Client, kind: str) -> None:
    assert daemon.command("verify").stdout.endswith("\nEverything is whole.\n")
    files = {each.repository: each.file(daemon) for each in ALL}
    for file in files.values():
        file.unlink()
        KINDS[kind](file)
    found = daemon.command("verify")
    assert found.returncode == 1, found.stdout
    assert "Everything" not in found.stdout
    for each in ALL:
        name = str(files[each.repository].relative_to(daemon.path / "bucket"))
        digest = digest_of(each.manifest if each.repository == "manifest" else each.layer)
        assert (digest if each.repository in {"manifest", "blob"} else name) in found.stdout
    collected = daemon.command("gc", "--now")
    assert collected.returncode == 0, collected.stderr
    for each in ALL:
        file, status = files[each.repository], each.push(client)
        if status != 201:
            # Somebody's directory in the place of a small file: it is for the operator to look at.
            assert (kind, status) == ("directory", 503)
            assert f"{file} is a directory" in daemon.log
            assert "credentials" not in daemon.log
            (file / "somebodys").unlink()
            assert each.push(client) == 201
        assert each.is_whole(client)
    assert daemon.command("verify").stdout.endswith("\nEverything is whole.\n")
    shutil.rmtree(daemon.path / "bucket/quarantine", ignore_errors=True)


HEX = digest_of(CONFIG).partition(":")[2]

STRAYS: dict[str, Put] = {
    "somebodys.txt": Path.touch,
    "blobs/sha256/notes": Path.touch,
    "blobs/md5": put_directory,
    f"blobs/sha256/00/{HEX}": Path.touch,
    f"dags/sha256/{HEX[:2]}/{HEX}.bak": Path.touch,
    "repositories/README": Path.touch,
    "repositories/_tags": put_directory,
    "repositories/App": put_directory,
    "repositories/tag/_layers": put_directory,
    "repositories/tag/_tags/.t.swp": Path.touch,
    f"repositories/tag/_referrers/sha256/{HEX[:2]}/{HEX}/x": Path.touch,
    "repositories/tag/Notes": Path.touch,
}


def test_what_no_code_of_ours_writes(daemon: DaemonProcess, client: Client) -> None:
    made = []
    for stray, put in STRAYS.items():
        path = daemon.path / "bucket" / stray
        path.parent.mkdir(parents=True, exist_ok=True)
        put(path)
        made.append(path)
    found = daemon.command("verify")
    assert found.returncode == 1
    assert "Everything is whole" not in found.stdout
    told = [line.partition(" is ")[0] for line in found.stdout.splitlines() if "does not belong" in line]
    assert sorted(told) == sorted(STRAYS)
    assert daemon.command("gc").returncode == 0
    for path in made:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert daemon.command("verify").returncode == 0


@pytest.mark.parametrize("kind", KINDS)
def test_in_the_place_of_what_nobody_needs(daemon: DaemonProcess, client: Client, kind: str) -> None:
    unneeded = b"unneeded" + kind.encode()
    location = client.begin("tag")
    assert client.ask("PUT", f"{location}?digest={digest_of(unneeded)}", unneeded)[0] == 201
    (file,) = (daemon.path / "bucket/blobs").rglob(digest_of(unneeded)[7:])
    assert client.ask("DELETE", f"/v2/tag/blobs/{digest_of(unneeded)}")[0] == 202
    file.unlink()
    KINDS[kind](file)
    collected = daemon.command("gc", "--now")
    if kind == "directory":  # somebody's: it is for the operator to look at
        assert collected.returncode == 1
        assert f"{file} is a directory" in collected.stderr
        shutil.rmtree(file)
    else:
        assert collected.returncode == 0, collected.stderr
    assert not os.path.lexists(file)


DIRECTORIES = (
    "repositories",
    "repositories/tag",
    "repositories/tag/_tags",
    "repositories/tag/_manifests",
    "repositories/tag/_manifests/sha256",
    "repositories/tag/_blobs",
    "repositories/tag/_blobs/sha256",
    f"repositories/tag/_blobs/sha256/{HEX[:2]}",
    "blobs",
    "blobs/sha256",
    f"blobs/sha256/{HEX[:2]}",
)
IN_ITS_PLACE = [
    *(("repositories/tag/_tags", kind) for kind in KINDS if kind != "directory"),
    *((directory, "file") for directory in some(6, DIRECTORIES)),
    *((directory, "link") for directory in some(2, DIRECTORIES[::3])),
]


@pytest.mark.parametrize(("directory", "kind"), IN_ITS_PLACE)
def test_in_the_place_of_a_directory(daemon: DaemonProcess, client: Client, directory: str, kind: str) -> None:
    """What belongs below it is not known to be missing: nothing is collected."""
    path = daemon.path / "bucket" / directory
    away = path.rename(daemon.path / "away")
    try:
        KINDS.get(kind, Path.touch)(path)
        found = daemon.command("verify")
        assert found.returncode == 1
        assert f"{directory} is " in found.stdout
        assert "The rest was not looked at" in found.stdout
        assert "whole" not in found.stdout
        collected = daemon.command("gc", "--now")
        assert collected.returncode != 0
        assert f"{directory} is " in collected.stderr
        for target in ("tags/list", "manifests/t", f"blobs/{digest_of(ALL[0].layer)}", f"blobs/{digest_of(CONFIG)}"):
            status, _, answer = client.ask("GET", f"/v2/tag/{target}")
            assert status in {200, 503}, (target, answer)
            assert status == 503 or answer != b'{"name":"tag","tags":[]}'
        status, _, answer = ALL[0].tag(client, "t")
        assert (status, b"damaged" in answer) == (503, True)
    finally:
        path.unlink()
        away.rename(path)
    assert all(each.is_whole(client) for each in ALL)


# Root passes over permissions by CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: what is started here lacks both.
BOUND_BY_PERMISSIONS = """
import ctypes, os, sys
for capability in (1, 2):
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
os.execv(sys.argv[1], sys.argv[1:])
"""
BOUND = [sys.executable, "-c", BOUND_BY_PERMISSIONS]


@pytest.fixture
def bound(tmp_path: Path) -> Iterator[DaemonProcess]:
    """A daemon whom permissions bind, as they do every user but root."""
    (tmp_path / "closed").touch(0)
    opened = subprocess.run([*BOUND, sys.executable, "-c", f"open({str(tmp_path / 'closed')!r})"], capture_output=True)
    if opened.returncode == 0:
        pytest.skip("no process can be started here whom permissions bind")
    daemon = DaemonProcess(tmp_path, {"registry": {"cache_memory": "0"}})
    daemon.command_line = [*BOUND, *daemon.command_line]
    with daemon:
        yield daemon


def test_what_the_daemon_may_not_write(bound: DaemonProcess) -> None:
    client, pushed = Client(bound), ALL[0]
    assert pushed.push(client) == 201
    directory = pushed.file(bound).parent
    directory.chmod(0o555)
    status, headers, answer = pushed.tag(client, "u")
    assert (status, headers["Retry-After"]) == (503, "60")
    assert b"its own disk" in answer
    assert f"{directory}/u: Permission denied" in bound.log
    assert "credentials" not in bound.log + answer.decode()
    assert pushed.is_whole(client)
    directory.chmod(0o755)
    # Without a restart it goes on.
    assert pushed.tag(client, "u")[0] == 201
    client.close()


def test_what_the_daemon_may_not_read(bound: DaemonProcess) -> None:
    client = Client(bound)
    assert [each.push(client) for each in ALL] == [201] * len(ALL)
    files = {each.repository: each.file(bound) for each in ALL}
    for each in ALL:
        files[each.repository].chmod(0)
    for each in ALL:
        path = f"blobs/{digest_of(each.layer)}" if each.repository in {"link", "blob"} else "manifests/t"
        status, headers, answer = client.ask("GET", f"/v2/{each.repository}/{path}")
        assert (each.repository, status, headers["Retry-After"]) == (each.repository, 503, "60")
        assert b"its own disk" in answer
        assert f"{files[each.repository]}: Permission denied" in bound.log
    found = bound.command("verify")
    assert found.returncode == 1
    for file in files.values():
        assert str(file.relative_to(bound.path / "bucket")) in found.stdout
    assert "Everything" not in found.stdout
    for file in files.values():
        file.chmod(0o644)
    assert all(each.is_whole(client) for each in ALL)
    client.close()


@full
def test_check_names_a_bucket_that_cannot_be_written(bound: DaemonProcess) -> None:
    bound.stop()
    bucket = bound.path / "bucket"
    bucket.chmod(0o555)
    command = [*BOUND, str(Path(sys.executable).with_name("ipfsreg")), "check", "--config", str(bound.config_file)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert f"[local] path: {bucket} is not writable for this user" in found.stderr
    with pytest.raises(RuntimeError, match="is not writable for this user"):
        bound.start()
    bucket.chmod(0o755)
    bound.start()
