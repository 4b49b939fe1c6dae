"""Many clients at once, with the garbage collector running all the while; then every image is verified."""

import collections
import json
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from tests.daemon_process import DaemonProcess

from .images import random_layer
from .programs import client_environment, needed
from .soak import Client, Kept, SkopeoWorker, Worker

SECONDS = float(os.environ.get("IPFSREG_SOAK_SECONDS", "8"))
# Enough for a client to come from its first HEAD to its manifest; more, and nothing would be freed here.
GARBAGE_SETTINGS = {"grace": "3s", "untagged": "0s", "interval": "never"}
PATIENCE = 20 * SECONDS + 1200
"""After so many seconds something hangs. How long the last collections take depends on the disk, since they rest three
times as long as they work; and a command ends by itself where the daemon shows no sign of life."""

WORKERS = 8
SKOPEO_WORKERS = 2
REPOSITORIES = ["soak/one", "soak/two", "soak/two/three"]
# So many that in each repository most of them are needed at one time, garbage at another, and needed again.
SHARED_SIZES = [100, 5_000_000, *range(10_000, 500_000, 12_500)]
ACTIONS = {"push", "pull", "push again", "replace", "copy", "delete", "delete tag", "copy in", "copy out"}

log = logging.getLogger(__name__)

skopeo_is_there = needed("skopeo")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    """A running daemon that frees what is not needed within seconds, when it is told to collect."""
    with DaemonProcess(tmp_path, {"gc": GARBAGE_SETTINGS}) as process:
        yield process


@pytest.mark.soak
@pytest.mark.timeout(PATIENCE)
def test_many_clients_beside_the_garbage_collector(daemon: DaemonProcess, tmp_path: Path) -> None:
    shared = [random_layer(size, size) for size in SHARED_SIZES]
    env = client_environment(tmp_path / "home")
    workers: list[Worker | SkopeoWorker] = [
        *(Worker(number, daemon.port, REPOSITORIES, shared) for number in range(WORKERS)),
        *(SkopeoWorker(number, daemon.host, env, tmp_path, shared) for number in range(SKOPEO_WORKERS)),
    ]
    freed: list[int] = []

    def collect(end: float, stop: threading.Event) -> None:
        while time.monotonic() < end and not stop.is_set():
            freed.append(collect_garbage(daemon))

    together(SECONDS, [collect, *(worker.work for worker in workers)])
    done = sum((worker.done for worker in workers), collections.Counter[str]())
    log.info("in %s s: %s; contents freed by each collection: %s", SECONDS, dict(done), freed)
    assert done.keys() >= ACTIONS
    assert sum(freed) > 0

    kept = [worker.kept for worker in workers]
    collect_garbage(daemon)
    verify(daemon, kept)
    daemon.restart()
    verify(daemon, kept)
    assert daemon.command("verify").returncode == 0

    delete_all(daemon, kept)
    collect_garbage(daemon, "--now")
    bucket = daemon.path / "bucket"
    left = sum(file.stat().st_size for file in bucket.rglob("*") if file.is_file())
    assert left < 1_000_000


def collect_garbage(daemon: DaemonProcess, *options: str) -> int:
    """Run `ipfsreg gc` beside the running daemon; how many stored contents it freed."""
    result = daemon.command("gc", *options, deadline=PATIENCE)
    assert result.returncode == 0, result.stdout + result.stderr
    found = re.search(r"(\d+) files? deleted", result.stdout)
    assert found, result.stdout
    return int(found[1])


def delete_all(daemon: DaemonProcess, kept: list[Kept]) -> None:
    """Delete every image that the clients left."""
    client = Client(daemon.port)
    for repository, digest in {(place[0], i.digest) for each in kept for place, i in each.images.items()}:
        client.delete(repository, digest)
    client.close()


def together(seconds: float, jobs: list[Callable[[float, threading.Event], None]]) -> None:
    """Run jobs in threads for `seconds`; the first one's failure stops the others and is raised."""
    stop = threading.Event()
    end = time.monotonic() + seconds
    with ThreadPoolExecutor(len(jobs)) as pool:
        running: list[Future[None]] = [pool.submit(job, end, stop) for job in jobs]
        finished, _ = wait(running, return_when=FIRST_EXCEPTION)
        stop.set()
    for job in [*finished, *running]:
        job.result()


def verify(daemon: DaemonProcess, kept: list[Kept]) -> None:
    """Check that exactly what the clients kept is there, byte for byte, and what they deleted is not."""
    tags: dict[str, set[str]] = collections.defaultdict(set)
    images = [entry for each in kept for entry in each.images.items()]
    client = Client(daemon.port)
    for (repository, tag), image in images:
        tags[repository].add(tag)
        client.check(repository, tag, image)
        client.check(repository, image.digest, image)
    for repository, expected in tags.items():
        _, content = client.expect(200, "GET", f"/v2/{repository}/tags/list")
        assert sorted(json.loads(content)["tags"]) == sorted(expected)
    for repository, digest in {place for each in kept for place in each.deleted}:
        client.expect(404, "GET", f"/v2/{repository}/manifests/{digest}")
    client.close()
