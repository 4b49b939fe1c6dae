"""Clients for the soak test: each does what it likes and knows what must be there afterwards."""

import collections
import http.client
import random
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .images import MANIFEST_TYPE, Image, layout_blobs, make_image, random_layer, sha256, write_layout
from .programs import run

# A worker that has this many images deletes before it pushes more: disk and the last check stay small.
MOST_IMAGES = 3
Layers = list[tuple[bytes, str]]


@dataclass
class Kept:
    """What must be in the registry, by repository and tag, and which digests must be gone."""

    images: dict[tuple[str, str], Image] = field(default_factory=dict)
    deleted: set[tuple[str, str]] = field(default_factory=set)


class Client:
    """The registry's protocol over plain HTTP; each method checks what it is answered."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def ask(
        self, method: str, target: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """One exchange: the answer's status, headers and content."""
        self._connection.request(method, target, body=body, headers=dict(headers or {}))
        response = self._connection.getresponse()
        return response.status, response.headers, response.read()

    def expect(
        self, status: int, method: str, target: str, body: bytes | None = None, media_type: str = ""
    ) -> tuple[http.client.HTTPMessage, bytes]:
        """One exchange that has to be answered with `status`: the answer's headers and content."""
        headers = {"Content-Type": media_type} if media_type else {}
        answered, answer_headers, content = self.ask(method, target, body, headers)
        assert answered == status, f"{method} {target}: {answered}, not {status}: {content[:500]!r}"
        return answer_headers, content

    def push(self, repository: str, tag: str, image: Image, source: str, way: int) -> None:
        """Push as clients do: ask for each blob, skip those that are there, mount or send the others."""
        for digest, content in image.blobs.items():
            self._push_blob(repository, digest, content, source, way)
        self.expect(201, "PUT", f"/v2/{repository}/manifests/{tag}", image.manifest, MANIFEST_TYPE)

    def _push_blob(self, repository: str, digest: str, content: bytes, source: str, way: int) -> None:
        status, _, _ = self.ask("HEAD", f"/v2/{repository}/blobs/{digest}")
        if status == 200:
            return
        assert status == 404
        start = f"/v2/{repository}/blobs/uploads/"
        if way == 0:
            self.expect(201, "POST", f"{start}?digest={digest}", content, "application/octet-stream")
            return
        query = f"?mount={digest}&from={source}" if source != repository else ""
        status, headers, problem = self.ask("POST", start + query)
        if status == 201 and query:
            return
        assert status == 202, f"POST {start}{query}: {status}: {problem[:500]!r}"
        session = headers["Location"]
        if way == 1:
            half = len(content) // 2
            for part in (content[:half], content[half:]):
                headers, _ = self.expect(202, "PATCH", session, part, "application/octet-stream")
                session = headers["Location"]
            content = b""
        joint = "&" if "?" in session else "?"
        target = f"{session}{joint}digest={digest}"
        self.expect(201, "PUT", target, content, "application/octet-stream")

    def check(self, repository: str, reference: str, image: Image) -> None:
        """Pull an image by tag or digest and compare every byte of it."""
        headers, manifest = self.expect(200, "GET", f"/v2/{repository}/manifests/{reference}")
        assert manifest == image.manifest, f"{repository}:{reference} is another manifest"
        assert headers["Docker-Content-Digest"] == image.digest
        for digest, content in image.blobs.items():
            _, stored = self.expect(200, "GET", f"/v2/{repository}/blobs/{digest}")
            assert stored == content, f"{digest} of {repository}:{reference} is {sha256(stored)}"

    def delete(self, repository: str, reference: str) -> None:
        """Delete a manifest or a tag."""
        self.expect(202, "DELETE", f"/v2/{repository}/manifests/{reference}")


