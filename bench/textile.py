"""``python -m bench.textile``: how long a push of an image to a Textile server takes, beside the original program.

The server is a real buckd on this machine, behind `bench.delay`. One side is this registry's daemon, pushed to as
docker does it: the layers over several connections at once, then config and manifest. The other is the original
program's way, `bench.textile_original`. Both push layers of the same sizes, taking turns, each into a bucket of its
own, encrypted or not.
"""

import contextlib
import hashlib
import http.client
import itertools
import json
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

import click
import pytest
from tabulate import tabulate

from tests.bucket.textile.real.servers import running_server

from .errors import BenchError
from .images import MANIFEST
from .payload import Layer, Payload
from .registries import CHECKOUT, Registry, Running, running
from .transfer import Transfer

_STOP_WITHIN = 20.0
_RUN_WITHIN = 600.0
_TIMEOUT = 300.0
_REPOSITORY = "/v2/bench/image"

_CONFIG = """\
[registry]
listen = tcp:{port}:interface=127.0.0.1
backend = textile

[textile]
host = {url}
thread = {thread}
encrypted = {encrypted}
path = {directory}/data
"""


@dataclass(frozen=True)
class Server:
    """Where the buckd is reached, and what kind of bucket is made there in which thread."""

    url: str
    thread: str
    encrypted: bool


@dataclass(frozen=True)
class Image:
    """Layers, and a config that is a small layer of its own."""

    layers: list[Layer]
    config: Layer

    def manifest(self) -> bytes:
        """The manifest that names them."""

        def descriptor(layer: Layer, kind: str) -> dict[str, object]:
            return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": layer.digest, "size": layer.size}

        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(self.config, "config.v1+json"),
            "layers": [descriptor(layer, "layer.v1.tar+gzip") for layer in self.layers],
        }
        return json.dumps(document).encode()


@contextlib.contextmanager
def buckd(directory: Path) -> Iterator[int]:
    """A buckd with its database and node while the block runs; answers its port.

    :raises BenchError: where they are not installed.
    """
    directory.mkdir()
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(running_server(directory, "buckd"))
        except (pytest.skip.Exception, pytest.fail.Exception) as error:
            raise BenchError(str(error)) from None
        yield server.port


@contextlib.contextmanager
def delayed(port: int, round_trip: float) -> Iterator[int]:
    """A proxy before a port, with a round trip in seconds, while the block runs; answers the port to connect to."""
    command = [sys.executable, "-m", "bench.delay", str(port), str(round_trip)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise BenchError("the proxy did not start")
            yield int(line)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()


def daemon_for(server: Server, checkout: Path) -> Registry:
    """The registry of a checkout with its bucket on the server."""

    def prepare(port: int, directory: Path) -> list[str]:
        config = directory / "ipfsreg.ini"
        config.write_text(_CONFIG.format(port=port, directory=directory, **asdict(server)), encoding="utf-8")
        twistd = Path(sys.executable).with_name("twistd")
        return [str(twistd), "-n", "--pidfile=", "ipfsreg", "--config", str(config)]

    return Registry("ipfsreg", prepare, lambda: "this checkout", checkout)


def push_ours(daemon: Running, image: Image, payload: Payload, at_once: int) -> float:
    """Push an image as docker does it; the seconds until the manifest's 201.

    :raises BenchError: for another answer.
    """
    connections = [http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=_TIMEOUT) for _ in range(at_once)]
    free = list(connections)
    content = payload.path.read_bytes()

    def push(layer: Layer) -> None:
        connection = free.pop()
        _push_blob(connection, layer, layer.prefix + content[layer.begin :][: layer.size - len(layer.prefix)])
        free.append(connection)

    try:
        for connection in connections:
            connection.connect()
        with ThreadPoolExecutor(at_once) as pool:
            started = time.perf_counter()
            list(pool.map(push, image.layers))
            push(image.config)
            headers = {"Content-Type": MANIFEST}
            tag = secrets.token_hex(4)
            _request(free[-1], 201, "PUT", f"{_REPOSITORY}/manifests/{tag}", image.manifest(), headers)
            return time.perf_counter() - started
    finally:
        for connection in connections:
            connection.close()


def _push_blob(connection: http.client.HTTPConnection, layer: Layer, content: bytes) -> None:
    octets = {"Content-Type": "application/octet-stream"}
    session = _request(connection, 202, "POST", f"{_REPOSITORY}/blobs/uploads/", b"", {})
    session = _request(connection, 202, "PATCH", session, content, octets)
    separator = "&" if "?" in session else "?"
    _request(connection, 201, "PUT", f"{session}{separator}digest={layer.digest}", b"", {})


def _request(
    connection: http.client.HTTPConnection, status: int, method: str, path: str, body: bytes, headers: dict[str, str]
) -> str:
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    text = response.read()
    if response.status != status:
        raise BenchError(f"{method}: {response.status} instead of {status}: {text[:500]!r}")
    location = urllib.parse.urlsplit(response.headers["Location"])
    return f"{location.path}?{location.query}" if location.query else location.path


