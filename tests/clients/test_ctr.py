"""ctr, containerd's own client, of both engines' containerd: what Kubernetes nodes do underneath."""

from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Answer
from .engines import DockerEngine
from .images import RUNS_AND_SAYS, layout_blobs
from .programs import require_program, run
from .recorder import Recorder


@pytest.fixture
def imported(engine: DockerEngine, wire: Recorder, busybox: Path, tmp_path: Path) -> str:
    """The name in containerd of the index `multi`, with both its images, imported from an archive."""
    name = f"{wire.host}/{engine.store}/ctr/busybox:1"
    archive = tmp_path / "multi.tar"
    source = f"oci:{busybox}:multi"
    run(
        require_program("skopeo"),
        *("copy", "--quiet", "--all", source, f"oci-archive:{archive}:{name}"),
        env=engine.env,
    )
    engine.ctr("images", "import", "--all-platforms", "--no-unpack", archive)
    return name


def test_push_pull_and_run(engine: DockerEngine, wire: Recorder, imported: str, ask: Callable[..., Answer]) -> None:
    engine.ctr("images", "push", "--plain-http", imported)
    assert wire.exchanges("PATCH") == []  # each blob in one PUT
    assert len(wire.exchanges("PUT", "/manifests/")) == 3  # both images by digest, the index by tag
    digest = ask(f"/v2/{engine.store}/ctr/busybox/manifests/1").headers["Docker-Content-Digest"]

    repository = imported.removesuffix(":1")
    for number, reference in enumerate((imported, f"{repository}@{digest}")):
        engine.forget_images()
        wire.clear()
        engine.ctr("images", "pull", "--plain-http", reference)
        assert wire.exchanges("GET", "/blobs/sha256:")
        said = engine.ctr("run", "--rm", reference, f"container-{number}", "cat", "/etc/hello")
        assert said == RUNS_AND_SAYS + "\n"


def test_pull_of_every_platform(engine: DockerEngine, wire: Recorder, imported: str, busybox: Path) -> None:
    engine.ctr("images", "push", "--plain-http", imported)
    engine.forget_images()
    assert engine.ctr("content", "ls", "--quiet") == ""
    engine.ctr("images", "pull", "--plain-http", "--all-platforms", imported)
    # The layer is in both images: an index, two manifests, two configurations, one layer.
    assert len(engine.ctr("content", "ls", "--quiet").split()) == len(layout_blobs(busybox)) == 6


def test_push_to_another_repository_mounts(engine: DockerEngine, wire: Recorder, imported: str) -> None:
    other = imported.replace("/ctr/", "/ctr-mount/")
    engine.ctr("images", "push", "--plain-http", imported)
    engine.forget_images()
    # containerd remembers where content came from when it has pulled it.
    engine.ctr("images", "pull", "--plain-http", "--all-platforms", imported)
    engine.ctr("images", "tag", imported, other)
    wire.clear()
    engine.ctr("images", "push", "--plain-http", other)
    mounts = [e for e in wire.exchanges("POST", "/ctr-mount/") if "mount" in e.query]
    assert {(exchange.query["from"], exchange.status) for exchange in mounts} == {(f"{engine.store}/ctr/busybox", 201)}
    assert wire.exchanges("PUT", "/blobs/uploads/") == []
