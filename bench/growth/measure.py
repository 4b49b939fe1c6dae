"""The measurements upon one store: each answers its figures, by name."""

import http.client
import json
import secrets
import socket
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bench import memory
from bench.errors import BenchError
from bench.images import MANIFEST
from bench.registries import Registry, Running, running

from .beside import Pulls
from .stored import REFERRED, SHARED, SUBJECT, Tagged, descriptor, manifest
from .turns import Turns, file_in

MILLISECONDS, SECONDS, MIB, CORES = "ms", "s", "MiB", "cores"

UNITS = {
    "start to ready": SECONDS,
    "memory, idle": MIB,
    "push": MILLISECONDS,
    "tags page, first": MILLISECONDS,
    "all tags": MILLISECONDS,
    "all tags, longest turn": MILLISECONDS,
    "tags page after a push": MILLISECONDS,
    "catalog page, first": MILLISECONDS,
    "catalog page after a push": MILLISECONDS,
    "delete, first": MILLISECONDS,
    "delete": MILLISECONDS,
    "referrers page, first": MILLISECONDS,
    "referrers page": MILLISECONDS,
    "referrers, none match": MILLISECONDS,
    "clients, longest turn": MILLISECONDS,
    "clients, longest turn, processor": MILLISECONDS,
}
"""What is measured of clients, with its unit."""

WORK = ("index of CIDs", "gc", "verify")
OF_WORK = {
    "": SECONDS,
    ", processor": SECONDS,
    ", cores": CORES,
    ", memory": MIB,
    ", pull 99 %": MILLISECONDS,
    ", longest pull": MILLISECONDS,
    ", longest turn": MILLISECONDS,
    ", longest turn, processor": MILLISECONDS,
}
"""What is measured of work in the background, with its unit: ``gc, longest pull`` is a figure."""

ALL = UNITS | {f"{what}{of}": unit for what in WORK for of, unit in OF_WORK.items()}
"""All figures with their units."""

_MIB = 1024 * 1024
_TIMEOUT = 7200.0
_REPEATS = 7
_ABSENT = "/ipfs/bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"


