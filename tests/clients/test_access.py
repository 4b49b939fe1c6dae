"""Real clients over TLS at a registry with rules: passwords, robots' secrets, certificates, and nobody at all.

All are one address, where wrong passwords make everybody wait but users who have logged in there before: so each client
has a user of its own, and all of them have.
"""

import base64
import json
import shutil
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from tests.certificate_authority import CertificateAuthority
from tests.daemon_process import DaemonProcess, free_port

from . import programs
from .engines import DockerEngine
from .images import make_image, random_layer, write_layout
from .programs import client_environment, require_program, run
from .tool import Tool

PASSWORD = "correct horse"
THIS_MACHINE = "0.0.0.0"
"""Leads here as well, and docker does not take it for itself: only a registry elsewhere is shown a certificate."""

DOCKER_CERTIFICATES = Path("/etc/docker/certs.d")
"""Where docker looks, and nowhere else."""

USERS = ("docker", "nerdctl", "ctr", "podman", "skopeo", "oras", "crane", "regctl", "helm")
RULES = """
    allow anyone   pull        public/*
    allow users    pull        team/*
    allow {users}  push        team/*,public/*
    allow builder  pull,push   built/*
"""
NEEDS_LOGIN = (
    *("unauthorized", "401 Unauthorized", "authorization failed", "may require 'docker login'"),
    "UNAUTHORIZED: authentication required",  # crane
    "denied: requested access to the resource is denied",  # docker push, as it says it of every registry
)
FORBIDDEN = ("403 Forbidden", "403 (Forbidden)", "403: Forbidden", "status code 403")
LOGIN_REFUSED = (
    *("incorrect username or password", "invalid username/password", "401 Unauthorized"),
    "failed to ping registry",  # regctl
)


