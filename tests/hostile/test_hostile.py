"""No input of strangers makes the daemon fail, grow, or keep others waiting.

How many there are: some thousand in `make test`; with ``IPFSREG_FULL_TESTS`` 100,000 requests, and 10,000 manifests and
CARs each.
"""

import asyncio
import base64
import hashlib
import http.client
import json
import os
import random
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from tests.access.helpers import HASH, PASSWORD
from tests.daemon_process import DaemonProcess
from tests.full import FULL

from .client import send_all, statuses
from .documents import LONG, OCI_IMAGE, OCI_INDEX, manifests, mutations
from .requests import REPOSITORY, requests

T = TypeVar("T")

REQUESTS = 100_000 if FULL else 1_000
MANIFESTS = 10_000 if FULL else 500
CARS = 10_000 if FULL else 50
UNREAD = 500 if FULL else 50
LONG_ONES = list(LONG) if FULL else ["annotations"]
AT_ONCE = 64 if FULL else 8
PEAK_MAX = 128 * 1024 * 1024
"""By how much the daemon may be larger at any moment, in bytes, while so many of the longest manifests come at once."""

GROWTH_MAX = 64 * 1024 * 1024
"""By how much the daemon may be larger in the end, in bytes: caches fill, and the C library keeps what was freed."""

pytestmark = pytest.mark.timeout(1800)  # bounded in count; how long that takes is the machine's matter

EXPECTED = ("Publish", "A login from ", " may not ", "more refusals of ")
"""What the log may say meanwhile: who was refused is told there, so many lines a minute of each address."""

LOGIN = {"Authorization": "Basic " + base64.b64encode(f"reader:{PASSWORD}".encode()).decode()}

