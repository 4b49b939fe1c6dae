"""Images made without a network: one that runs, and random ones whose every byte the test knows."""

import gzip
import hashlib
import io
import json
import os
import random
import shutil
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .programs import run

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST_TYPE = "application/vnd.docker.distribution.manifest.list.v2+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
RUNS_AND_SAYS = "hello from busybox"


def sha256(content: bytes) -> str:
    """The digest of content as registries write it."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def descriptor(media_type: str, content: bytes, **more: object) -> dict[str, object]:
    """An OCI descriptor of content."""
    return {"mediaType": media_type, "digest": sha256(content), "size": len(content), **more}


@dataclass(frozen=True)
class Image:
    """One image: the manifest's bytes, and its configuration and layers by digest."""

    manifest: bytes
    blobs: Mapping[str, bytes] = field(repr=False)

    @property
    def digest(self) -> str:
        """The manifest's digest."""
        return sha256(self.manifest)


def random_layer(seed: int | str, size: int) -> tuple[bytes, str]:
    """A gzip layer with one file of `size` incompressible bytes, the same for a seed, and its diff id."""
    content = random.Random(seed).randbytes(size)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo(f"random-{seed}.bin")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return gzip.compress(archive.getvalue(), 1, mtime=0), sha256(archive.getvalue())


def make_image(layers: Sequence[tuple[bytes, str]], architecture: str = "amd64", comment: str = "") -> Image:
    """An image of layers from `random_layer`; another comment or architecture makes another digest."""
    config = json.dumps(
        {
            "architecture": architecture,
            "os": "linux",
            "created": "2024-01-01T00:00:00Z",
            "config": {"Cmd": ["/bin/sh"], "Labels": {"comment": comment}},
            "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in layers]},
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": descriptor(CONFIG_TYPE, config),
            "layers": [descriptor(LAYER_TYPE, layer) for layer, _ in layers],
        }
    ).encode()
    blobs = {sha256(config): config} | {sha256(layer): layer for layer, _ in layers}
    return Image(manifest, blobs)


def write_layout(directory: Path, images: Mapping[str, Image]) -> Path:
    """Write images as an OCI layout with the keys as tags; returns `directory`."""
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for image in images.values():
        for content in (image.manifest, *image.blobs.values()):
            (blobs / sha256(content).removeprefix("sha256:")).write_bytes(content)
    named = [
        descriptor(MANIFEST_TYPE, image.manifest, annotations={"org.opencontainers.image.ref.name": tag})
        for tag, image in images.items()
    ]
    _write_index(directory, named)
    return directory


def layout_blobs(directory: Path) -> dict[str, bytes]:
    """Every file of an OCI layout's blobs by its digest, manifests too, each checked against its name."""
    blobs = {f"sha256:{file.name}": file.read_bytes() for file in (directory / "blobs" / "sha256").iterdir()}
    for digest, content in blobs.items():
        assert sha256(content) == digest
    return blobs


def busybox_layout(directory: Path, home: Path) -> Path:
    """An OCI layout with a runnable image `amd64`, a namesake `arm64`, and an index `multi` of both.

    Both carry this machine's busybox: the second is only ever moved about, never run.
    """
    layout, bundle = directory / "busybox", directory / "bundle"
    env = {"HOME": str(home), "PATH": os.environ["PATH"]}

    def umoci(*words: str | Path) -> None:
        run("umoci", *words, env=env)

    umoci("init", "--layout", layout)
    umoci("new", "--image", f"{layout}:amd64")
    umoci("unpack", "--image", f"{layout}:amd64", bundle)
    _fill_root(bundle / "rootfs", shutil.which("busybox") or "/bin/busybox")
    umoci("repack", "--image", f"{layout}:amd64", bundle)
    common = ["--config.cmd", "/bin/sh", "--config.env", "PATH=/bin", "--os", "linux"]
    umoci("config", "--image", f"{layout}:amd64", *common, "--architecture", "amd64")
    umoci("config", "--image", f"{layout}:amd64", "--tag", "arm64", *common, "--architecture", "arm64")
    umoci("gc", "--layout", layout)
    _add_index(layout, "multi", ("amd64", "arm64"))
    shutil.rmtree(bundle)
    return layout


def _fill_root(root: Path, busybox: str) -> None:
    (root / "bin").mkdir(parents=True)
    shutil.copy(busybox, root / "bin" / "busybox")
    for applet in ("sh", "cat", "echo", "ls", "sha256sum"):
        (root / "bin" / applet).symlink_to("busybox")
    (root / "etc").mkdir()
    (root / "etc" / "passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
    (root / "etc" / "hello").write_text(RUNS_AND_SAYS + "\n")
    # A second file worth a layer's name: large enough that nothing puts it into one packet.
    (root / "etc" / "random").write_bytes(random.Random("busybox").randbytes(1_000_000))


def _add_index(layout: Path, tag: str, architectures: Iterable[str]) -> None:
    """Tag an index over images that the layout has under their architectures' names."""
    named: list[dict[str, Any]] = json.loads((layout / "index.json").read_text())["manifests"]
    by_tag = {entry["annotations"]["org.opencontainers.image.ref.name"]: entry for entry in named}
    members = [
        {
            "mediaType": MANIFEST_TYPE,
            "digest": by_tag[architecture]["digest"],
            "size": by_tag[architecture]["size"],
            "platform": {"os": "linux", "architecture": architecture},
        }
        for architecture in architectures
    ]
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": members}).encode()
    (layout / "blobs" / "sha256" / sha256(index).removeprefix("sha256:")).write_bytes(index)
    entry = descriptor(INDEX_TYPE, index, annotations={"org.opencontainers.image.ref.name": tag})
    _write_index(layout, [*named, entry])


def _write_index(layout: Path, named: Sequence[Mapping[str, object]]) -> None:
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": named}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
