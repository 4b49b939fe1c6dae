"""The commands in the documents, run as they stand there by a shell.

What has to differ here is replaced by name: the port, and images of public registries, for no test talks to one.
"""

import base64
import configparser
import fcntl
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import termios
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.access.helpers import HASH, PASSWORD
from tests.clients.engines import DockerEngine
from tests.clients.images import busybox_layout
from tests.clients.programs import NEWER_ENGINE_PATH, client_environment, require_program, require_root, run
from tests.daemon_process import DaemonProcess, free_port, program
from tests.marks import full

from .certificates import make_certificate
from .documents import CHECKOUT, block, blocks

RUN_HERE = {
    ("README.md", "Two commands"),
    ("README.md", "First push and pull"),
    ("docs/clients.md", "Podman"),
    ("docs/clients.md", "skopeo"),
    ("docs/clients.md", "oras"),
    ("docs/clients.md", "ctr (containerd)"),
    ("README.md", "What is there"),
    ("README.md", "CIDs"),
    ("README.md", "Configuration"),
    ("README.md", "Users and TLS"),
    ("README.md", "Deleting, and getting the space back"),
    ("README.md", "Damage"),
    ("CONTRIBUTING.md", "Contributing"),
    ("docs/configuration.md", "The file"),
    ("docs/security.md", "From nothing"),
}
ELSEWHERE = {
    # It needs root and a running systemd; tests/docs/test_unit.py has its file, its configuration and its command.
    ("docs/configuration.md", "As a service"),
    # tests/docs/test_operations.py
    ("docs/operations.md", "While it is stopped"),
    ("docs/operations.md", "Restore"),
    ("docs/moving.md", "What to do"),  # tests/docs/test_moving.py
    ("docs/performance.md", "Performance"),  # tests/bench runs it, small
}
WITH_THEIR_BACKEND = {"docs/textile.md", "docs/space.md", "docs/ipfs.md", "docs/kubo.md"}
"""Documents whose commands are run by the tests beside those of what they are about."""
HUB = "docker.io/library/busybox"
WITH_INTERRUPTS = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""A program that becomes the one it is told, with SIGINT as a terminal's programs have it."""


def test_every_command_is_run_somewhere() -> None:
    shown = [(each.document, each.heading) for each in blocks("sh") if each.document not in WITH_THEIR_BACKEND]
    run_here = [each for each in shown if each in RUN_HERE]
    assert len(run_here) == len(set(run_here))
    assert set(shown) == RUN_HERE | ELSEWHERE


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path_factory.mktemp("daemon")) as process:
        yield process