class Client:
    """One connection to the daemon."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        """The status and the body of an answer."""
        self._connection.request(method, path, body, {key.replace("_", "-"): each for key, each in headers.items()})
        response = self._connection.getresponse()
        return response.status, response.read()

    def timed(self, wanted: int, method: str, path: str, body: bytes | None = None, **headers: str) -> float:
        """The milliseconds that a request took. :raises BenchError: where the answer is another than the one wanted."""
        began = time.perf_counter()
        status, answer = self.ask(method, path, body, **headers)
        took = (time.perf_counter() - began) * 1000
        if status != wanted:
            raise BenchError(f"{method} {path}: {status} {answer[:300]!r}")
        return took

    def push_blob(self, repository: str, content: bytes) -> None:
        """Push a small blob in one request."""
        digest = descriptor(content, "")["digest"]
        path = f"/v2/{repository}/blobs/uploads/?digest={digest}"
        self.timed(201, "POST", path, content, Content_Type="application/octet-stream")

    def push(self, repository: str, tag: str) -> tuple[float, str]:
        """Push a new image; answers how long its manifest took, and the digest of that."""
        content, config = manifest(f"pushed {secrets.token_hex(8)}")
        self.push_blob(repository, config)
        self.push_blob(repository, SHARED)
        took = self.timed(201, "PUT", f"/v2/{repository}/manifests/{tag}", content, Content_Type=MANIFEST)
        return took, str(descriptor(content, MANIFEST)["digest"])


def of_clients(registry: Registry, directory: Path, shape: str, some: Sequence[Tagged]) -> Iterator[tuple[str, float]]:
    """What clients notice of a store that was just made, one figure after the other; ``some`` is in the store."""
    paths = _asked_for(some)
    with running(registry, directory) as daemon:
        yield "start to ready", daemon.ready_after
        yield from _work(daemon, "index of CIDs", paths, lambda: _index_made(daemon))
        yield "memory, idle", memory.idle_bytes(daemon) / _MIB
        client, turns = Client(daemon.port), Turns(file_in(directory))
        repository = some[0].repository
        yield from _pages(client, repository)
        yield from _deletions(client, some)
        yield from _referrers(client)
        yield "clients, longest turn", turns.longest
        yield "clients, longest turn, processor", turns.longest_processor
        turns.reset()
        yield "all tags", client.timed(200, "GET", f"/v2/{repository}/tags/list")
        yield "all tags, longest turn", turns.longest


def of_upkeep(registry: Registry, directory: Path, shape: str, some: Sequence[Tagged]) -> Iterator[tuple[str, float]]:
    """What the collector and a verification take."""
    paths = _asked_for(some)
    with running(registry, directory) as daemon:
        _index_made(daemon)
        for task, query in (("gc", "?now=1&untagged=1e9"), ("verify", "")):
            yield from _work(daemon, task, paths, partial(_control, directory, task, query))


PARTS = {"clients": of_clients, "upkeep": of_upkeep}
"""Each is upon a new daemon, since the memory that one before has freed would hide what this needs."""


def _asked_for(some: Sequence[Tagged]) -> list[str]:
    return [each.path for each in some[len(some) // 2 :]]


def _pages(client: Client, repository: str) -> Iterator[tuple[str, float]]:
    tags, catalog = f"/v2/{repository}/tags/list?n=100", "/v2/_catalog?n=100"
    yield "tags page, first", client.timed(200, "GET", tags)
    yield "catalog page, first", client.timed(200, "GET", catalog)
    pushes, after = [], []
    for number in range(_REPEATS):
        pushes.append(client.push(repository, f"new-{number}")[0])
        after.append(client.timed(200, "GET", tags))
    yield "push", statistics.median(pushes)
    yield "tags page after a push", statistics.median(after)
    after = []
    for _ in range(_REPEATS):
        client.push(f"new/{secrets.token_hex(8)}", "latest")
        after.append(client.timed(200, "GET", catalog))
    yield "catalog page after a push", statistics.median(after)


def _deletions(client: Client, some: Sequence[Tagged]) -> Iterator[tuple[str, float]]:
    took = [client.timed(202, "DELETE", f"/v2/{each.repository}/manifests/{each.digest}") for each in some[:_REPEATS]]
    for each in some[:_REPEATS]:
        client.timed(404, "GET", each.path)
    yield "delete, first", took[0]
    yield "delete", statistics.median(took[1:])


def _referrers(client: Client) -> Iterator[tuple[str, float]]:
    path = f"/v2/{REFERRED}/referrers/{descriptor(SUBJECT, MANIFEST)['digest']}"
    yield "referrers page, first", client.timed(200, "GET", path)
    yield "referrers page", statistics.median(client.timed(200, "GET", path) for _ in range(3))
    yield "referrers, none match", client.timed(200, "GET", f"{path}?artifactType=application/none")


def _work(daemon: Running, what: str, paths: Sequence[str], work: Callable[[], object]) -> Iterator[tuple[str, float]]:
    turns = Turns(file_in(daemon.directory))
    turns.reset()
    before, cpu = memory.proportional_bytes(daemon), daemon.cpu_seconds()
    began = time.perf_counter()
    with memory.PeakMemory(daemon) as watched, Pulls(daemon.port, paths) as pulls:
        work()
    took = time.perf_counter() - began
    yield what, took
    processor = daemon.cpu_seconds() - cpu
    yield f"{what}, processor", processor
    yield f"{what}, cores", processor / took
    yield f"{what}, memory", (watched.peak - before) / _MIB
    yield f"{what}, pull 99 %", pulls.percentile(0.99)
    yield f"{what}, longest pull", max(pulls.latencies)
    yield f"{what}, longest turn", turns.longest
    yield f"{what}, longest turn, processor", turns.longest_processor
    turns.reset()


def _index_made(daemon: Running) -> None:
    """Wait until the daemon says of a CID that it does not have it: before, it does not know."""
    client = Client(daemon.port)
    while (status := client.ask("GET", _ABSENT, Accept="application/vnd.ipld.raw")[0]) == 503:
        time.sleep(0.05)
    if status != 404:
        raise BenchError(f"GET {_ABSENT}: {status}")


def _control(directory: Path, task: str, query: str) -> dict[str, Any]:
    with _connected(directory / "data" / "control.sock") as connection:
        connection.request("POST", f"/{task}{query}", body=b"")
        response = connection.getresponse()
        answer = response.read()
    if response.status != 200:
        raise BenchError(f"{task}: {response.status} {answer[:300]!r}")
    found: dict[str, Any] = json.loads(answer)
    return found


@contextmanager
def _connected(path: Path) -> Iterator[http.client.HTTPConnection]:
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(_TIMEOUT)
        control.connect(str(path))
        connection = http.client.HTTPConnection("daemon")
        connection.sock = control
        yield connection