SEED = int(os.environ.get("IPFSREG_HOSTILE_SEED", "1"))


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with an image in it."""
    with DaemonProcess(tmp_path_factory.mktemp("hostile")) as daemon:
        Good(daemon).push()
        yield daemon


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """One with access control, and with all that it can show to those who may see it."""
    directory = tmp_path_factory.mktemp("guarded")
    (directory / "htpasswd").write_text(f"reader:{HASH}\n")
    config = {
        "registry": {"trusted_proxies": "127.0.0.0/8"},
        "auth": {"htpasswd": f"{directory}/htpasswd"},
        "access": {"rules": "\n    allow reader *,catalog,admin **\n    allow anyone pull public/*"},
        "metrics": {"enabled": "yes"},
        "limits": {"uploads_per_user": "unlimited"},
    }
    with DaemonProcess(directory, config) as daemon:
        Good(daemon).push()
        yield daemon


class Good:
    """A client that pushes and pulls an image of its own, again and again."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self.served = 0
        self._daemon = daemon
        self._blob = random.Random(7).randbytes(100_000)
        self._digest = "sha256:" + hashlib.sha256(self._blob).hexdigest()

    def push(self) -> None:
        name = REPOSITORY.decode()
        self._ask(201, "POST", f"/v2/{name}/blobs/uploads/?digest={self._digest}", self._blob)
        part = f'{{"mediaType":"a/b","digest":"{self._digest}","size":{len(self._blob)}}}'
        self.put(f'{{"schemaVersion":2,"config":{part},"layers":[{part}]}}'.encode(), "v1")

    def put(self, manifest: bytes, tag: str, kind: str = OCI_IMAGE) -> None:
        self._ask(201, "PUT", f"/v2/{REPOSITORY.decode()}/manifests/{tag}", manifest, {"Content-Type": kind})

    def pull(self) -> None:
        name = REPOSITORY.decode()
        self._ask(200, "GET", f"/v2/{name}/manifests/v1")
        assert self._ask(200, "GET", f"/v2/{name}/blobs/{self._digest}") == self._blob

    async def go_on(self) -> None:
        """Push and pull in a thread, until cancelled."""
        while True:
            await asyncio.to_thread(self.push)
            await asyncio.to_thread(self.pull)
            self.served += 1
            await asyncio.sleep(0.05)

    def _ask(
        self, expected: int, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> bytes:
        # From an address of its own: what one client may have is bounded for each.
        source = ("127.0.0.2", 0)
        connection = http.client.HTTPConnection("127.0.0.1", self._daemon.port, timeout=60, source_address=source)
        try:
            connection.request(method, path, body, {**LOGIN, **(headers or {})})
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        assert answer.status == expected, content
        return content


def run_beside_a_good_client(daemon: DaemonProcess, work: Callable[[], Awaitable[T]], growth: int = GROWTH_MAX) -> T:
    """Do something while another client is served; in the end the daemon is as it was, and has logged nothing of it."""

    async def run() -> T:
        good = Good(daemon)
        going_on = asyncio.ensure_future(good.go_on())
        try:
            result = await work()
        finally:
            failed = going_on.done()
            going_on.cancel()
        assert not failed, going_on
        assert good.served > 0
        return result

    process = psutil.Process(daemon.pid)
    before = process.memory_info().rss
    logged = len(daemon.log.splitlines())
    result = asyncio.run(run())
    assert process.memory_info().rss - before < growth
    news = [line for line in daemon.log.splitlines()[logged:] if not any(word in line for word in EXPECTED)]
    assert not news, news[:40]
    return result


def test_requests(daemon: DaemonProcess) -> None:
    counted, failed = run_beside_a_good_client(daemon, lambda: send_all(daemon.port, requests(SEED, REQUESTS)))
    assert not failed, failed[:5]
    assert counted[200] > 0
    assert counted[400] > 0
    assert counted[404] > 0
    assert counted.total() > REQUESTS // 3


def test_requests_where_one_has_to_log_in(guarded: DaemonProcess) -> None:
    counted, failed = run_beside_a_good_client(guarded, lambda: send_all(guarded.port, requests(SEED + 1, REQUESTS)))
    assert not failed, failed[:5]
    for status in (200, 303, 400, 401, 403, 404):
        assert counted[status] > 0, counted
    assert counted.total() > REQUESTS // 3


def test_manifests(daemon: DaemonProcess) -> None:
    def put() -> Iterator[bytes]:
        for kind, content in manifests(SEED, MANIFESTS):
            head = f"PUT /v2/{REPOSITORY.decode()}/manifests/x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n"
            yield f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content

    counted, failed = run_beside_a_good_client(daemon, lambda: send_all(daemon.port, put()))
    assert not failed, failed[:5]
    assert set(counted) <= {201, 400, 404, 413, 431}
    assert counted.total() == MANIFESTS
    assert counted[400] + counted[404] > MANIFESTS // 2


@pytest.mark.parametrize("name", LONG_ONES)
def test_the_longest_manifests_at_once(tmp_path: Path, name: str) -> None:
    """What a good client waits is the bench's matter (`python -m bench --only hostile`): it depends on the machine."""
    content = LONG[name]()
    head = f"PUT /v2/{REPOSITORY.decode()}/manifests/x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {OCI_IMAGE}\r\n"
    request = f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content
    with DaemonProcess(tmp_path) as daemon:
        Good(daemon).push()
        with Peak(daemon.pid) as peak:
            counted, failed = run_beside_a_good_client(
                daemon, lambda: send_all(daemon.port, [request] * AT_ONCE, AT_ONCE), growth=PEAK_MAX
            )
        assert peak.growth < PEAK_MAX
    assert not failed
    assert counted.total() == counted[400] + counted[404] == AT_ONCE


class Peak:
    """The most by which a process has been larger than at the beginning of the block, in bytes."""

    def __init__(self, pid: int) -> None:
        self.growth = 0
        self._process = psutil.Process(pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=[self._process.memory_info().rss])

    def _watch(self, before: int) -> None:
        while not self._over.wait(0.01):
            self.growth = max(self.growth, self._process.memory_info().rss - before)

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def test_cars(daemon: DaemonProcess, tmp_path: Path) -> None:
    car = tmp_path / "box.car"
    done = daemon.command("export", f"{REPOSITORY.decode()}:v1", "-o", str(car))
    assert done.returncode == 0, done.stderr
    sound = car.read_bytes()
    head, tail = sound[:700], sound[700:]

    async def import_all() -> list[tuple[bytes, bytes]]:
        waiting = mutations(SEED, head, CARS)
        failed = []

        async def worker() -> None:
            for mutated in waiting:
                content = mutated + tail
                answer = await _import(daemon.path / "control.sock", content)
                if not all(status in {200, 400, 404} for status in statuses(answer)) or not statuses(answer):
                    failed.append((mutated, answer[:300]))

        await asyncio.gather(*(worker() for _ in range(4)))
        return failed

    failed = run_beside_a_good_client(daemon, import_all)
    assert not failed, failed[:5]


async def _import(socket: Path, content: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(socket))
    try:
        writer.write(b"POST /import?name=hostile/car:1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n" % len(content) + content)
        return await asyncio.wait_for(reader.read(), 60)
    finally:
        writer.transport.abort()


def test_answers_that_nobody_reads(tmp_path: Path) -> None:
    """Neither what waits for such clients, nor what is read for them at the same time, nor what is left of them."""
    with DaemonProcess(tmp_path) as daemon:
        good = Good(daemon)
        good.push()
        notes = {f"{number:08}": "a" * 2000 for number in range(1500)}
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [], "annotations": notes}
        good.put(json.dumps(index).encode(), "long", OCI_INDEX)
        target = f"/v2/{REPOSITORY.decode()}/manifests/long"
        with Peak(daemon.pid) as peak:
            run_beside_a_good_client(daemon, lambda: leave_unread(daemon.port, target, UNREAD), growth=GROWTH_MAX)
        assert peak.growth < PEAK_MAX


async def leave_unread(port: int, target: str, count: int) -> None:
    """Ask for something long that many times, read none of it, and go in the end."""
    writers = []
    for _ in range(count):
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        writers.append(writer)
    await asyncio.sleep(3)
    for writer in writers:
        writer.transport.abort()
    await asyncio.sleep(0.5)
