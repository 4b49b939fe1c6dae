"""cosign with keys over TLS, at a registry with rules: what it signs is found again, by a tag and as a referrer."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.access.helpers import HASH, PASSWORD
from tests.certificate_authority import CertificateAuthority
from tests.daemon_process import DaemonProcess, free_port

from . import programs
from .images import make_image, random_layer, write_layout
from .programs import client_environment, needed, require_program, run

RULES = """
    allow signer  pull,push  team/*
    allow reader  pull       team/*
"""
PROGRAMS = str(programs.TOOLS / "bin")
installed = needed("cosign", PROGRAMS)
WAYS = pytest.mark.parametrize("way", [(), ("oci-1-1",)], ids=["tag", "referrer"])


@dataclass(frozen=True)
class Signed:
    """A daemon with the images team/app:1 and 2, its address over TLS, and the secret of `robot+ci`."""

    process: DaemonProcess
    host: str
    robot: str
    authority: Path


@pytest.fixture(scope="module", params=["token", "basic"])
def registry(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority
) -> Iterator[Signed]:
    """With either challenge: cosign asks for a token, or sends the password with each request."""
    directory = tmp_path_factory.mktemp("signed")
    trusted = directory / "trusted"
    trusted.mkdir()
    (trusted / "ca.crt").write_bytes(authority.pem)
    certificate, key = authority.issue(directory, "server", "localhost", "127.0.0.1")
    (directory / "htpasswd").write_text(f"signer:{HASH}\nreader:{HASH}\n")
    plain, secure = free_port(), free_port()
    options = {
        "registry": {"listen": f"tcp:{plain}:interface=127.0.0.1, tls:{secure}:interface=127.0.0.1"},
        "tls": {"certificate": str(certificate), "key": str(key)},
        "auth": {"htpasswd": str(directory / "htpasswd"), "challenge": request.param},
        "access": {"rules": RULES},
    }
    process = DaemonProcess(directory, options)
    process.port = plain
    with process:
        robot = process.command("token", "create", "ci", "--repositories", "team/*", "--actions", "pull,push")
        assert robot.returncode == 0, robot.stderr
        images = {tag: make_image([random_layer(f"signed {tag}", 1000)]) for tag in ("1", "2")}
        layout = write_layout(directory / "layout", images)
        login = ("--dest-creds", f"signer:{PASSWORD}", "--dest-cert-dir", str(trusted))
        for tag in images:
            target = f"docker://localhost:{secure}/team/app:{tag}"
            words = ("copy", *login, f"oci:{layout}:{tag}", target)
            run(require_program("skopeo"), *words, env=client_environment(directory))
        yield Signed(process, f"localhost:{secure}", robot.stdout.strip(), trusted / "ca.crt")


class Cosign:
    """Somebody with a pair of keys, who is logged in as `docker login` leaves it."""

    def __init__(self, home: Path, registry: Signed, user: str = "", password: str = PASSWORD) -> None:
        self._program = require_program("cosign", PROGRAMS)
        self._env = client_environment(home) | {"SSL_CERT_FILE": str(registry.authority)}
        self._repository = f"{registry.host}/team/app"
        self._home = home
        if user:
            known = {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}
            (home / ".docker" / "config.json").write_text(json.dumps({"auths": {registry.host: known}}))
        run(self._program, "generate-key-pair", env=self._env, cwd=home)

    def sign(self, tag: str, *way: str, fails: bool = False) -> str:
        """Sign an image; what was printed."""
        return self._run("sign", "cosign.key", f"{self._repository}:{tag}", *way, fails=fails)

    def verify(self, tag: str, *way: str, of: "Cosign | None" = None, fails: bool = False) -> str:
        """Verify that an image was signed, by oneself or by another one; what was printed."""
        key = (of or self)._home / "cosign.pub"
        return self._run("verify", key, f"{self._repository}:{tag}", *way, fails=fails)

    def _run(self, *words: str | Path, fails: bool) -> str:
        return run(self._program, *words, env=self._env, cwd=self._home, fails=fails)


@WAYS
def test_what_was_signed_is_verified(registry: Signed, tmp_path: Path, way: tuple[str, ...]) -> None:
    signer = Cosign(tmp_path / "signer", registry, "signer")
    robot = Cosign(tmp_path / "robot", registry, "robot+ci", registry.robot)
    reader = Cosign(tmp_path / "reader", registry, "reader")
    # Of several signatures by referrers cosign looks at one alone, so each signs an image of its own.
    for tag, each in (("1", signer), ("2", robot)):
        each.sign(tag, *way)
        assert "1 signatures are good" in reader.verify(tag, *way, of=each)
        assert "no matching signatures" in reader.verify(tag, *way, fails=True)


@WAYS
def test_who_may_not_push_does_not_sign(registry: Signed, tmp_path: Path, way: tuple[str, ...]) -> None:
    for name, user, password, said in (
        ("reader", "reader", PASSWORD, ("DENIED", "403 Forbidden")),
        ("wrong", "signer", "wrong", ("UNAUTHORIZED", "401 Unauthorized")),
        ("nobody", "", "", ("UNAUTHORIZED", "401 Unauthorized")),
    ):
        told = Cosign(tmp_path / name, registry, user, password).sign("1", *way, fails=True)
        assert any(words in told for words in said), told
