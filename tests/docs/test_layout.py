"""docs/layout.md against what a daemon writes."""

import http.client
import json
import re
import time
from pathlib import Path

from ipfsreg.registry import layout
from ipfsreg.registry.record import Record
from tests.clients.images import Image, descriptor, make_image, random_layer
from tests.daemon_process import DaemonProcess

from .documents import CHECKOUT, table

IMAGE = "application/vnd.oci.image.manifest.v1+json"
NOT_LEFT_BEHIND = {
    "scrub-position",
    "drafts/<random>",
    "imports/<import>/blocks",
    "imports/<import>/index.sqlite",
}
"""What is only there while something is under way."""

_PARTS = {
    "<algorithm>": "(?:sha256|sha512)",
    "<xx>": "[0-9a-f]{2}",
    "<hex>": "(?:[0-9a-f]{128}|[0-9a-f]{64})",
    "<name>": "[a-z0-9./_-]*[a-z0-9]",
    "<tag>": "[A-Za-z0-9_][A-Za-z0-9._-]*",
    "<session>": "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
}


def documented() -> dict[str, re.Pattern[str]]:
    """The paths below the local backend's directory, as the document has them, and as patterns."""
    in_bucket = [f"bucket/{row[0].strip('`')}" for row in table("docs/layout.md", "The bucket")]
    rows = table("docs/layout.md", "The local directory")
    in_directory = [path.strip("`") for path, _, backends in rows if backends in {"all", "`local`"}]
    paths = {*in_bucket, *in_directory} - {"bucket/…"} - NOT_LEFT_BEHIND
    return {path: re.compile(_pattern(path)) for path in paths}


def _pattern(path: str) -> str:
    return "".join(_PARTS[part] if part in _PARTS else re.escape(part) for part in re.split(r"(<\w+>)", path))


def request(daemon: DaemonProcess, method: str, target: str, body: bytes, media_type: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=20)
    try:
        connection.request(method, f"/v2/{target}", body, {"Content-Type": media_type})
        answer = connection.getresponse()
        assert answer.status in {201, 202}, answer.read()
    finally:
        connection.close()


def push(daemon: DaemonProcess, repository: str, image: Image, reference: str) -> None:
    for digest, content in image.blobs.items():
        request(daemon, "POST", f"{repository}/blobs/uploads/?digest={digest}", content, "application/octet-stream")
    request(daemon, "PUT", f"{repository}/manifests/{reference}", image.manifest, IMAGE)


def files(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir()}


def test_every_path_is_documented_and_every_documented_path_is_there(tmp_path: Path) -> None:
    image = make_image([random_layer("layout", 1_100_000)])
    attached = json.loads(image.manifest) | {"subject": descriptor(IMAGE, image.manifest)}
    signature = Image(json.dumps(attached).encode(), image.blobs)
    with DaemonProcess(tmp_path, {"retention": {"pulls": "yes"}}) as daemon:
        push(daemon, "team/app", image, "1.0")
        push(daemon, "team/app", signature, signature.digest)
        request(daemon, "POST", "team/app/blobs/uploads/", b"", "application/octet-stream")
        while not (daemon.path / "bucket" / "dags").exists():  # the DAG of a layer is computed after its push
            time.sleep(0.05)
        stored = daemon.path / "bucket" / "blobs" / "sha256"
        damaged = next(digest for digest in image.blobs if len(image.blobs[digest]) > 1000).partition(":")[2]
        (stored / damaged[:2] / damaged).write_bytes(b"?" * 1000)
        assert damaged in daemon.command("verify").stdout
        found = files(daemon.path)
        patterns = documented()
        assert {path for path in found if not any(each.fullmatch(path) for each in patterns.values())} == set()
        assert {name for name, each in patterns.items() if not any(map(each.fullmatch, found))} == set()


def test_the_fields_of_a_record_are_documented() -> None:
    text = (CHECKOUT / "docs" / "layout.md").read_text(encoding="utf-8")
    rows = text.partition("A record has the fields\n\n")[2].partition("\n\n")[0].splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == list(Record.model_fields)


def test_its_version_is_that_of_the_code() -> None:
    text = (CHECKOUT / "docs" / "layout.md").read_text(encoding="utf-8")
    assert text.startswith(f"# Storage layout\n\nVersion {layout.VERSION}.")
