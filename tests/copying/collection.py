"""Some repositories as people have them, put into a registry over HTTP, and looked for in another one."""

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.registries import DOCKER_REGISTRY, OLAREG, running
from tests.clients.images import INDEX_TYPE, MANIFEST_TYPE, Image, descriptor, make_image, random_layer, sha256
from tests.clients.programs import TOOLS, require_program

EMPTY = b"{}"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
SIGNATURE_TYPE = "application/vnd.example.signature"


@dataclass
class Collection:
    """What a registry holds: tags, and manifests that have none, in each repository; and all blobs of each."""

    tags: dict[tuple[str, str], tuple[bytes, str]] = field(default_factory=dict)
    untagged: dict[str, list[tuple[bytes, str]]] = field(default_factory=dict)
    blobs: dict[str, dict[str, bytes]] = field(default_factory=dict)
    referrers: dict[tuple[str, str], list[bytes]] = field(default_factory=dict)

    def add_image(self, repository: str, image: Image, *tags: str) -> None:
        """An image; without tags it is a part of something else."""
        self.blobs.setdefault(repository, {}).update(image.blobs)
        self.add_manifest(repository, image.manifest, MANIFEST_TYPE, *tags)

    def add_manifest(self, repository: str, content: bytes, media_type: str, *tags: str) -> None:
        """A manifest whose parts were added before."""
        for tag in tags:
            self.tags[repository, tag] = (content, media_type)
        if not tags:
            self.untagged.setdefault(repository, []).append((content, media_type))

    def add_referrer(self, repository: str, subject: bytes, subject_type: str, note: str) -> bytes:
        """Something that refers to a manifest; answers it."""
        self.blobs.setdefault(repository, {})[sha256(EMPTY)] = EMPTY
        content = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "artifactType": SIGNATURE_TYPE,
                "config": descriptor(EMPTY_TYPE, EMPTY),
                "layers": [descriptor(EMPTY_TYPE, EMPTY)],
                "subject": descriptor(subject_type, subject),
                "annotations": {"note": note},
            }
        ).encode()
        self.add_manifest(repository, content, MANIFEST_TYPE)
        self.referrers.setdefault((repository, sha256(subject)), []).append(content)
        return content


def make_collection(seed: str = "") -> Collection:
    """Two repositories with a layer in common, an index, and referrers of referrers."""
    made = Collection()
    base, own = random_layer(f"base{seed}", 300_000), random_layer(f"own{seed}", 50_000)
    app, tool = make_image([base, own], comment=seed), make_image([base], comment=f"tool{seed}")
    arm = make_image([random_layer(f"arm{seed}", 10_000)], "arm64", comment=seed)
    index = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": INDEX_TYPE,
            "manifests": [descriptor(MANIFEST_TYPE, app.manifest), descriptor(MANIFEST_TYPE, arm.manifest)],
        }
    ).encode()
    made.add_image("team/app", app, "1", "1.0")
    made.add_image("team/app", arm)
    made.add_manifest("team/app", index, INDEX_TYPE, "latest")
    made.add_image("team/tools", tool, "v1")
    made.add_image("zoo", make_image([], comment=f"empty{seed}"), "none")
    signature = made.add_referrer("team/app", index, INDEX_TYPE, "signature of the index")
    made.add_referrer("team/app", signature, MANIFEST_TYPE, "signature of the signature")
    made.add_referrer("team/app", arm.manifest, MANIFEST_TYPE, "SBOM of a part")
    made.add_referrer("team/app", arm.manifest, MANIFEST_TYPE, "another one")
    return made


class Http:
    """A registry on a port of this machine."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.host = f"127.0.0.1:{port}"
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def ask(self, method: str, target: str, content: bytes = b"", media_type: str = "") -> tuple[int, bytes, str]:
        """Status, content, and where the answer leads."""
        headers = {"Content-Type": media_type} if media_type else {}
        if method == "GET":
            headers["Accept"] = f"{MANIFEST_TYPE}, {INDEX_TYPE}"
        self._connection.request(method, target, content, headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read(), answer.headers.get("Location", "")

    def push(self, collection: Collection) -> None:
        """Put a collection into it. Where the API is missing, a tag lists the referrers."""
        for repository, blobs in collection.blobs.items():
            for digest, content in blobs.items():
                self.push_blob(repository, digest, content)
        for repository, manifests in collection.untagged.items():
            for content, media_type in manifests:
                self.push_manifest(repository, sha256(content), content, media_type)
        for (repository, tag), (content, media_type) in collection.tags.items():
            self.push_manifest(repository, tag, content, media_type)
        for (repository, subject), contents in collection.referrers.items():
            if self.ask("GET", f"/v2/{repository}/referrers/{subject}")[0] == 404:
                listed = [descriptor(MANIFEST_TYPE, each, artifactType=SIGNATURE_TYPE) for each in contents]
                index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": listed}
                tag = subject.replace(":", "-")
                self.push_manifest(repository, tag, json.dumps(index).encode(), INDEX_TYPE)

    def push_blob(self, repository: str, digest: str, content: bytes) -> None:
        """Put a blob into it."""
        _, _, location = self.ask("POST", f"/v2/{repository}/blobs/uploads/")
        mark = "&" if "?" in location else "?"
        status, said, _ = self.ask("PUT", f"{location}{mark}digest={digest}", content, "application/octet-stream")
        assert status == 201, said

    def push_manifest(self, repository: str, reference: str, content: bytes, media_type: str) -> None:
        """Put a manifest into it."""
        status, said, _ = self.ask("PUT", f"/v2/{repository}/manifests/{reference}", content, media_type)
        assert status == 201, said

    def check(self, collection: Collection) -> None:
        """All of a collection is there, byte by byte, and its referrers are listed."""
        for (repository, tag), (content, _) in collection.tags.items():
            assert self.ask("GET", f"/v2/{repository}/manifests/{tag}")[:2] == (200, content)
        for repository, manifests in collection.untagged.items():
            for content, _ in manifests:
                assert self.ask("GET", f"/v2/{repository}/manifests/{sha256(content)}")[:2] == (200, content)
        for repository, blobs in collection.blobs.items():
            for digest, content in blobs.items():
                assert self.ask("GET", f"/v2/{repository}/blobs/{digest}")[:2] == (200, content)
        for (repository, subject), contents in collection.referrers.items():
            assert sorted(self.referrers(repository, subject)) == sorted(map(sha256, contents))

    def referrers(self, repository: str, subject: str) -> list[str]:
        """The digests of the referrers of a manifest."""
        status, content, _ = self.ask("GET", f"/v2/{repository}/referrers/{subject}")
        if status == 404:
            tag = subject.replace(":", "-")
            status, content, _ = self.ask("GET", f"/v2/{repository}/manifests/{tag}")
        assert status == 200
        return [each["digest"] for each in json.loads(content)["manifests"]]


@contextmanager
def docker_registry(directory: Path) -> Iterator[Http]:
    """Docker's registry, which has no API for referrers; without it the test ends."""
    require_program("docker-registry")
    with running(DOCKER_REGISTRY, directory) as started:
        yield Http(started.port)


@contextmanager
def olareg(directory: Path) -> Iterator[Http]:
    """olareg; without it the test ends."""
    require_program("olareg", path=str(TOOLS / "bin"))
    with running(OLAREG, directory) as started:
        yield Http(started.port)