@dataclass(frozen=True)
class Secured:
    """A daemon with rules, and the files of those who use it."""

    process: DaemonProcess
    host: str
    """`localhost:PORT` of its TLS listener."""
    robot: str
    """The secret of `robot+ci`, which may pull and push `robots/*`."""
    authority: Path
    """The certificate authority's file."""
    builder: tuple[Path, Path]
    """Certificate and key of the user `builder`."""

    def certificates(self, directory: Path, *, with_client: bool) -> Path:
        """A folder as podman and skopeo have it for `--cert-dir`."""
        directory.mkdir(parents=True)
        (directory / "ca.crt").write_bytes(self.authority.read_bytes())
        if with_client:
            for source, name in zip(self.builder, ("client.cert", "client.key"), strict=True):
                (directory / name).write_bytes(source.read_bytes())
        return directory

    def hosts(self, directory: Path, *, with_client: bool) -> Path:
        """A folder as containerd has it for `--hosts-dir`."""
        text = f'server = "https://{self.host}"\nca = "{self.authority}"\n'
        if with_client:
            text += f"client = {json.dumps([list(map(str, self.builder))])}\n"
        text += "[host]\n"  # what containerd 1.6 insists on
        folder = directory / self.host
        folder.mkdir(parents=True)
        (folder / "hosts.toml").write_text(text)
        return directory


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Iterator[Secured]:
    """The daemon of this module."""
    directory = tmp_path_factory.mktemp("secured")
    (directory / "ca.crt").write_bytes(authority.pem)
    server = authority.issue(directory, "server", "localhost", "127.0.0.1", THIS_MACHINE)
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    (directory / "htpasswd").write_text("".join(f"{user}:{hashed}\n" for user in USERS))
    plain, secure = free_port(), free_port()
    process = DaemonProcess(
        directory,
        {
            "registry": {"listen": f"tcp:{plain}:interface=127.0.0.1, tls:{secure}:interface=127.0.0.1"},
            "tls": {
                "certificate": str(server[0]),
                "key": str(server[1]),
                "client_ca": str(directory / "ca.crt"),
                "client_certificate": "optional",
            },
            "auth": {"htpasswd": str(directory / "htpasswd"), "certificate_users": "cn * ="},
            "access": {"rules": RULES.format(users=",".join(USERS))},
        },
    )
    process.port = plain
    with process:
        robot = process.command("token", "create", "ci", "--repositories", "robots/*", "--actions", "pull,push")
        assert robot.returncode == 0, robot.stderr
        builder = authority.issue(directory, "builder")
        yield Secured(process, f"localhost:{secure}", robot.stdout.strip(), directory / "ca.crt", builder)


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OCI layout with a small image, `1`, and archives of it beside: `docker.tar` and `oci.tar`, named access:1."""
    directory = tmp_path_factory.mktemp("image")
    layout = write_layout(directory / "layout", {"1": make_image([random_layer("access", 1000)])})
    skopeo, env = require_program("skopeo"), client_environment(directory)
    for kind, archive in (("docker-archive", "docker.tar"), ("oci-archive", "oci.tar")):
        target = f"{kind}:{directory / archive}:docker.io/library/access:1"
        run(skopeo, "copy", "--quiet", f"oci:{layout}:1", target, env=env)
    return layout


class Client(ABC):
    """One client, which knows the image already. Names are those of repositories at the daemon, with a tag."""

    user: str

    @abstractmethod
    def login(self, user: str, password: str, *, fails: bool = False) -> str:
        """Log in, and stay logged in; what was printed."""

    @abstractmethod
    def push(self, name: str, *, fails: bool = False) -> str:
        """Push the image under a name; what was printed."""

    @abstractmethod
    def pull(self, name: str, *, fails: bool = False) -> str:
        """Pull an image; what was printed."""


class Docker(Client):
    """A registry on this machine is shown no certificate, and not verified but for where tokens are had."""

    user = "docker"

    def __init__(self, engine: DockerEngine, host: str, layout: Path) -> None:
        self._engine, self._host = engine, host
        engine.docker("load", "--input", layout.parent / "docker.tar")
        engine.docker("logout", self._host)

    def login(self, user: str, password: str, *, fails: bool = False) -> str:
        return self._engine.docker("login", "--username", user, "--password", password, self._host, fails=fails)

    def push(self, name: str, *, fails: bool = False) -> str:
        self._engine.docker("tag", "access:1", f"{self._host}/{name}")
        return self._engine.docker("push", f"{self._host}/{name}", fails=fails)

    def pull(self, name: str, *, fails: bool = False) -> str:
        return self._engine.docker("pull", f"{self._host}/{name}", fails=fails)


class Nerdctl(Client):
    """It keeps its logins where docker does."""

    user = "nerdctl"

    def __init__(self, engine: DockerEngine, layout: Path, secured: Secured, hosts: Path) -> None:
        self._engine, self._host, self._options = engine, secured.host, ("--hosts-dir", hosts)
        engine.ctr("images", "import", layout.parent / "oci.tar")
        engine.docker("logout", self._host)

    def login(self, user: str, password: str, *, fails: bool = False) -> str:
        words = ("login", "--username", user, "--password", password, self._host)
        return self._engine.nerdctl(*self._options, *words, fails=fails)

    def push(self, name: str, *, fails: bool = False) -> str:
        self._engine.nerdctl("tag", "docker.io/library/access:1", f"{self._host}/{name}")
        return self._engine.nerdctl(*self._options, "push", "--quiet", f"{self._host}/{name}", fails=fails)

    def pull(self, name: str, *, fails: bool = False) -> str:
        return self._engine.nerdctl(*self._options, "pull", "--quiet", f"{self._host}/{name}", fails=fails)


class Ctr(Client):
    """It has no login: the password is an option of each command."""

    user = "ctr"

    def __init__(self, engine: DockerEngine, layout: Path, secured: Secured, hosts: Path) -> None:
        self._engine, self._host = engine, secured.host
        self._options: tuple[str | Path, ...] = ("--hosts-dir", hosts)
        self._as_user: tuple[str, ...] = ()
        engine.ctr("images", "import", layout.parent / "oci.tar")

    def login(self, user: str, password: str, *, fails: bool = False) -> str:
        self._as_user = ("--user", f"{user}:{password}")
        return self.pull("team/known:1", fails=True) if fails else ""

    def push(self, name: str, *, fails: bool = False) -> str:
        words = ("images", "push", *self._options, *self._as_user, f"{self._host}/{name}", "docker.io/library/access:1")
        return self._engine.ctr(*words, fails=fails)

    def pull(self, name: str, *, fails: bool = False) -> str:
        words = ("images", "pull", *self._options, *self._as_user, f"{self._host}/{name}")
        return self._engine.ctr(*words, fails=fails)


class Podman(Client):
    user = "podman"

    def __init__(self, podman: Tool, layout: Path, secured: Secured, certificates: Path) -> None:
        self._podman, self._host, self._options = podman, secured.host, ("--cert-dir", certificates)
        (self._image,) = podman("pull", "--quiet", f"oci:{layout}:1").split()

    def login(self, user: str, password: str, *, fails: bool = False) -> str:
        words = ("login", *self._options, "--username", user, "--password", password, self._host)
        return self._podman(*words, fails=fails)

    def push(self, name: str, *, fails: bool = False) -> str:
        return self._podman("push", *self._options, self._image, f"{self._host}/{name}", fails=fails)

    def pull(self, name: str, *, fails: bool = False) -> str:
        return self._podman("pull", *self._options, f"{self._host}/{name}", fails=fails)


class Skopeo(Client):
    user = "skopeo"

    def __init__(self, home: Path, layout: Path, secured: Secured, certificates: Path) -> None:
        self._program, self._env = require_program("skopeo"), client_environment(home)
        self._home, self._layout, self._host, self._certificates = home, layout, secured.host, certificates

    def login(self, user: str, password: str, *, fails: bool = False) -> str:
        words = ("--cert-dir", self._certificates, "--username", user, "--password", password, self._host)
        return run(self._program, "login", *words, env=self._env, fails=fails)

    def push(self, name: str, *, fails: bool = False) -> str:
        words = ("--dest-cert-dir", self._certificates, f"oci:{self._layout}:1", f"docker://{self._host}/{name}")
        return run(self._program, "copy", "--quiet", *words, env=self._env, fails=fails)

    def pull(self, name: str, *, fails: bool = False) -> str:
        words = ("--src-cert-dir", self._certificates, f"docker://{self._host}/{name}", f"oci:{self._home}/pulled:1")
        return run(self._program, "copy", "--quiet", *words, env=self._env, fails=fails)


class Oras(Client):
    """It takes a registry that is named localhost for one without TLS."""

    user = "oras"

    def __init__(self, home: Path, secured: Secured, *options: str | Path) -> None:
        self._env = client_environment(home, [programs.NEWER_ENGINE_PATH])
        self._program = require_program("oras", self._env["PATH"])
        self._home, self._host = home, secured.host.replace("localhost", "127.0.0.1")
        self._options = ("--ca-file", secured.authority, *options)

    def login(self, user: str, password: str, *, fails: bool = False) -> str:
        words = ("login", *self._options, "--username", user, "--password", password, self._host)
        return run(self._program, *words, env=self._env, fails=fails)

    def push(self, name: str, *, fails: bool = False) -> str:
        (self._home / "note.txt").write_text("a note\n")
        # One after the other: oras 1.2.0 panics where two uploads are refused at once.
        words = ("push", "--concurrency", "1", *self._options, f"{self._host}/{name}", "note.txt")
        return run(self._program, *words, env=self._env, cwd=self._home, fails=fails)

    def pull(self, name: str, *, fails: bool = False) -> str:
        words = ("pull", *self._options, "--output", self._home / "pulled", f"{self._host}/{name}")
        return run(self._program, *words, env=self._env, fails=fails)


class Crane(Client):
    """It shows no certificates, and looks at a password only when it is used."""

    user = "crane"

    def __init__(self, home: Path, layout: Path, secured: Secured) -> None:
        self._env = client_environment(home) | {"SSL_CERT_FILE": str(secured.authority)}
        self._program = require_program("crane", str(programs.TOOLS / "bin"))
        self._home, self._layout, self._host = home, layout, secured.host

    def login(self, user: str, password: str, *, fails: bool = False) -> str:
        words = ("auth", "login", self._host, "--username", user, "--password", password)
        run(self._program, *words, env=self._env)
        return self.pull("team/known:1", fails=True) if fails else ""

    def push(self, name: str, *, fails: bool = False) -> str:
        words = ("push", self._layout.parent / "docker.tar", f"{self._host}/{name}")
        return run(self._program, *words, env=self._env, fails=fails)

    def pull(self, name: str, *, fails: bool = False) -> str:
        words = ("pull", f"{self._host}/{name}", self._home / "pulled.tar")
        return run(self._program, *words, env=self._env, fails=fails)


class Regctl(Client):
    user = "regctl"

    def __init__(self, home: Path, layout: Path, secured: Secured, *, with_client: bool) -> None:
        self._env = client_environment(home)
        self._program = require_program("regctl", str(programs.TOOLS / "bin"))
        self._home, self._layout, self._host = home, layout, secured.host
        options = ["--cacert", secured.authority.read_text()]
        if with_client:
            certificate, key = secured.builder
            options += ["--client-cert", certificate.read_text(), "--client-key", key.read_text()]
        run(self._program, "registry", "set", self._host, "--skip-check", *options, env=self._env)

    def login(self, user: str, password: str, *, fails: bool = False) -> str:
        words = ("registry", "login", self._host, "--user", user, "--pass", password)
        return run(self._program, *words, env=self._env, fails=fails)

    def push(self, name: str, *, fails: bool = False) -> str:
        words = ("image", "copy", f"ocidir://{self._layout}:1", f"{self._host}/{name}")
        return run(self._program, *words, env=self._env, fails=fails)

    def pull(self, name: str, *, fails: bool = False) -> str:
        words = ("image", "copy", f"{self._host}/{name}", f"ocidir://{self._home}/pulled:1")
        return run(self._program, *words, env=self._env, fails=fails)


class Helm(Client):
    """It has charts: that of TEAM/NAME:1 is called chart-NAME, of version 1.0.0."""

    user = "helm"

    def __init__(self, home: Path, secured: Secured, *options: str | Path) -> None:
        self._env = client_environment(home)
        self._program = require_program("helm", str(programs.TOOLS / "bin"))
        self._home, self._host = home, secured.host
        self._options = ("--ca-file", secured.authority, *options)

    def login(self, user: str, password: str, *, fails: bool = False) -> str:
        words = ("registry", "login", *self._options, "--username", user, "--password", password, self._host)
        return run(self._program, *words, env=self._env, fails=fails)

    def logout(self) -> None:
        run(self._program, "registry", "logout", self._host, env=self._env)

    def push(self, name: str, *, fails: bool = False) -> str:
        team, chart = self._chart(name)
        source = self._home / chart
        source.mkdir(exist_ok=True)
        (source / "Chart.yaml").write_text(f"apiVersion: v2\nname: {chart}\nversion: 1.0.0\n")
        run(self._program, "package", source, "--destination", self._home, env=self._env)
        words = ("push", *self._options, self._home / f"{chart}-1.0.0.tgz", f"oci://{self._host}/{team}")
        return run(self._program, *words, env=self._env, fails=fails)

    def pull(self, name: str, *, fails: bool = False) -> str:
        team, chart = self._chart(name)
        (self._home / "pulled").mkdir(exist_ok=True)
        words = ("pull", *self._options, f"oci://{self._host}/{team}/{chart}", "--version", "1.0.0")
        return run(self._program, *words, "--destination", self._home / "pulled", env=self._env, fails=fails)

    @staticmethod
    def _chart(name: str) -> tuple[str, str]:
        team, _, rest = name.partition("/")
        return team, f"chart-{rest.partition(':')[0]}"


@pytest.fixture(scope="module", autouse=True)
def known(secured: Secured, layout: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Images that are there before anybody comes: team/known:1 and public/known:1. All users have logged in once."""
    directory = tmp_path_factory.mktemp("known")
    client = Skopeo(directory, layout, secured, secured.certificates(directory / "certs", with_client=False))
    client.login("skopeo", PASSWORD)
    for name in ("team/known:1", "public/known:1"):
        client.push(name)
    for user in USERS:
        with ask(secured, user, PASSWORD):
            pass
    while True:  # a new robot is known within a second
        with suppress(urllib.error.HTTPError), ask(secured, "robot+ci", secured.robot):
            break
        time.sleep(0.4)