def push_originally(server: Server, image: Image, payload: Payload) -> float:
    """Push an image as the original program does it; the seconds from the first file's first call to the last answer.

    :raises BenchError: where it fails.
    """
    blobs = [
        [f"blobs/{layer.digest}", layer.prefix.hex(), layer.begin, layer.begin + layer.size - len(layer.prefix)]
        for layer in [*image.layers, image.config]
    ]
    manifest = image.manifest()
    blobs.append([f"manifests/image/{hashlib.sha256(manifest).hexdigest()[:8]}", manifest.hex(), 0, 0])
    job = asdict(server) | {"payload": str(payload.path), "files": blobs}
    done = subprocess.run(
        [sys.executable, "-m", "bench.textile_original"],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=False,
        cwd=CHECKOUT,
        timeout=_RUN_WITHIN,
    )
    if done.returncode:
        raise BenchError(f"the original way failed: {done.stderr.strip()[-2000:]}")
    return Transfer(**json.loads(done.stdout)).seconds


@dataclass(frozen=True)
class Case:
    """What is pushed over which network: a round trip in seconds, and layers of some bytes."""

    round_trip: float
    encrypted: bool
    size: int
    layers: int
    at_once: int

    def __str__(self) -> str:
        kind = "encrypted" if self.encrypted else "plain"
        return f"{self.round_trip * 1000:g} ms, {kind}, {self.layers} x {self.size // 1024} KiB"


def measure(
    case: Case, port: int, rounds: int, payload: Payload, parent: Path, checkout: Path
) -> tuple[list[float], list[float]]:
    """The seconds of each round: ours, and the original program's. One uncounted push of each comes first."""
    ours: list[float] = []
    originals: list[float] = []
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=parent)))
        url = f"http://127.0.0.1:{stack.enter_context(delayed(port, case.round_trip))}"
        thread = f"b{secrets.token_hex(6)}"
        server = Server(url, f"{thread}a", case.encrypted)
        daemon = stack.enter_context(running(daemon_for(server, checkout), directory))
        for number in range(rounds + 1):
            samples = []
            for _ in range(2):
                samples.append(Image([payload.layer(case.size) for _ in range(case.layers)], payload.layer(2000)))
            original = push_originally(Server(url, f"{thread}b", case.encrypted), samples[0], payload)
            our = push_ours(daemon, samples[1], payload, case.at_once)
            if number:
                originals.append(original)
                ours.append(our)
    return ours, originals


def _cell(samples: list[float]) -> str:
    return f"{statistics.median(samples):.2f} ({min(samples):.2f} to {max(samples):.2f})"


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)  # an exception, so that everything that was started is stopped on the way out


@click.command()
@click.option("--latency", "latencies", type=float, multiple=True, default=[0.05, 0.0], help="Seconds of a round trip.")
@click.option("--layer-kib", "sizes", type=int, multiple=True, default=[64, 1024], help="Size of each layer.")
@click.option("--layers", default=10, show_default=True)
@click.option("--at-once", default=5, show_default=True, help="How many layers the client pushes at once.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--encrypted/--plain", "kinds", default=None, help="Only one of the two.")
@click.option("--checkout", type=click.Path(path_type=Path, exists=True), default=CHECKOUT, help="Whose daemon runs.")
@click.option("--dir", "parent", type=click.Path(path_type=Path, file_okay=False, exists=True), help="For all data.")
def main(
    latencies: tuple[float, ...],
    sizes: tuple[int, ...],
    layers: int,
    at_once: int,
    rounds: int,
    kinds: bool | None,
    checkout: Path,
    parent: Path | None,
) -> None:
    """Push images to a Textile server, in this registry's way and in the original program's, and print a table."""
    signal.signal(signal.SIGTERM, _end)
    encrypted = (True, False) if kinds is None else (kinds,)
    cases = [
        Case(*case, layers, at_once) for case in itertools.product(latencies, encrypted, [n * 1024 for n in sizes])
    ]
    rows = []
    with tempfile.TemporaryDirectory(prefix="ipfsreg-bench-", dir=parent, ignore_cleanup_errors=True) as directory:
        payload = Payload(Path(directory) / "payload", max(sizes) * 1024 + 4096)
        try:
            with buckd(Path(directory) / "buckd") as port:
                for case in cases:
                    click.echo(str(case), err=True)
                    ours, originals = measure(case, port, rounds, payload, Path(directory), checkout)
                    ratio = statistics.median(ours) / statistics.median(originals)
                    rows.append([*str(case).split(", "), _cell(originals), _cell(ours), f"{ratio:.2f}"])
        except BenchError as error:
            raise click.ClickException(str(error)) from error
    headers = ["round trip", "bucket", "layers", "original way, s", "ipfsreg, s", "ipfsreg / original"]
    click.echo(tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
