"""``python -m bench.kubo``: a layer in and out through this registry on a Kubo node, against the node's own speed.

One real node, in a repository of its own, without peers. In each round, in turn: a fresh layer is pushed to the
registry, as docker does it; another one is added to the node by its ``add``, with the options that the registry
sends; both are read back, through the registry and by the node's ``cat``. The same again with layers of which the node
has all blocks but the first already: it writes nothing then, so that it is what sending and hashing cost. The clients
cost the machine as little as they can: ``sendfile`` out, and ``recv`` into one buffer in.

Before each push and ``add`` all that is dirty is written, and memory for twice the layer made sure of (see
`reclaim_memory`). Beside the rates stands the processor time that the daemon and the node took.
"""

import contextlib
import json
import os
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType

import click
import psutil
from tabulate import tabulate

from tests.bucket.kubo.node import KuboNode, running_node

from . import transfer
from .errors import BenchError
from .machine import reclaim_memory
from .payload import Layer, Payload
from .registries import Registry, Running, running

_TIMEOUT = 300.0
_BUFFER = 256 * 1024
_REPOSITORY = "bench/image"
_KNOWN = ", known"
_OPTIONS = "cid-version=1&raw-leaves=true&chunker=size-1048576&max-file-links=1024&pin=true"

_CONFIG = """\
[registry]
listen = tcp:{port}:interface=127.0.0.1
backend = kubo

[kubo]
api = {url}
directory = {directory}/data
"""


def daemon_for(node: KuboNode) -> Registry:
    """This registry with its folder on the node."""

    def prepare(port: int, directory: Path) -> list[str]:
        config = directory / "ipfsreg.ini"
        config.write_text(_CONFIG.format(port=port, directory=directory, url=node.url), encoding="utf-8")
        twistd = Path(sys.executable).with_name("twistd")
        return [str(twistd), "-n", "--pidfile=", "ipfsreg", "--config", str(config)]

    return Registry("ipfsreg", prepare, lambda: "this checkout")


@contextlib.contextmanager
def _connected(node: KuboNode) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", node.port), _TIMEOUT) as connection:
        yield connection


def _head(target: str, more: str = "") -> bytes:
    return f"POST /api/v0/{target} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n{more}\r\n".encode()


def add(node: KuboNode, layer: Layer, payload: Path) -> tuple[float, str]:
    """Add a layer to the node: the seconds until it has answered, and the CID."""
    first = b'--x\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n\r\n'
    last = b"\r\n--x--\r\n"
    more = f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {len(first) + layer.size + len(last)}\r\n"
    with _connected(node) as connection, payload.open("rb") as file:
        started = time.perf_counter()
        connection.sendall(_head(f"add?{_OPTIONS}", more) + first + layer.prefix)
        connection.sendfile(file, layer.begin, layer.size - len(layer.prefix))
        connection.sendall(last)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
        seconds = time.perf_counter() - started
    lines = [line for line in answer.split(b"\r\n") if line.startswith(b"{")]
    if not lines:
        raise BenchError(f"add: {answer[:300]!r}")
    return seconds, str(json.loads(lines[-1])["Hash"])


def cat(node: KuboNode, cid: str, size: int) -> float:
    """Read content from the node: the seconds until it is all here, in the chunks of HTTP and not looked at."""
    buffer = memoryview(bytearray(_BUFFER))
    received = 0
    with _connected(node) as connection:
        started = time.perf_counter()
        connection.sendall(_head(f"cat?arg=/ipfs/{cid}"))
        while count := connection.recv_into(buffer):
            received += count
        seconds = time.perf_counter() - started
    if received < size:
        raise BenchError(f"cat: {received} bytes instead of {size}")
    return seconds


@dataclass
class Samples:
    """What was measured of a thing that was done: the seconds of each time, and of processor time for them."""

    seconds: list[float] = field(default_factory=list)
    daemon: list[float] = field(default_factory=list)
    node: list[float] = field(default_factory=list)