def ask(secured: Secured, user: str, password: str) -> Any:
    """A request with a name and a password."""
    login = base64.b64encode(f"{user}:{password}".encode()).decode()
    request = urllib.request.Request(f"{secured.process.url}/v2/", headers={"Authorization": f"Basic {login}"})
    return urllib.request.urlopen(request, timeout=30)


def check_users(client: Client, secured: Secured) -> None:
    """All that a client does with passwords, and without."""
    client.pull("public/known:1")
    assert_login_needed(client.pull("team/known:1", fails=True))
    assert_login_needed(client.push(f"public/{client.user}:1", fails=True))

    client.login(client.user, PASSWORD)
    client.pull("team/known:1")
    client.push(f"team/{client.user}:1")
    client.pull(f"team/{client.user}:1")
    assert_denied(client, f"{client.user} may not push built/other", "built/other:1")

    said = client.login(client.user, "wrong", fails=True)
    assert any(words in said for words in LOGIN_REFUSED), said

    client.login("robot+ci", secured.robot)
    client.push(f"robots/{client.user}:1")
    client.pull(f"robots/{client.user}:1")
    assert_denied(client, "robot+ci may not push team/other", "team/other:1")


def check_certificate(client: Client) -> None:
    """All that a client does with a certificate and nothing else."""
    client.push(f"built/{client.user}:1")
    client.pull(f"built/{client.user}:1")
    client.pull("public/known:1")
    assert_denied(client, "builder may not push team/other", "team/other:1")


