"""A client in a process of its own, so that its work does not hold up the reactor that is watched.

``python -m tests.web.load PORT OPERATION…`` does one after the other, says the name of each that is done, and fails if
the registry does.
"""

import hashlib
import http.client
import json
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

from tests.full import FULL

from .served import CONFIG_TYPE, INDEX_TYPE, MANIFEST_TYPE, digest_of, image

MEBIBYTE = bytes(1024 * 1024)
LAYER_MEBIBYTES = 64 if FULL else 24


class Client:
    """The operations, by the names of the methods."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def prepare(self) -> None:
        self._ask("POST", f"/v2/box/blobs/uploads/?digest={digest_of(b'{}')}", 201, b"{}")
        self.push_long_manifest()
        self.push_index()
        self.upload()

    def push_long_manifest(self) -> None:
        manifest = image(annotations={"long": "x" * 4_190_000})
        self._ask("PUT", "/v2/box/manifests/long", 201, manifest, {"Content-Type": MANIFEST_TYPE})

    def pull_long_manifest(self) -> None:
        assert len(self._ask("GET", "/v2/box/manifests/long", 200)) > 4_190_000

    def push_index(self) -> None:
        manifests = [
            {"mediaType": MANIFEST_TYPE, "digest": f"sha256:{number:064x}", "size": 1, "artifactType": CONFIG_TYPE}
            for number in range(2000)
        ]
        index = json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests}).encode()
        self._ask("PUT", "/v2/box/manifests/index", 201, index, {"Content-Type": INDEX_TYPE})

    def upload(self) -> None:
        self._connection.request("POST", "/v2/box/blobs/uploads/", b"")
        answer = self._connection.getresponse()
        answer.read()
        location = answer.headers["Location"]
        length = {"Content-Length": str(LAYER_MEBIBYTES * len(MEBIBYTE))}
        self._ask("PATCH", location, 202, (MEBIBYTE for _ in range(LAYER_MEBIBYTES)), length)
        self._ask("PUT", f"{location}?digest={layer_digest()}", 201, b"")

    def download(self) -> None:
        assert len(self._ask("GET", f"/v2/box/blobs/{layer_digest()}", 200)) == LAYER_MEBIBYTES * len(MEBIBYTE)

    def upload_of_tiny_chunks(self) -> None:
        self._connection.request("POST", "/v2/box/blobs/uploads/", b"")
        answer = self._connection.getresponse()
        answer.read()
        sent = b"1\r\nx\r\n" * 100_000
        self._connection.putrequest("PATCH", answer.headers["Location"])
        self._connection.putheader("Transfer-Encoding", "chunked")
        self._connection.endheaders()
        self._connection.send(sent + b"0\r\n\r\n")
        answer = self._connection.getresponse()
        assert (answer.status, answer.headers["Range"], answer.read()) == (202, "0-99999", b"")

    def list_tags(self) -> None:
        assert len(json.loads(self._ask("GET", "/v2/many/tags/list", 200))["tags"]) == 10_000

    def list_repositories(self) -> None:
        assert len(json.loads(self._ask("GET", "/v2/_catalog?n=100000", 200))["repositories"]) > 1000

    def _ask(
        self,
        method: str,
        target: str,
        status: int,
        content: bytes | Iterator[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> bytes:
        self._connection.request(method, target, content, headers or {})
        answer = self._connection.getresponse()
        answered = answer.read()
        assert answer.status == status, (answer.status, answered[:1000])
        return answered


@cache
def layer_digest() -> str:
    """The digest of the layer."""
    digest = hashlib.sha256()
    for _ in range(LAYER_MEBIBYTES):
        digest.update(MEBIBYTE)
    return f"sha256:{digest.hexdigest()}"


def main() -> None:
    """Do what the command line says."""
    client = Client(int(sys.argv[1]))
    for name in sys.argv[2:]:
        operation: Any = getattr(client, name)
        operation()
        print(name, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
