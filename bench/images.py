"""Small images, pushed through HTTP to have something to ask for."""

import hashlib
import http.client
import json
import threading
import urllib.parse
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from .errors import BenchError
from .scale import CONNECTIONS

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_TIMEOUT = 120.0


class PushError(BenchError):
    """A registry refused a part of an image."""


@dataclass(frozen=True)
class Image:
    """A manifest and the blobs that it names."""

    manifest: bytes
    blobs: tuple[bytes, ...]

    @property
    def digest(self) -> str:
        """The manifest's digest."""
        return digest_of(self.manifest)


def digest_of(content: bytes) -> str:
    """The sha256 digest in the form that registries use."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def image(name: str, layers: int = 8) -> Image:
    """An image of a usual shape, about 1.5 KiB of manifest, that differs from those of other names."""
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Labels": {"name": name}}}).encode()
    blobs = [f"{name}, layer {number}".encode() for number in range(layers)]
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": _CONFIG, "digest": digest_of(config), "size": len(config)},
        "layers": [{"mediaType": _LAYER, "digest": digest_of(blob), "size": len(blob)} for blob in blobs],
    }
    return Image(json.dumps(document, indent=2).encode(), (config, *blobs))


@dataclass(frozen=True)
class Tagged:
    """An image and where in a registry it is pushed."""

    repository: str
    tag: str
    image: Image

    @property
    def path(self) -> str:
        """The target of a request for its manifest by tag."""
        return f"/v2/{self.repository}/manifests/{self.tag}"

    @property
    def path_by_digest(self) -> str:
        """The target of a request for its manifest by digest."""
        return f"/v2/{self.repository}/manifests/{self.image.digest}"


def image_set(count: int) -> list[Tagged]:
    """So many images, spread over eight repositories."""
    return [Tagged(f"bench/images/{number % 8}", f"t{number}", image(f"image {number}")) for number in range(count)]


class Client:
    """A registry's client on one keep-alive connection; for one thread."""

    def __init__(self, port: int, authorization: str | None = None) -> None:
        """``authorization`` is the value of that header, for each request."""
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT)
        self._own = {} if authorization is None else {"Authorization": authorization}

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def ask(
        self, method: str, target: str, body: bytes = b"", **headers: str
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """One request; underscores in header names stand for hyphens. Returns status, headers and body."""
        sent = self._own | {name.replace("_", "-"): value for name, value in headers.items()}
        if body or method in ("POST", "PUT", "PATCH"):
            sent["Content-Length"] = str(len(body))
        self._connection.request(method, target, body or None, sent)
        response = self._connection.getresponse()
        return response.status, response.headers, response.read()

    def _created(self, method: str, target: str, body: bytes = b"", **headers: str) -> None:
        status, _, answer = self.ask(method, target, body, **headers)
        if status != 201:
            raise PushError(f"{method} {target}: {status}: {answer[:500]!r}")

    def push_blob(self, repository: str, blob: bytes) -> None:
        """Push one blob by POST and PUT.

        :raises PushError: where the registry refuses it.
        """
        start = f"/v2/{repository}/blobs/uploads/"
        status, headers, answer = self.ask("POST", start)
        if status != 202:
            raise PushError(f"POST {start}: {status}: {answer[:500]!r}")
        parts = urllib.parse.urlsplit(urllib.parse.urljoin(start, headers["Location"]))
        query = f"{parts.query}&" if parts.query else ""
        target = f"{parts.path}?{query}digest={urllib.parse.quote(digest_of(blob), safe='')}"
        self._created("PUT", target, blob, Content_Type="application/octet-stream")

    def mount(self, repository: str, digest: str, source: str) -> None:
        """Have a blob of another repository in this one.

        :raises PushError: where the registry does not mount it.
        """
        query = urllib.parse.urlencode({"mount": digest, "from": source})
        self._created("POST", f"/v2/{repository}/blobs/uploads/?{query}")

    def push_manifest(self, repository: str, tag: str, manifest: bytes) -> None:
        """Push a manifest by tag.

        :raises PushError: where the registry refuses it.
        """
        self._created("PUT", f"/v2/{repository}/manifests/{tag}", manifest, Content_Type=MANIFEST)

    def push(self, repository: str, tag: str, pushed: Image) -> None:
        """Push an image whole."""
        for blob in pushed.blobs:
            self.push_blob(repository, blob)
        self.push_manifest(repository, tag, pushed.manifest)


def in_parallel(
    port: int, work: Callable[[Client, int], None], numbers: Iterable[int], authorization: str | None = None
) -> None:
    """Do ``work(client, number)`` for each number, on as many connections as the load uses.

    The first error is raised once the work under way has ended.
    """
    mine = threading.local()
    clients = []

    def one(number: int) -> None:
        if not hasattr(mine, "client"):
            mine.client = Client(port, authorization)
            clients.append(mine.client)
        work(mine.client, number)

    try:
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            for _ in pool.map(one, numbers):
                pass
    finally:
        for client in clients:
            client.close()


def push_all(port: int, images: Sequence[Tagged], authorization: str | None = None) -> None:
    """Push these images, several at once."""

    def push(client: Client, number: int) -> None:
        each = images[number]
        client.push(each.repository, each.tag, each.image)

    in_parallel(port, push, range(len(images)), authorization)