class Worker:
    """One client that does things at random until the end, on tags and manifests of its own.

    Repositories and most layers are shared with other workers.
    """

    def __init__(self, number: int, port: int, repositories: list[str], shared: Layers) -> None:
        self.kept = Kept()
        self.done: collections.Counter[str] = collections.Counter()
        self._number = number
        self._port = port
        self._repositories = repositories
        self._shared = shared
        self._random = random.Random(number)
        self._made = 0

    def work(self, end: float, stop: threading.Event) -> None:
        """Act until the monotonic time `end`, or until `stop` is set because another client has failed."""
        while time.monotonic() < end and not stop.is_set():
            client = Client(self._port)
            try:
                for _ in range(4):
                    self._act(client)
            finally:
                client.close()

    def _act(self, client: Client) -> None:
        kept = self.kept.images
        actions = ["push"] if len(kept) < MOST_IMAGES else []
        if kept:
            actions += ["pull", "push again", "replace", "copy", "delete", "delete tag"]
        action = self._random.choice(actions)
        place = self._random.choice(list(kept)) if kept else ("", "")
        if action == "push":
            repository = self._random.choice(self._repositories)
            self._push(client, repository, f"worker{self._number}-{self._made}", self._new_image())
        elif action == "pull":
            reference = self._random.choice([place[1], kept[place].digest])
            client.check(place[0], reference, kept[place])
        elif action == "push again":
            self._push(client, *place, kept[place])
        elif action == "replace":
            self._push(client, *place, self._new_image())
        elif action == "copy":
            self._push(client, self._random.choice(self._repositories), place[1], kept[place], place[0])
        elif action == "delete":
            self._delete(client, place[0], kept[place].digest)
        else:
            client.delete(*place)
            del kept[place]
        self.done[action] += 1

    def _new_image(self) -> Image:
        self._made += 1
        name = f"{self._number}-{self._made}"
        layers = self._random.sample(self._shared, self._random.randint(1, 3))
        own = random_layer(name, self._random.randint(1, 400_000))
        return make_image([*layers, own], comment=name)

    def _push(self, client: Client, repository: str, tag: str, image: Image, source: str = "") -> None:
        source = source or self._random.choice(self._repositories)
        client.push(repository, tag, image, source, self._random.randrange(3))
        self.kept.images[repository, tag] = image
        self.kept.deleted.discard((repository, image.digest))

    def _delete(self, client: Client, repository: str, digest: str) -> None:
        """Delete a manifest, with which every tag of it goes."""
        client.delete(repository, digest)
        for place in [p for p, image in self.kept.images.items() if p[0] == repository and image.digest == digest]:
            del self.kept.images[place]
        self.kept.deleted.add((repository, digest))


class SkopeoWorker:
    """skopeo copying the same layers in and out of a repository of its own until the end."""

    def __init__(self, number: int, host: str, env: Mapping[str, str], directory: Path, shared: Layers) -> None:
        self.kept = Kept()
        self.done: collections.Counter[str] = collections.Counter()
        self._repository = f"soak/skopeo{number}"
        self._name = f"{host}/{self._repository}"
        self._env = env
        self._directory = directory / f"skopeo{number}"
        self._shared = shared
        self._random = random.Random(f"skopeo{number}")

    def work(self, end: float, stop: threading.Event) -> None:
        """Act until the monotonic time `end`, or until `stop` is set because another client has failed."""
        while time.monotonic() < end and not stop.is_set():
            self._round()

    def _round(self) -> None:
        number = self.done["copy in"]
        tag = f"tag{number}"
        own = random_layer(f"{self._name}-{number}", 200_000)
        image = make_image([*self._random.sample(self._shared, 2), own], comment=self._repository)
        layout = write_layout(self._directory / "in", {tag: image})
        self._skopeo(
            "copy",
            "--quiet",
            "--dest-tls-verify=false",
            f"oci:{layout}:{tag}",
            f"docker://{self._name}:{tag}",
        )
        self.done["copy in"] += 1
        back = self._directory / "back"
        self._skopeo("copy", "--quiet", "--src-tls-verify=false", f"docker://{self._name}:{tag}", f"oci:{back}:{tag}")
        assert layout_blobs(back) == {image.digest: image.manifest, **image.blobs}
        self.done["copy out"] += 1
        if number % 2:
            self._skopeo("delete", "--tls-verify=false", f"docker://{self._name}:{tag}")
            self.kept.deleted.add((self._repository, image.digest))
            self.done["delete"] += 1
        else:
            self.kept.images[self._repository, tag] = image
        shutil.rmtree(self._directory)

    def _skopeo(self, *arguments: str) -> None:
        run("skopeo", *arguments, env=self._env)
