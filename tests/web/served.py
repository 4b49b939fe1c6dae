"""A whole daemon inside the test's process, and the pushes and pulls that many tests begin with."""

import configparser
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint

from .client import Answer, Connection, connect, pause, query

Serve = Callable[..., Any]
"""The fixture ``serve``."""

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
LOCAL = "tcp:0:interface=127.0.0.1"


def digest_of(content: bytes, algorithm: str = "sha256") -> str:
    """The digest of content."""
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def descriptor(content: bytes, media_type: str, **more: object) -> dict[str, Any]:
    """A descriptor of content."""
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content), **more}


def image(*, layers: Iterable[bytes] = (), **more: object) -> bytes:
    """An image manifest, not in the order or form that a JSON library would write it again. Its config is ``{}``."""
    document = {
        "layers": [descriptor(layer, LAYER_TYPE) for layer in layers],
        "config": descriptor(b"{}", CONFIG_TYPE),
        "mediaType": MANIFEST_TYPE,
        "schemaVersion": 2,
        **more,
    }
    return json.dumps(document, indent=3).encode() + b"\n\n"


class Served:
    """A daemon that listens on a port of 127.0.0.1."""

    def __init__(self, directory: Path, options: Mapping[str, Mapping[str, object]]) -> None:
        from twisted.internet import reactor

        # Where there is no daemon, as in a client's process, what it is made of is not loaded.
        from ipfsreg.app.assembly import make_daemon
        from ipfsreg.app.configuration import load_config

        self.directory = directory
        self.failures: list[str] = []
        self.port = 0
        """The TCP port of the first endpoint."""
        self._reactor: Any = reactor
        self._connections: list[Connection] = []
        parser = configparser.ConfigParser(interpolation=None)
        parser.read_dict({"registry": {"listen": LOCAL}, "local": {"path": str(directory / "store")}})
        parser.read_dict(options)
        file = directory / "ipfsreg.ini"
        with file.open("w") as written:
            parser.write(written)
        self.daemon = make_daemon(load_config(file, reactor), reactor, self.failures.append)

    @property
    def store(self) -> Path:
        """The daemon's directory."""
        return self.directory / "store"

    async def start(self) -> None:
        """Start, and return when it is ready."""
        self.daemon.startService()
        while not self.daemon.ready:
            assert not self.failures
            await pause(0.005)
        self.port = getattr(self.daemon.ports[0].getHost(), "port", 0)

    async def stop(self) -> None:
        """Close the test's connections and stop."""
        for connection in self._connections:
            connection.close()
        if self.daemon.running:
            await self.daemon.stopService()

    async def connect(self) -> Connection:
        """A new connection; it is closed at the end of the test."""
        connection = await connect(TCP4ClientEndpoint(self._reactor, "127.0.0.1", self.port))
        self._connections.append(connection)
        return connection

    async def ask(
        self,
        method: str,
        target: str,
        headers: Mapping[str, object] | None = None,
        content: bytes | Iterable[bytes] | None = None,
    ) -> Answer:
        """One request on a connection of its own."""
        connection = await self.connect()
        answer = await connection.ask(method, target, headers, content)
        connection.close()
        return answer

    async def push_blob(self, content: bytes, repository: str = "box", algorithm: str = "sha256") -> str:
        """Push a blob with a single POST; answers its digest."""
        digest = digest_of(content, algorithm)
        answer = await self.ask("POST", query(f"/v2/{repository}/blobs/uploads/", digest=digest), None, content)
        assert answer.status == 201
        return digest

    async def cid(self, repository: str, digest: str) -> str:
        """The CID that is told of a blob; that of a large one is known a moment after its push."""
        while "x-ipfs-cid" not in (answer := await self.ask("HEAD", f"/v2/{repository}/blobs/{digest}")).headers:
            assert answer.status == 200
            await pause(0.02)
        return answer["x-ipfs-cid"]

    async def push(
        self, content: bytes, reference: str, repository: str = "box", media_type: str = MANIFEST_TYPE
    ) -> Answer:
        """Push a manifest."""
        target = f"/v2/{repository}/manifests/{reference}"
        return await self.ask("PUT", target, {"Content-Type": media_type}, content)

    async def push_image(self, reference: str, repository: str = "box", layers: Iterable[bytes] = ()) -> bytes:
        """Push an image with its blobs; answers the manifest."""
        layers = list(layers)
        for blob in (b"{}", *layers):
            await self.push_blob(blob, repository)
        manifest = image(layers=layers)
        answer = await self.push(manifest, reference, repository)
        assert answer.status == 201
        return manifest

    async def begin_upload(self, repository: str = "box") -> str:
        """Begin an upload session; answers its location."""
        answer = await self.ask("POST", f"/v2/{repository}/blobs/uploads/", {"Content-Length": 0})
        assert answer.status == 202
        return answer["location"]