@pytest.fixture(scope="module")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OCI layout of a runnable image (`amd64`), and an archive of it named busybox:latest beside the layout."""
    for name in ("umoci", "busybox", "skopeo"):
        require_program(name)
    directory = tmp_path_factory.mktemp("images")
    layout = busybox_layout(directory, directory)
    archive = f"docker-archive:{layout.parent / 'busybox.tar'}:busybox:latest"
    run("skopeo", "copy", "--quiet", f"oci:{layout}:amd64", archive, env=client_environment(directory))
    return layout


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerEngine]:
    with DockerEngine(tmp_path_factory.mktemp("docker"), newer=False) as running:
        yield running


def shell(commands: str, where: Path, env: Mapping[str, str], replaced: Mapping[str, str]) -> str:
    """Run the lines of a block, ended by the first that fails; what they printed."""
    for text, substitute in replaced.items():
        assert text in commands, f"{text} is not in the document any more"
        commands = commands.replace(text, substitute)
    return run("sh", "-euc", commands, env=env, cwd=where)


@contextmanager
def running(command: Sequence[str], where: Path, env: Mapping[str, str]) -> Iterator[Path]:
    """A daemon in the foreground, from when it says that it is ready until Ctrl-C; the file that it writes to."""
    output = Path(env["HOME"]) / "output.txt"
    with output.open("wb") as file:
        process = subprocess.Popen(
            # In the background of a script SIGINT is ignored, and whatever is started there inherits that.
            [sys.executable, "-c", WITH_INTERRUPTS, *command],
            cwd=where,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
    try:
        end = time.monotonic() + 60
        while "Ready: " not in output.read_text():
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < end, output.read_text()
            time.sleep(0.02)
        yield output
        os.killpg(process.pid, signal.SIGINT)  # what Ctrl-C sends, to make and the daemon alike
        process.wait(60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what is left of the two
        process.wait(60)


def tags(daemon: DaemonProcess, repository: str) -> list[str]:
    with urllib.request.urlopen(f"{daemon.url}/v2/{repository}/tags/list", timeout=10) as answer:
        listed: list[str] = json.load(answer)["tags"]
        return listed


def test_docker(daemon: DaemonProcess, engine: DockerEngine, busybox: Path) -> None:
    engine.docker("load", "--input", busybox.parent / "busybox.tar")
    env = engine.env | {"DOCKER_HOST": f"unix://{engine.directory / 'docker.sock'}"}
    replaced = {"docker pull busybox\n": "", "127.0.0.1:5000": daemon.host}
    assert "digest: sha256:" in shell(block("README.md", "First push and pull"), engine.directory, env, replaced)
    assert tags(daemon, "busybox") == ["latest"]


def test_podman(daemon: DaemonProcess, busybox: Path, tmp_path: Path) -> None:
    require_root()
    require_program("podman")
    settings = tmp_path / "storage.conf"
    # podman takes at most 50 characters for a run root.
    run_root = tempfile.mkdtemp(prefix="run-")
    settings.write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path / "root"}"\nrunroot = "{run_root}"\n')
    env = client_environment(tmp_path / "home") | {"CONTAINERS_STORAGE_CONF": str(settings)}
    loaded = f"podman load --input {busybox.parent / 'busybox.tar'} && podman tag busybox:latest {HUB}"
    replaced = {f"podman pull {HUB}\n": f"{loaded}\n", "127.0.0.1:5000/busybox": f"{daemon.host}/podman"}
    try:
        shell(block("docs/clients.md", "Podman"), tmp_path, env, replaced)
    finally:
        for directory in (tmp_path / "root", run_root):
            shutil.rmtree(directory, ignore_errors=True)
    assert tags(daemon, "podman") == ["latest"]


def test_skopeo(daemon: DaemonProcess, busybox: Path, tmp_path: Path) -> None:
    replaced = {f"docker://{HUB}": f"oci:{busybox}:amd64", "127.0.0.1:5000/busybox": f"{daemon.host}/skopeo"}
    printed = shell(block("docs/clients.md", "skopeo"), tmp_path, client_environment(tmp_path / "home"), replaced)
    assert '"latest"' in printed


def test_oras(daemon: DaemonProcess, tmp_path: Path) -> None:
    env = client_environment(tmp_path / "home", [NEWER_ENGINE_PATH])
    require_program("oras", env["PATH"])
    shell(block("docs/clients.md", "oras"), tmp_path, env, {"127.0.0.1:5000": daemon.host})
    assert (tmp_path / "fetched" / "hello.txt").read_text() == "hello\n"


def test_ctr(daemon: DaemonProcess, engine: DockerEngine, busybox: Path) -> None:
    hub = f"{daemon.host}/hub/busybox"
    to_hub = ("--dest-tls-verify=false", f"oci:{busybox}:multi", f"docker://{hub}:latest")
    run("skopeo", "copy", "--quiet", "--all", *to_hub, env=engine.env)
    env = engine.env | {
        "CONTAINERD_ADDRESS": str(engine.directory / "exec" / "containerd" / "containerd.sock"),
        "CONTAINERD_NAMESPACE": "documents",
    }
    replaced = {
        "ctr images pull --all-platforms docker.io": "ctr images pull --plain-http --all-platforms docker.io",
        HUB: hub,
        "127.0.0.1:5000/busybox": f"{daemon.host}/ctr/busybox",
    }
    shell(block("docs/clients.md", "ctr (containerd)"), engine.directory, env, replaced)
    assert tags(daemon, "ctr/busybox") == ["latest"]


def test_the_ipfsreg_command_and_curl(daemon: DaemonProcess, busybox: Path, tmp_path: Path) -> None:
    """Each in the folder of the daemon, whose ipfsreg.ini the command finds by itself."""
    require_program("curl")
    home = client_environment(tmp_path / "home")
    to_daemon = ("--dest-tls-verify=false", f"oci:{busybox}:amd64", f"docker://{daemon.host}/busybox:latest")
    run("skopeo", "copy", "--quiet", *to_daemon, env=home)
    env = home | {"PATH": f"{Path(program('ipfsreg')).parent}:{home['PATH']}"}

    def do(document: str, heading: str, *replaced: tuple[str, str]) -> str:
        return shell(block(document, heading), daemon.directory, env, dict(replaced))

    installed = (".venv/bin/ipfsreg", "ipfsreg")
    assert do("README.md", "Configuration", installed) == "OK: ipfsreg.ini\n"
    assert block("docs/configuration.md", "The file") == block("README.md", "Configuration").replace(*installed)
    assert "Would free " in do("README.md", "Deleting, and getting the space back", installed)
    assert "Everything is whole." in do("README.md", "Damage", installed)
    cid, about, *headers = do("README.md", "CIDs", installed, ("http://127.0.0.1:5000", daemon.url)).splitlines()
    assert about.startswith(f"ipfsreg: this is about local directory {daemon.path}, as ipfsreg.ini says")
    assert cid.startswith("bafkrei")
    assert f"X-Ipfs-Cid: {cid}" in headers
    listed = do("README.md", "What is there", installed, ("http://127.0.0.1:5000", daemon.url))
    assert "\nlatest\t" in listed
    assert "Platform:  linux/amd64" in listed
    assert '"busybox"' in listed
    assert '"tags":["latest"]' in listed


def test_make_knows_its_targets(tmp_path: Path) -> None:
    """Only told what they would do: they would install, and run this test."""
    make = require_program("make")
    for document, heading in (("README.md", "Two commands"), ("CONTRIBUTING.md", "Contributing")):
        lines = block(document, heading).splitlines()
        for line in lines:
            told = run("sh", "-euc", line.replace("make ", f"{make} --dry-run VENV={tmp_path} "), cwd=CHECKOUT)
            assert f"{tmp_path}/bin/" in told
            for argument in line.split()[2:]:
                assert argument.partition("=")[2].strip('"') in told


def test_make_run(tmp_path: Path) -> None:
    """With this virtual environment as it is, since its installation would take the network and half a minute."""
    make = require_program("make")
    port = free_port()
    config = tmp_path / "ipfsreg.ini"
    config.write_text(f"[registry]\nlisten = tcp:{port}:interface=127.0.0.1\n[local]\npath = {tmp_path / 'store'}\n")
    venv = Path(program("twistd")).parents[1]
    command = [make, f"--assume-old={venv}/.installed", f"VENV={venv}", "run", f"CONFIG={config}"]
    env = os.environ | {"HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    with running(command, CHECKOUT, env) as output:
        pass
    text = output.read_text()
    assert f": http://127.0.0.1:{port}/v2/ on local directory {tmp_path / 'store'}. Try: docker " in text
    assert "Stopped." in text
    assert "pip install" not in text


def on_a_terminal(command: list[str], directory: Path, env: dict[str, str], answers: Sequence[str]) -> str:
    """What is printed where somebody sits at a terminal of their own and gives so many answers."""
    ours, theirs = os.openpty()
    with (directory / "printed").open("w+") as printed:
        process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=printed,
            stderr=theirs,
            cwd=directory,
            env=env,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(theirs, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        shown = b""
        for answer in answers:
            while not re.search(rb"(Password of \w+|Repeat for confirmation): $", shown):
                shown += os.read(ours, 4096)
            os.write(ours, answer.encode() + b"\n")
            shown = b""
        with suppress(OSError):  # EIO at the end
            while more := os.read(ours, 4096):
                shown += more
        assert process.wait(60) == 0, shown
        os.close(ours)
        printed.seek(0)
        return printed.read()


@full
def test_from_nothing_to_users_and_tls(tmp_path: Path) -> None:
    """The last of the commands is the daemon. Nobody but the test answers the questions for passwords."""
    require_program("openssl")
    commands = block("docs/security.md", "From nothing")
    assert block("README.md", "Users and TLS") == commands
    port = free_port()
    for text, substitute in {
        "DNS:registry.example.org": "IP:127.0.0.1",
        "tls:5443": f"tls:{port}:interface=127.0.0.1",
        ".venv/bin/": f"{Path(program('ipfsreg')).parent}/",
    }.items():
        assert text in commands
        commands = commands.replace(text, substitute)
    *before, start = commands.splitlines()
    env = client_environment(tmp_path / "home") | {"PYTHONUNBUFFERED": "1"}
    passwords = ["alice's", "alice's", "bob's", "bob's"]
    secret = on_a_terminal(["sh", "-euc", "\n".join(before)], tmp_path, env, passwords).strip()
    with running(["sh", "-euc", f"exec {start}"], tmp_path, env) as output:
        trusted = ssl.create_default_context(cafile=str(tmp_path / "tls-cert.pem"))

        def ask(path: str, name: str = "", password: str = "", method: str = "GET") -> int:
            request = urllib.request.Request(f"https://127.0.0.1:{port}{path}", method=method)
            if name:
                login = base64.b64encode(f"{name}:{password}".encode()).decode()
                request.add_header("Authorization", f"Basic {login}")
            try:
                with urllib.request.urlopen(request, timeout=30, context=trusted) as answer:
                    status: int = answer.status
                    return status
            except urllib.error.HTTPError as error:
                with error:
                    return error.code

        upload = "/v2/team/app/blobs/uploads/"
        assert ask("/v2/") == ask("/v2/", "alice", "bob's") == 401
        assert ask("/v2/public/app/manifests/1", "bob", "bob's") == 404
        logins = [("alice", "alice's"), ("bob", "bob's"), ("robot+ci", secret)]
        assert [ask(upload, *login, method="POST") for login in logins] == [202, 403, 202]
        assert f"https://127.0.0.1:{port}/v2/" in output.read_text()


def test_tls_as_it_is_configured(tmp_path: Path) -> None:
    key, certificate = make_certificate(tmp_path)
    plain, secure = free_port(), free_port()
    (tmp_path / "htpasswd").write_text(f"alice:{HASH}\n")
    text = block("docs/configuration.md", "TLS", "ini")
    for documented, substitute in {
        "tcp:5000:": f"tcp:{plain}:",
        "tls:5443": f"tls:{secure}:interface=127.0.0.1",
        "/etc/ipfsreg/tls-key.pem": str(key),
        "/etc/ipfsreg/tls-cert.pem": str(certificate),
        "/etc/ipfsreg/htpasswd": str(tmp_path / "htpasswd"),
    }.items():
        assert documented in text
        text = text.replace(documented, substitute)
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    process = DaemonProcess(tmp_path, {name: dict(parser.items(name)) for name in parser.sections()})
    process.port = plain
    with process:
        context = ssl.create_default_context(cafile=str(certificate))
        url = f"https://127.0.0.1:{secure}/v2/"
        secret = base64.b64encode(f"alice:{PASSWORD}".encode()).decode()
        request = urllib.request.Request(url, headers={"Authorization": f"Basic {secret}"})
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            assert answer.status == 200
            assert answer.read() == b"{}"