class Meter:
    """Does things, and keeps what they took; ``counts`` says whether it does now."""

    def __init__(self, daemon: Running, node: KuboNode) -> None:
        self.found: dict[str, Samples] = defaultdict(Samples)
        self.counts = False
        self._daemon = daemon
        self._node = psutil.Process(node.pid)

    def do(self, name: str, what: Callable[[], float]) -> None:
        """Do something, which answers the seconds that it took."""
        daemon, node = self._daemon.cpu_seconds(), self._node_seconds()
        seconds = what()
        if self.counts:
            samples = self.found[name]
            samples.seconds.append(seconds)
            samples.daemon.append(self._daemon.cpu_seconds() - daemon)
            samples.node.append(self._node_seconds() - node)

    def _node_seconds(self) -> float:
        times = self._node.cpu_times()
        return float(times.user + times.system)


def measure(size: int, rounds: int, payload: Payload, parent: Path) -> dict[str, Samples]:
    """The figures of each round, by what was done. One uncounted round comes first."""
    with (
        tempfile.TemporaryDirectory(dir=parent) as directory,
        running_node(Path(directory), {"Datastore.StorageMax": "1TB"}) as node,
        running(daemon_for(node), Path(directory)) as daemon,
    ):
        meter = Meter(daemon, node)
        cid = ""

        def settle() -> None:
            os.sync()
            reclaim_memory(parent, 2 * size)

        def added(layer: Layer) -> float:
            nonlocal cid
            seconds, cid = add(node, layer, payload.path)
            return seconds

        def pushed(layer: Layer) -> float:
            return transfer.upload(daemon.port, _REPOSITORY, [layer], payload.path).seconds

        for number in range(rounds + 1):
            meter.counts = number > 0
            for suffix, known in (("", False), (_KNOWN, True)):
                layer, other = payload.layer(size, known=known), payload.layer(size, known=known)
                settle()
                meter.do("push" + suffix, partial(pushed, layer))
                settle()
                meter.do("add" + suffix, partial(added, other))
                if not known:
                    meter.do("pull", lambda: transfer.download(daemon.port, _REPOSITORY, [layer]).seconds)  # noqa: B023
                    meter.do("cat", lambda: cat(node, cid, size))
    return meter.found


def _row(what: str, size: int, ours: Samples, theirs: Samples) -> list[str]:
    ratio = statistics.median(theirs.seconds) / statistics.median(ours.seconds)
    processor = [statistics.median(each) / size * 2**30 for each in (ours.daemon, ours.node, theirs.node)]
    return [
        what,
        _rate(size, ours.seconds),
        _rate(size, theirs.seconds),
        f"{ratio:.2f}x",
        *(f"{each:.2f}" for each in processor),
    ]


def _rate(size: int, samples: list[float]) -> str:
    rates = sorted(size / each / 1e6 for each in samples)
    return f"{statistics.median(rates):,.0f} ({rates[0]:,.0f} to {rates[-1]:,.0f})"


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)  # an exception, so that everything that was started is stopped on the way out


@click.command()
@click.option("--mib", default=1024, show_default=True, help="Size of the layer.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--dir", "parent", type=click.Path(path_type=Path, file_okay=False, exists=True), help="For all data.")
def main(mib: int, rounds: int, parent: Path | None) -> None:
    """Push and pull a layer through this registry on a real node, and print a table beside the node's own speed."""
    signal.signal(signal.SIGTERM, _end)
    size = mib * 1024**2
    with tempfile.TemporaryDirectory(prefix="ipfsreg-bench-", dir=parent, ignore_cleanup_errors=True) as directory:
        payload = Payload(Path(directory) / "payload", size)
        try:
            found = measure(size, rounds, payload, Path(directory))
        except BenchError as error:
            raise click.ClickException(str(error)) from error
    rows = [
        _row(f"{mib} MiB {what}", size, found[ours], found[theirs])
        for ours, theirs, what in (
            ("push", "add", "in"),
            ("push" + _KNOWN, "add" + _KNOWN, "in, blocks that the node has"),
            ("pull", "cat", "out"),
        )
    ]
    headers = [
        "layer",
        "ipfsreg, MB/s",
        "node's add, cat, MB/s",
        "ipfsreg / node",
        "CPU of ipfsreg, s/GiB",
        "of the node then, s/GiB",
        "of the node alone, s/GiB",
    ]
    click.echo(tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
