"""The container image: built from Containerfile without a network, run, pushed to, restarted, and looked at."""

import http.client
import importlib.util
import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.docs.documents import CHECKOUT
from tests.web.served import MANIFEST_TYPE, digest_of, image

from . import programs
from .engines import DockerEngine
from .programs import run, thorough, unavailable

BASE = programs.TOOLS / "base-image.tar"
IMAGE = "ipfsreg"
HEALTHY_SECONDS = 60.0

pytestmark = thorough


def wheels_into(directory: Path) -> None:
    """All that the image installs, as wheels for the Python that runs this."""
    if importlib.util.find_spec("pip") is None:
        unavailable("this Python has no pip")
    constraints = CHECKOUT / "etc" / "container" / "constraints.txt"
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", directory)
    run(*pip, "--constraint", constraints, f"{CHECKOUT}[tracing]", "setuptools>=77", deadline=300, env=None)
    for own in directory.glob("ipfsreg-*.whl"):
        own.unlink()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerEngine]:
    """An engine with the image."""
    if not BASE.exists():
        unavailable("there is no base image (.ci/install-programs makes it)")
    directory = tmp_path_factory.mktemp("container")
    context = directory / "context"
    shutil.copytree(
        CHECKOUT, context, ignore=shutil.ignore_patterns(".*", "node_modules", "__pycache__", "tests", "bench", "docs")
    )
    shutil.copy(CHECKOUT / ".dockerignore", context)
    wheels_into(context / "wheels")
    with DockerEngine(directory, newer=False) as made:
        made.docker("import", BASE, "base:1")
        arguments = ("--build-arg", "BASE=base:1", "--build-arg", "PIP=--no-index", "--network=none")
        environment = {**made.env, "DOCKER_BUILDKIT": "0"}
        made.env.update(environment)
        made.docker("build", "--tag", IMAGE, *arguments, "--file", context / "Containerfile", context)
        yield made


def health(engine: DockerEngine, container: str) -> str:
    state: str = json.loads(engine.docker("inspect", container))[0]["State"]["Health"]["Status"]
    return state


def in_container(engine: DockerEngine, container: str, code: str) -> str:
    return engine.docker("exec", container, "python3", "-c", code)


def test_it_runs_without_rights_keeps_what_was_pushed_and_says_that_it_is_healthy(engine: DockerEngine) -> None:
    options = ("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges")
    container = engine.docker(
        *("run", "--detach", "--network=none", "--health-interval=1s", "--volume=data:/data"), *options, IMAGE
    ).strip()
    try:
        deadline = time.monotonic() + HEALTHY_SECONDS
        while health(engine, container) != "healthy":
            assert time.monotonic() < deadline, engine.docker("logs", container)
            time.sleep(0.2)
        assert in_container(engine, container, "import os; print(os.getuid())").strip() == "65532"
        pushed = in_container(engine, container, PUSH)
        assert "201" in pushed
        engine.docker("restart", container)
        deadline = time.monotonic() + HEALTHY_SECONDS
        while "hello" not in engine.docker("exec", container, "python3", "-c", CATALOG):
            assert time.monotonic() < deadline
        log = engine.docker("logs", container)
        assert "Traceback" not in log
        assert log.count("Ready: ") == 2
        assert "Stopped." in log
    finally:
        engine.docker("rm", "--force", "--volumes", container)


PUSH = """
import hashlib, http.client
digest = hashlib.sha256(b"hello").hexdigest()
c = http.client.HTTPConnection("127.0.0.1", 5000)
c.request("POST", f"/v2/hello/blobs/uploads/?digest=sha256:{digest}", b"hello")
print(c.getresponse().status)
"""

CATALOG = """
import http.client, time
for _ in range(100):
    try:
        c = http.client.HTTPConnection("127.0.0.1", 5000)
        c.request("HEAD", "/v2/hello/blobs/sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824")
        print("hello" if c.getresponse().status == 200 else "nothing")
        break
    except OSError:
        time.sleep(0.1)
"""


def test_it_is_small(engine: DockerEngine) -> None:
    """What it has beside its base: the base of the tests is not that of users."""
    size, base = (json.loads(engine.docker("image", "inspect", each))[0]["Size"] for each in (IMAGE, "base:1"))
    assert size - base < 120_000_000


def test_what_the_program_needs_is_pinned() -> None:
    printed = run(sys.executable, CHECKOUT / ".ci" / "pin-dependencies", env=None)
    pinned = (CHECKOUT / "etc" / "container" / "constraints.txt").read_text()
    assert [line.partition("==")[0] for line in pinned.splitlines()] == [
        line.partition("==")[0] for line in printed.splitlines()
    ]


