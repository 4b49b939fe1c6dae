"""nerdctl, containerd's client with Docker's commands, on both engines' containerd."""

from collections.abc import Callable
from pathlib import Path

from tests.daemon_process import DaemonProcess

from .conftest import Answer
from .engines import DockerEngine
from .images import layout_blobs
from .programs import require_program, run
from .recorder import Recorder


def imported(engine: DockerEngine, busybox: Path, name: str, directory: Path) -> None:
    """Have the index `multi` with both its images in containerd, under a name."""
    archive = directory / "multi.tar"
    command = ("copy", "--quiet", "--all", f"oci:{busybox}:multi", f"oci-archive:{archive}:{name}")
    run(require_program("skopeo"), *command, env=engine.env)
    engine.ctr("images", "import", "--all-platforms", "--no-unpack", archive)


def test_push_and_pull(engine: DockerEngine, wire: Recorder, busybox: Path, tmp_path: Path) -> None:
    name = f"{wire.host}/{engine.store}/nerdctl/busybox:1"
    imported(engine, busybox, name, tmp_path)
    engine.nerdctl("--insecure-registry", "push", "--quiet", "--all-platforms", name)
    engine.forget_images()
    assert engine.content == set()
    engine.nerdctl("--insecure-registry", "pull", "--quiet", "--all-platforms", name)
    assert engine.content == layout_blobs(busybox).keys()
    assert wire.exchanges("GET", "/blobs/sha256:")


def test_a_registry_that_hosts_toml_names(
    engine: DockerEngine, daemon: DaemonProcess, wire: Recorder, busybox: Path, tmp_path: Path
) -> None:
    """Containerd's file says where a name leads to, and that it is plain HTTP: so do Kubernetes' nodes have it."""
    hosts = tmp_path / "certs.d" / "images.example"
    hosts.mkdir(parents=True)
    (hosts / "hosts.toml").write_text(
        f'server = "{daemon.url}"\n[host."http://{wire.host}"]\n  capabilities = ["pull", "resolve", "push"]\n'
    )
    options = ("--hosts-dir", hosts.parent)
    name = f"images.example/{engine.store}/hosts:1"
    imported(engine, busybox, name, tmp_path)
    engine.nerdctl(*options, "push", "--quiet", "--all-platforms", name)
    assert wire.exchanges("PUT", "/hosts/manifests/1")
    engine.forget_images()
    wire.clear()
    engine.nerdctl(*options, "pull", "--quiet", "--all-platforms", name)
    assert wire.exchanges("GET", "/hosts/manifests/")
    assert engine.content == layout_blobs(busybox).keys()


def test_pull_by_cid(
    engine: DockerEngine,
    daemon: DaemonProcess,
    wire: Recorder,
    busybox: Path,
    ask: Callable[..., Answer],
    tmp_path: Path,
) -> None:
    repository = f"{engine.store}/nerdctl-cid"
    imported(engine, busybox, f"{wire.host}/{repository}:1", tmp_path)
    engine.nerdctl("--insecure-registry", "push", "--quiet", "--all-platforms", f"{wire.host}/{repository}:1")
    cid = daemon.command("cid", f"{repository}:1").stdout.strip()
    engine.forget_images()
    engine.nerdctl("--insecure-registry", "pull", "--quiet", "--all-platforms", f"{wire.host}/ipfs/{cid}")
    assert engine.content == layout_blobs(busybox).keys()
    assert ask(f"/v2/ipfs/{cid}/manifests/latest").headers["Docker-Content-Digest"] in engine.content
