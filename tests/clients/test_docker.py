"""Docker's engine, both image stores: what its users do all day."""

import json
from collections.abc import Callable
from pathlib import Path

from . import programs
from .conftest import Answer
from .engines import DockerEngine
from .images import RUNS_AND_SAYS
from .programs import require_program, run
from .recorder import Recorder

HELLO = ("cat", "/etc/hello")


def load(engine: DockerEngine, archive: Path, *names: str) -> None:
    """Load the busybox image into an engine under these names alone."""
    engine.docker("load", "--input", archive)
    for name in names:
        engine.docker("tag", "busybox:1", name)
    engine.docker("rmi", "busybox:1")


def pushed_digest(output: str) -> str:
    """The digest in docker push's last line: `TAG: digest: sha256:… size: N`."""
    (line,) = [line for line in output.splitlines() if "digest: sha256:" in line]
    return line.partition("digest: ")[2].split()[0]


def is_unknown(output: str) -> bool:
    """Whether a failed pull says that there is no such image; the two stores word it differently."""
    return "manifest unknown" in output or "not found" in output


def body_bytes(wire: Recorder) -> int:
    """Bytes of blobs that clients sent."""
    return sum(exchange.sent for exchange in wire.exchanges() if "/blobs/uploads/" in exchange.path)


def test_push_and_pull_by_tag(engine: DockerEngine, wire: Recorder, busybox_archive: Path) -> None:
    name = f"{wire.host}/{engine.store}/library/busybox:1.35"
    load(engine, busybox_archive, name)
    digest = pushed_digest(engine.docker("push", name))
    # This store sends a blob in one PUT, the classic one in a PATCH before an empty PUT.
    assert bool(wire.exchanges("PATCH")) is not engine.newer
    assert body_bytes(wire) > 1_000_000

    engine.forget_images()
    wire.clear()
    assert digest in engine.docker("pull", name)
    assert sum(exchange.received for exchange in wire.exchanges("GET", "/blobs/sha256:")) > 1_000_000
    assert engine.pulled_digest(name) == digest
    assert engine.run_image(name, *HELLO) == RUNS_AND_SAYS + "\n"


def test_pull_by_digest(engine: DockerEngine, wire: Recorder, busybox_archive: Path) -> None:
    name = f"{wire.host}/{engine.store}/team/project/busybox"
    load(engine, busybox_archive, f"{name}:1")
    digest = pushed_digest(engine.docker("push", f"{name}:1"))
    engine.forget_images()
    engine.docker("pull", f"{name}@{digest}")
    assert engine.run_image(f"{name}@{digest}", *HELLO) == RUNS_AND_SAYS + "\n"
    assert is_unknown(engine.docker("pull", f"{name}@sha256:{'0' * 64}", fails=True))


def test_all_tags(engine: DockerEngine, wire: Recorder, busybox_archive: Path) -> None:
    name = f"{wire.host}/{engine.store}/all-tags"
    load(engine, busybox_archive, f"{name}:one", f"{name}:two")
    engine.docker("push", "--all-tags", name)
    engine.forget_images()
    engine.docker("pull", "--all-tags", name)
    listed = engine.docker("image", "ls", "--format", "{{.Tag}}", name).split()
    assert sorted(listed) == ["one", "two"]


def test_second_push_sends_no_layer(engine: DockerEngine, wire: Recorder, busybox_archive: Path) -> None:
    name = f"{wire.host}/{engine.store}/again:1"
    load(engine, busybox_archive, name)
    first = pushed_digest(engine.docker("push", name))
    wire.clear()
    assert pushed_digest(engine.docker("push", name)) == first
    assert body_bytes(wire) == 0


def test_push_to_another_repository_mounts(engine: DockerEngine, wire: Recorder, busybox_archive: Path) -> None:
    first, second = f"{wire.host}/{engine.store}/mount/from:1", f"{wire.host}/{engine.store}/mount/into:1"
    load(engine, busybox_archive, first)
    digest = pushed_digest(engine.docker("push", first))
    engine.docker("tag", first, second)
    wire.clear()
    output = engine.docker("push", second)
    assert pushed_digest(output) == digest
    mounts = [exchange for exchange in wire.exchanges("POST", "/mount/into/") if "mount" in exchange.query]
    assert [exchange.status for exchange in mounts] == [201] * len(mounts)
    assert {exchange.query["from"] for exchange in mounts} == {f"{engine.store}/mount/from"}
    assert f"Mounted from {engine.store}/mount/from" in output
    assert body_bytes(wire) < 10_000  # the configuration at most, no layer

    engine.forget_images()
    engine.docker("pull", second)
    assert engine.run_image(second, *HELLO) == RUNS_AND_SAYS + "\n"