def assert_login_needed(said: str) -> None:
    assert any(words in said for words in NEEDS_LOGIN), said


def assert_denied(client: Client, reason: str, name: str) -> None:
    said = client.push(name, fails=True)
    # What asks with HEAD first, as podman does, is told the status alone.
    assert any(words in said for words in (reason, *FORBIDDEN)), said


def test_docker(secured: Secured, layout: Path, engine: DockerEngine) -> None:
    check_users(Docker(engine, secured.host, layout), secured)


def test_docker_with_a_certificate(secured: Secured, layout: Path, engine: DockerEngine) -> None:
    host = secured.host.replace("localhost", THIS_MACHINE)
    certificates = secured.certificates(DOCKER_CERTIFICATES / host, with_client=True)
    try:
        check_certificate(Docker(engine, host, layout))
    finally:
        shutil.rmtree(certificates)


def test_nerdctl(secured: Secured, layout: Path, engine: DockerEngine, tmp_path: Path) -> None:
    check_users(Nerdctl(engine, layout, secured, secured.hosts(tmp_path / "hosts", with_client=False)), secured)
    engine.docker("logout", secured.host)
    check_certificate(Nerdctl(engine, layout, secured, secured.hosts(tmp_path / "with", with_client=True)))


def test_ctr(secured: Secured, layout: Path, engine: DockerEngine, tmp_path: Path) -> None:
    check_users(Ctr(engine, layout, secured, secured.hosts(tmp_path / "hosts", with_client=False)), secured)
    check_certificate(Ctr(engine, layout, secured, secured.hosts(tmp_path / "with", with_client=True)))


