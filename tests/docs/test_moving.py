"""docs/moving.md: its commands as they stand there, with registries of this machine in the place of those far away."""

import os
from pathlib import Path

from ipfsreg.cli.errors import Exit
from ipfsreg.copying.tally import Tally
from tests.clients.images import make_image, random_layer
from tests.clients.programs import run
from tests.copying.collection import Collection, Http, docker_registry
from tests.daemon_process import DaemonProcess, program

from .documents import block, blocks, table

DOCUMENT = "docs/moving.md"


def some_images() -> Collection:
    """What the document's commands name."""
    made = Collection()
    for repository, tags in (("team/app", ("1.2", "v2")), ("team/tools-a", ("v1",)), ("library/busybox", ("latest",))):
        made.add_image(repository, make_image([random_layer(repository, 2000)], comment=repository), *tags)
    return made


def test_the_commands(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "PATH": f"{Path(program('ipfsreg')).parent}:{os.environ['PATH']}"}
    images = some_images()
    for name in ("ipfsreg", "laptop", "cluster", "hub", "kubo"):
        (tmp_path / f"{name}.ini").write_text(f"[local]\npath = {tmp_path / name}\n")
    far = tmp_path / "far"
    far.mkdir()
    with docker_registry(tmp_path / "docker") as docker, DaemonProcess(far) as daemon:
        docker.push(images)
        for name in ("laptop", "hub"):
            run(program("ipfsreg"), "copy", docker.host, f"{name}.ini", cwd=tmp_path, env=environment)
        for each in blocks("sh"):
            if each.document == DOCUMENT:
                text = each.text.replace("https://old.example", docker.host).replace("https://far.example", daemon.url)
                run("sh", "-e", "-c", text, cwd=tmp_path, env=environment)
        assert Http(daemon.port).ask("GET", "/v2/team/app/manifests/1.2")[0] == 200
        for name in ("ipfsreg", "kubo"):
            found = run(program("ipfsreg"), "copy", docker.host, f"{name}.ini", cwd=tmp_path, env=environment)
            assert "Copied 0 images of 4" in found


def test_the_document_that_is_shown_has_every_name() -> None:
    text = block(DOCUMENT, "What you see", "json")
    assert all(f'"{name}":' in text for name in Tally().document)


def test_every_status_is_told() -> None:
    assert [row[0] for row in table(DOCUMENT, "What you see")] == [str(int(each)) for each in Exit]