def test_manifest_list(engine: DockerEngine, wire: Recorder, busybox: Path, ask: Callable[..., Answer]) -> None:
    name = f"{wire.host}/{engine.store}/multi/busybox"
    for architecture in ("amd64", "arm64"):
        run(
            require_program("skopeo"),
            # Docker 20.10's `manifest create` knows its own format alone.
            *("copy", "--quiet", "--dest-tls-verify=false", "--format=v2s2"),
            *(f"oci:{busybox}:{architecture}", f"docker://{name}:{architecture}"),
            env=engine.env,
        )
    engine.docker("manifest", "create", "--insecure", f"{name}:1", f"{name}:amd64", f"{name}:arm64")
    digest = engine.docker("manifest", "push", "--insecure", f"{name}:1").split()[-1]

    stored = ask(f"/v2/{engine.store}/multi/busybox/manifests/1")
    assert stored.headers["Docker-Content-Digest"] == digest
    members = json.loads(stored.content)["manifests"]
    assert {member["platform"]["architecture"] for member in members} == {"amd64", "arm64"}

    engine.docker("pull", f"{name}:1")
    assert engine.run_image(f"{name}:1", *HELLO) == RUNS_AND_SAYS + "\n"
    engine.forget_images()
    engine.docker("pull", "--platform", "linux/arm64", f"{name}@{digest}")
    inspected = engine.docker("image", "inspect", "--format", "{{.Architecture}}", f"{name}@{digest}")
    assert inspected.strip() == "arm64"


def test_delete_and_push_again(engine: DockerEngine, wire: Recorder, busybox_archive: Path) -> None:
    name = f"{wire.host}/{engine.store}/deleted/busybox:1"
    load(engine, busybox_archive, name)
    engine.docker("push", name)
    run(require_program("skopeo"), "delete", "--tls-verify=false", f"docker://{name}", env=engine.env)
    assert [exchange.status for exchange in wire.exchanges("DELETE", "/manifests/")] == [202]

    engine.docker("tag", name, "busybox:kept")
    engine.docker("rmi", name)
    assert is_unknown(engine.docker("pull", name, fails=True))
    engine.docker("tag", "busybox:kept", name)
    engine.docker("push", name)
    engine.forget_images()
    engine.docker("pull", name)
    assert engine.run_image(name, *HELLO) == RUNS_AND_SAYS + "\n"


def test_build_from_a_pulled_image(
    engine: DockerEngine, wire: Recorder, busybox_archive: Path, tmp_path: Path, ask: Callable[..., Answer]
) -> None:
    base, built = f"{wire.host}/{engine.store}/base:1", f"{wire.host}/{engine.store}/built:1"
    load(engine, busybox_archive, base)
    engine.docker("push", base)
    engine.forget_images()
    (tmp_path / "Dockerfile").write_text(f"FROM {base}\nRUN cat /etc/hello > /etc/built && echo too >> /etc/built\n")
    if engine.newer:
        build_with_buildx(engine, built, tmp_path)
        image, provenance = json.loads(ask(f"/v2/{engine.store}/built/manifests/1").content)["manifests"]
        assert provenance["annotations"]["vnd.docker.reference.digest"] == image["digest"]
        layers = json.loads(ask(f"/v2/{engine.store}/built/manifests/{image['digest']}").content)["layers"]
        assert {layer["mediaType"] for layer in layers} == {"application/vnd.oci.image.layer.v1.tar+zstd"}
    else:
        engine.docker("build", "--network=none", "--tag", built, tmp_path)
        engine.docker("push", built)
    engine.forget_images()
    engine.docker("pull", built)
    assert engine.run_image(built, "cat", "/etc/built") == f"{RUNS_AND_SAYS}\ntoo\n"


def build_with_buildx(engine: DockerEngine, name: str, context: Path) -> None:
    """Build and push in one step: an index with provenance, layers in zstd."""
    plugins = programs.NEWER_ENGINE / "libexec" / "docker" / "cli-plugins"
    require_program("docker-buildx", str(plugins))
    settings = Path(engine.env["DOCKER_CONFIG"]) / "config.json"
    settings.write_text(json.dumps({"cliPluginsExtraDirs": [str(plugins)]}))
    output = f"type=image,name={name},push=true,compression=zstd,force-compression=true,oci-mediatypes=true"
    engine.docker("buildx", "build", "--network=none", "--provenance=mode=max", "--output", output, context)
