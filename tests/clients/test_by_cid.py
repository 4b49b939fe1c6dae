"""``docker pull HOST/ipfs/<CID>``, both image stores, and what a push to such a name is told."""

import json
from collections.abc import Callable
from pathlib import Path

from tests.daemon_process import DaemonProcess

from .conftest import Answer
from .engines import DockerEngine
from .images import RUNS_AND_SAYS
from .programs import client_environment, require_program, run
from .recorder import Recorder


def push(wire: Recorder, busybox: Path, name: str, home: Path, *, fails: bool = False) -> str:
    skopeo = require_program("skopeo")
    target = f"docker://{wire.host}/{name}"
    command = ("copy", "--quiet", "--all", "--dest-tls-verify=false", f"oci:{busybox}:multi", target)
    return run(skopeo, *command, env=client_environment(home), fails=fails)


def test_an_image_is_pulled_by_its_cid(
    engine: DockerEngine,
    daemon: DaemonProcess,
    wire: Recorder,
    busybox: Path,
    ask: Callable[..., Answer],
    tmp_path: Path,
) -> None:
    push(wire, busybox, "by-cid:1", tmp_path)
    index = ask("/v2/by-cid/manifests/1")
    cids = [daemon.command(command, "by-cid:1").stdout.strip() for command in ("cid", "publish")]
    assert cids[0] == index.headers["X-Ipfs-Cid"]
    digest = ask(f"/v2/ipfs/{cids[1]}/manifests/latest").headers["Docker-Content-Digest"]
    for reference in (f"{cids[0]}:latest", f"{cids[1]}@{digest}", cids[1]):
        engine.forget_images()
        engine.docker("pull", f"{wire.host}/ipfs/{reference}")
    assert engine.run_image(f"{wire.host}/ipfs/{cids[1]}", "cat", "/etc/hello") == RUNS_AND_SAYS + "\n"
    assert "can only be pulled" in push(wire, busybox, f"ipfs/{cids[0]}", tmp_path, fails=True)
    assert json.loads(ask("/v2/_catalog").content)["repositories"] == ["by-cid"]