def test_podman(secured: Secured, layout: Path, tmp_path: Path) -> None:
    for with_client in (False, True):
        folder = tmp_path / str(with_client)
        folder.mkdir()
        with Tool("podman", folder) as podman:
            certificates = secured.certificates(folder / "certs", with_client=with_client)
            client = Podman(podman, layout, secured, certificates)
            if with_client:
                check_certificate(client)
            else:
                check_users(client, secured)


def test_skopeo(secured: Secured, layout: Path, tmp_path: Path) -> None:
    without, with_client = (secured.certificates(tmp_path / str(each), with_client=each) for each in (False, True))
    check_users(Skopeo(tmp_path / "home", layout, secured, without), secured)
    check_certificate(Skopeo(tmp_path / "other", layout, secured, with_client))


def test_oras(secured: Secured, tmp_path: Path) -> None:
    check_users(Oras(tmp_path / "home", secured), secured)
    certificate, key = secured.builder
    check_certificate(Oras(tmp_path / "other", secured, "--cert-file", certificate, "--key-file", key))


def test_crane(secured: Secured, layout: Path, tmp_path: Path) -> None:
    check_users(Crane(tmp_path / "home", layout, secured), secured)


def test_regctl(secured: Secured, layout: Path, tmp_path: Path) -> None:
    check_users(Regctl(tmp_path / "home", layout, secured, with_client=False), secured)
    check_certificate(Regctl(tmp_path / "other", layout, secured, with_client=True))


def test_helm(secured: Secured, tmp_path: Path) -> None:
    client = Helm(tmp_path / "home", secured)
    client.login("helm", PASSWORD)
    for name in ("team/known:1", "public/known:1"):
        client.push(name)
    client.logout()
    check_users(client, secured)
    certificate, key = secured.builder
    check_certificate(Helm(tmp_path / "other", secured, "--cert-file", certificate, "--key-file", key))
