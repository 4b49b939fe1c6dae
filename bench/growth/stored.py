"""A registry with any number of images, written directly in the layout: to push a million would take a day.

Every manifest has a config of its own; one layer is shared. Nothing is fsynced. What ended early goes on where it was.
"""

import hashlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from bench.images import MANIFEST

_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
SHARED = b"a layer that every image has"
"""A layer."""

SHAPES = ("spread", "one")
"""A repository for each manifest, or all manifests in one."""

SUBJECT_OF = 10
"""Of so many manifests one more refers to the `SUBJECT`."""

REFERRED = "referred"
"""The repository with the `SUBJECT`."""

_REMEMBERED = 1000  # manifests, after which it is noted how far it is


@dataclass(frozen=True)
class Tagged:
    """A manifest, and the tag by which it is had."""

    repository: str
    tag: str
    digest: str

    @property
    def path(self) -> str:
        """Where it is asked for by tag."""
        return f"/v2/{self.repository}/manifests/{self.tag}"


def manifest(name: str, subject: dict[str, object] | None = None) -> tuple[bytes, bytes]:
    """A manifest that differs from those of other names, and its config."""
    config = json.dumps({"architecture": "amd64", "os": "linux", "name": name}).encode()
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(config, _CONFIG),
        "layers": [descriptor(SHARED, _LAYER)],
        "annotations": {"org.opencontainers.image.title": name},
    }
    if subject is not None:
        document |= {"artifactType": "application/vnd.example.signature", "subject": subject}
    return json.dumps(document, indent=2).encode(), config


def descriptor(content: bytes, media_type: str) -> dict[str, object]:
    """The descriptor of a content."""
    return {"mediaType": media_type, "digest": f"sha256:{_hex(content)}", "size": len(content)}


def tagged(shape: str, number: int) -> tuple[str, str]:
    """The repository and the tag of the manifest with that number."""
    if shape == "spread":
        return f"team{number % 100}/app{number}", "latest"
    return "all", f"build-{number}"


def some_of(shape: str, number: int) -> list[Tagged]:
    """A thousand of so many manifests, or all of them."""
    found = []
    for each in range(0, number, max(1, number // 1000)):
        repository, tag = tagged(shape, each)
        content, _ = manifest(f"image {each}")
        found.append(Tagged(repository, tag, f"sha256:{_hex(content)}"))
    return found


class Store:
    """The directory of a daemon with the backend ``local``."""

    def __init__(self, path: Path) -> None:
        self._bucket = path / "bucket"
        self._position = path / "made"
        self._made: set[str] = set()

    def fill(self, shape: str, number: int) -> None:
        """Write so many manifests with their tags, and others that refer to one."""
        self._write("layout-version", b"1\n")
        self._write(".bucket", b"")
        (self._bucket.parent / "drafts").mkdir(exist_ok=True)
        self._write(f"blobs/{_spread(SHARED)}", SHARED)
        self.add(REFERRED, "the subject", None)
        signatures = number // SUBJECT_OF
        begin = int(self._position.read_bytes()) if self._position.exists() else 0
        for each in range(begin, number + signatures):
            if each % _REMEMBERED == 0:
                self._position.write_bytes(b"%d" % each)
            if each < number:
                repository, tag = tagged(shape, each)
                content = self.add(repository, f"image {each}", None)
                self._write(f"repositories/{repository}/_tags/{tag}", f"sha256:{_hex(content)}\n".encode())
            else:
                self.add(REFERRED, f"signature {each - number}", descriptor(SUBJECT, MANIFEST))
        self._position.write_bytes(b"%d" % (number + signatures))

    def add(self, repository: str, name: str, subject: dict[str, object] | None) -> bytes:
        """Write one manifest with what it needs, and answer it."""
        content, config = manifest(name, subject)
        top = f"repositories/{repository}"
        for blob in (config, SHARED):
            self._write(f"{top}/_blobs/{_spread(blob)}", b"%d\n" % len(blob))
        self._write(f"blobs/{_spread(config)}", config)
        self._write(f"blobs/{_spread(content)}", content)
        if subject is not None:
            of = str(subject["digest"]).removeprefix("sha256:")
            entry = descriptor(content, MANIFEST) | {"artifactType": "application/vnd.example.signature"}
            entry["annotations"] = {"org.opencontainers.image.title": name}
            path = f"{top}/_referrers/sha256/{of[:2]}/{of}/sha256-{_hex(content)}"
            self._write(path, json.dumps(entry, separators=(",", ":")).encode())
        record = {"mediaType": MANIFEST, "size": len(content), "released": time.time() - 1e6, "discarded": False}
        self._write(f"{top}/_manifests/{_spread(content)}", json.dumps(record).encode() + b"\n")
        return content

    def _write(self, path: str, content: bytes) -> None:
        parent = path.rpartition("/")[0]
        if parent not in self._made:
            (self._bucket / parent).mkdir(parents=True, exist_ok=True)
            self._made.add(parent)
        try:
            file = os.open(f"{self._bucket}/{path}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return
        os.write(file, content)
        os.close(file)


def _hex(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _spread(content: bytes) -> str:
    name = _hex(content)
    return f"sha256/{name[:2]}/{name}"


SUBJECT, _ = manifest("the subject")
"""The manifest to which others refer."""