def test_the_compose_file_means_what_it_should(tmp_path: Path) -> None:
    composed = yaml.safe_load(COMPOSE_FILE.read_text())
    configuration = COMPOSE_FILE.parent / composed["configs"]["ipfsreg"]["file"]
    (tmp_path / "ipfsreg.ini").write_text(configuration.read_text().replace("/data", str(tmp_path)))
    assert "OK" in run(Path(sys.executable).with_name("ipfsreg"), "check", "--config", tmp_path / "ipfsreg.ini")
    assert all(port.startswith("127.0.0.1:") for port in composed["services"]["registry"]["ports"])
    assert not any("5001" in port for port in composed["services"]["node"]["ports"])


COMPOSE_FILE = CHECKOUT / "etc" / "container" / "compose.yaml"

KUBO = """
FROM base:1
COPY ipfs /usr/local/bin/ipfs
RUN printf '%s\\n' '#!/bin/sh -e' '[ -e "$IPFS_PATH/config" ] || ipfs init --profile=test' \\
      'ipfs config Addresses.API /ip4/0.0.0.0/tcp/5001' 'ipfs config Addresses.Gateway /ip4/0.0.0.0/tcp/8080' \\
      'exec ipfs "$@"' > /usr/local/bin/start_ipfs && chmod +x /usr/local/bin/start_ipfs
ENV IPFS_PATH=/data/ipfs
VOLUME /data/ipfs
HEALTHCHECK --interval=30s --timeout=3s --start-period=5s CMD ipfs --api=/ip4/127.0.0.1/tcp/5001 id
ENTRYPOINT ["/usr/local/bin/start_ipfs"]
CMD ["daemon", "--migrate=true"]
"""
"""Kubo's image as far as the compose file uses it: the image itself cannot be had where no registry is asked."""

OTHER_PORTS = """
services:
  registry:
    ports: !override ["127.0.0.1::5000"]
  node:
    ports: !override []
"""
"""Those of the file may be in use on the machine of the tests."""


def test_the_compose_file_starts_a_registry_beside_its_node(engine: DockerEngine, tmp_path: Path) -> None:
    plugins = f"{programs.NEWER_ENGINE}/libexec/docker/cli-plugins"
    program = programs.require_program("docker-compose", plugins)
    shutil.copy(programs.require_program("ipfs", str(programs.TOOLS / "bin")), tmp_path)
    (tmp_path / "Dockerfile").write_text(KUBO)
    (tmp_path / "ports.yaml").write_text(OTHER_PORTS)
    name = yaml.safe_load(COMPOSE_FILE.read_text())["services"]["node"]["image"]
    engine.docker("build", "--tag", name, "--network=none", tmp_path)
    environment = {**engine.env, "DOCKER_HOST": engine.address}

    def compose(*words: str) -> str:
        files = ("--file", COMPOSE_FILE, "--file", tmp_path / "ports.yaml")
        return run(program, *files, *words, env=environment, deadline=150)

    def ask(method: str, target: str, content: bytes = b"", kind: str = "") -> tuple[int, bytes]:
        port = int(compose("port", "registry", "5000").rpartition(":")[2])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request(method, target, content, {"Content-Type": kind} if kind else {})
        answer = connection.getresponse()
        return answer.status, answer.read()

    try:
        compose("up", "--detach", "--no-build", "--pull=never", "--wait", "--wait-timeout=120")
        manifest = image(layers=[b"hello"])
        for blob in (b"{}", b"hello"):
            assert ask("POST", f"/v2/hello/blobs/uploads/?digest={digest_of(blob)}", blob)[0] == 201
        assert ask("PUT", "/v2/hello/manifests/1", manifest, MANIFEST_TYPE)[0] == 201
        compose("restart")
        compose("up", "--detach", "--no-build", "--pull=never", "--wait", "--wait-timeout=120")
        assert ask("GET", "/v2/hello/manifests/1") == (200, manifest)
        assert ask("GET", f"/v2/hello/blobs/{digest_of(b'hello')}") == (200, b"hello")
        cid = compose("exec", "registry", "ipfsreg", "cid", "hello:1", "--config", "/etc/ipfsreg/ipfsreg.ini").split()[
            0
        ]
        assert compose("exec", "node", "ipfs", "cat", cid).encode() == manifest
        log = compose("logs", "registry")
        assert "Traceback" not in log
        assert log.count("Ready: ") == 2
        assert "Stopped." in log
    finally:
        compose("down", "--volumes", "--timeout=30")
