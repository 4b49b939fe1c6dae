"""The client of the transfers, a process of its own (``python -m bench.transfer``): a job in, seconds out.

Layers go out with ``sendfile`` and come in through ``recv`` into one buffer: the client costs the machine as
little as it can, and the same for each registry. A push is what docker, skopeo and podman send: POST, one
PATCH with the bytes, PUT with the digest. Connections are made before the clock starts, which stops with the
last answer.
"""

import hashlib
import http.client
import json
import ssl
import subprocess
import sys
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier
from typing import Any, BinaryIO

from .errors import BenchError
from .payload import Layer

_TIMEOUT = 600.0
_BUFFER = 256 * 1024
_RUN_WITHIN = 3600.0


class TransferError(BenchError):
    """A registry answered otherwise than it should have."""


@dataclass(frozen=True)
class Transfer:
    """What a run took: wall-clock seconds, and the client's own CPU seconds."""

    seconds: float
    client_cpu: float


def upload(port: int, repository: str, layers: list[Layer], payload: Path, *, tls: bool = False) -> Transfer:
    """Push the layers, all at once, each on a connection of its own. With ``tls`` whatever certificate is taken."""
    return _run("upload", port, repository, layers, payload, tls)


def download(port: int, repository: str, layers: list[Layer], *, tls: bool = False) -> Transfer:
    """Pull the layers, all at once, counting their bytes."""
    return _run("download", port, repository, layers, None, tls)


def verify(port: int, repository: str, layer: Layer) -> None:
    """Pull a layer and compare its digest.

    :raises TransferError: where it is not what was pushed.
    """
    _run("verify", port, repository, [layer], None)


def _run(
    action: str, port: int, repository: str, layers: list[Layer], payload: Path | None, tls: bool = False
) -> Transfer:
    job = {
        "action": action,
        "port": port,
        "tls": tls,
        "repository": repository,
        "layers": [[layer.prefix.hex(), layer.size, layer.digest, layer.begin] for layer in layers],
        "payload": None if payload is None else str(payload),
    }
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).resolve().parent.parent,
        timeout=_RUN_WITHIN,
    )
    if done.returncode:
        raise TransferError(f"{action} failed: {done.stderr.strip()[-2000:]}")
    return Transfer(**json.loads(done.stdout))


def _expect(response: http.client.HTTPResponse, status: int, what: str) -> None:
    body = response.read()
    if response.status != status:
        raise TransferError(f"{what}: {response.status} instead of {status}: {body[:500]!r}")


def _location(response: http.client.HTTPResponse, base: str) -> str:
    joined = urllib.parse.urlsplit(urllib.parse.urljoin(base, response.headers["Location"]))
    return f"{joined.path}?{joined.query}" if joined.query else joined.path


def _upload(connection: http.client.HTTPConnection, repository: str, layer: Layer, payload: BinaryIO) -> None:
    start = f"/v2/{repository}/blobs/uploads/"
    connection.request("POST", start, headers={"Content-Length": "0"})
    response = connection.getresponse()
    _expect(response, 202, "POST")
    session = _location(response, start)

    connection.putrequest("PATCH", session)
    connection.putheader("Content-Type", "application/octet-stream")
    connection.putheader("Content-Length", str(layer.size))
    connection.endheaders(layer.prefix)
    connection.sock.sendfile(payload, layer.begin, layer.size - len(layer.prefix))
    response = connection.getresponse()
    _expect(response, 202, "PATCH")
    session = _location(response, session)

    separator = "&" if "?" in session else "?"
    digest = urllib.parse.quote(layer.digest, safe="")
    connection.request("PUT", f"{session}{separator}digest={digest}", headers={"Content-Length": "0"})
    _expect(connection.getresponse(), 201, "PUT")


def _download(connection: http.client.HTTPConnection, repository: str, layer: Layer, check: bool) -> None:
    connection.request("GET", f"/v2/{repository}/blobs/{layer.digest}")
    response = connection.getresponse()
    if response.status != 200:
        _expect(response, 200, "GET")
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_BUFFER))
    received = 0
    while count := response.readinto(buffer):
        received += count
        if check:
            digest.update(buffer[:count])
    if received != layer.size:
        raise TransferError(f"GET: {received} bytes instead of {layer.size}")
    if check and f"sha256:{digest.hexdigest()}" != layer.digest:
        raise TransferError(f"GET: what came is not {layer.digest}")


def _connection(port: int, tls: bool) -> http.client.HTTPConnection:
    if not tls:
        return http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=_TIMEOUT, context=context)


def _work(job: dict[str, Any]) -> Transfer:
    layers = [Layer(bytes.fromhex(prefix), *others) for prefix, *others in job["layers"]]
    all_connected = Barrier(len(layers) + 1)

    def one(layer: Layer) -> None:
        connection = _connection(job["port"], job["tls"])
        try:
            connection.connect()
        except OSError:
            all_connected.abort()
            raise
        all_connected.wait()
        try:
            if job["action"] == "upload":
                with open(job["payload"], "rb") as payload:
                    _upload(connection, job["repository"], layer, payload)
            else:
                _download(connection, job["repository"], layer, check=job["action"] == "verify")
        finally:
            connection.close()

    with ThreadPoolExecutor(len(layers)) as pool:
        running = [pool.submit(one, layer) for layer in layers]
        all_connected.wait()
        started, cpu = time.perf_counter(), time.process_time()
        for each in running:
            each.result()
        return Transfer(time.perf_counter() - started, time.process_time() - cpu)


def _main() -> None:
    done = _work(json.load(sys.stdin))
    json.dump({"seconds": done.seconds, "client_cpu": done.client_cpu}, sys.stdout)


if __name__ == "__main__":
    _main()
