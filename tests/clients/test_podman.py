"""podman and buildah: they have skopeo's image library but build, run and make indexes themselves."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import Answer
from .images import INDEX_TYPE, RUNS_AND_SAYS
from .recorder import Recorder
from .tool import Tool

# Containers get no more of these than the machine that runs the tests may give.
LIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")
HELLO = ("cat", "/etc/hello")


@pytest.fixture
def podman(tmp_path: Path) -> Iterator[Tool]:
    """podman without any image."""
    with Tool("podman", tmp_path / "podman") as tool:
        yield tool


@pytest.fixture
def buildah(tmp_path: Path) -> Iterator[Tool]:
    """buildah without any image."""
    with Tool("buildah", tmp_path / "buildah") as tool:
        yield tool


def run_image(podman: Tool, name: str, *command: str) -> str:
    """Run a command in a container of an image that is there; what it printed."""
    isolation = ("--rm", "--pull=never", "--network=none", *LIMITS)
    return podman("--runtime=runc", "run", *isolation, name, *command)


def test_podman_pushes_pulls_and_runs(podman: Tool, wire: Recorder, busybox: Path, ask: Callable[..., Answer]) -> None:
    name = f"{wire.host}/podman/busybox"
    podman("pull", "--quiet", f"oci:{busybox}:amd64")
    (image,) = podman("images", "--quiet").split()
    podman("tag", image, f"{name}:1")
    podman("push", "--tls-verify=false", f"{name}:1")
    digest = ask("/v2/podman/busybox/manifests/1").headers["Docker-Content-Digest"]

    for reference in (f"{name}:1", f"{name}@{digest}"):
        podman("rmi", "--all", "--force")
        wire.clear()
        podman("pull", "--tls-verify=false", reference)
        assert wire.exchanges("GET", "/blobs/sha256:")
        assert run_image(podman, reference, *HELLO) == RUNS_AND_SAYS + "\n"


def test_podman_mounts_into_another_repository(podman: Tool, wire: Recorder, busybox: Path) -> None:
    podman("pull", "--quiet", f"oci:{busybox}:amd64")
    (image,) = podman("images", "--quiet").split()
    podman("push", "--tls-verify=false", image, f"{wire.host}/podman/from:1")
    wire.clear()
    podman("push", "--tls-verify=false", image, f"{wire.host}/podman/into:1")
    mounts = [e for e in wire.exchanges("POST", "/v2/podman/into/") if "mount" in e.query]
    assert {(exchange.query["from"], exchange.status) for exchange in mounts} == {("podman/from", 201)}
    assert sum(exchange.sent for exchange in wire.exchanges("PATCH")) < 10_000  # no layer


def test_buildah_builds_from_a_pulled_image(
    buildah: Tool, podman: Tool, wire: Recorder, busybox: Path, tmp_path: Path
) -> None:
    base, built = f"{wire.host}/buildah/base:1", f"{wire.host}/buildah/built:1"
    buildah("push", "--tls-verify=false", buildah("pull", "--quiet", f"oci:{busybox}:amd64").split()[-1], base)
    buildah("rmi", "--all", "--force")
    (tmp_path / "Containerfile").write_text(f"FROM {base}\nRUN cat /etc/hello > /etc/built\n")
    context = ("--file", tmp_path / "Containerfile", tmp_path)
    buildah("build", "--isolation=chroot", "--network=host", "--tls-verify=false", "--tag", built, *context)
    buildah("push", "--tls-verify=false", built)
    podman("pull", "--tls-verify=false", built)
    assert run_image(podman, built, "cat", "/etc/built") == RUNS_AND_SAYS + "\n"


def test_buildah_makes_an_index(
    buildah: Tool, podman: Tool, wire: Recorder, busybox: Path, ask: Callable[..., Answer]
) -> None:
    name = f"{wire.host}/buildah/multi:1"
    buildah("manifest", "create", "list")
    for architecture in ("amd64", "arm64"):
        buildah("manifest", "add", "list", f"oci:{busybox}:{architecture}")
    buildah("manifest", "push", "--all", "--tls-verify=false", "list", f"docker://{name}")
    stored = ask("/v2/buildah/multi/manifests/1")
    assert stored.headers["Content-Type"] == INDEX_TYPE
    members = json.loads(stored.content)["manifests"]
    assert {member["platform"]["architecture"] for member in members} == {"amd64", "arm64"}
    podman("pull", "--tls-verify=false", name)
    assert run_image(podman, name, *HELLO) == RUNS_AND_SAYS + "\n"
