"""The node's garbage collection beside us: what was acknowledged is there, whatever it took."""

import os
import threading
import urllib.error
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent, formatEvent

from ipfsreg.bucket.errors import Unavailable
from ipfsreg.bucket.kubo.node.node import Target
from tests.bucket.helpers import LIMIT, read, together
from tests.clients.programs import thorough

from .backend import Backend, unique_folder
from .node import OLDEST, UNSAFE, KuboNode, running_node


@pytest.fixture(
    scope="module",
    params=[
        ("ipfs", False),
        ("ipfs", True),
        pytest.param((UNSAFE, True), marks=thorough),
        pytest.param((OLDEST, True), marks=thorough),
    ],
    ids=lambda parameter: f"{parameter[0]}-{'online' if parameter[1] else 'offline'}",
)
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KuboNode]:
    """A node that looks nowhere else, or one that looks on its network for what it lacks: nobody is there."""
    program, online = request.param
    with running_node(tmp_path_factory.mktemp("kubo"), online=online, program=program) as node:
        yield node


@pytest_twisted.async_yield_fixture()
async def backend(node: KuboNode, tmp_path: Path) -> AsyncIterator[Backend]:
    backend = await Backend(node.url, tmp_path, path=unique_folder(), chunker="size-65536").start()
    yield backend
    await backend.stop()


class Collecting:
    """Runs ``repo gc`` again and again, each time with some garbage to sweep, so that it takes its time."""

    def __init__(self, node: KuboNode) -> None:
        self.runs = 0
        self.errors: list[str] = []
        self._node = node
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._node.command("add", "-q", "--pin=false", "--chunker=size-2048", data=os.urandom(600_000))
            try:
                self._node.rpc("repo/gc", silent=True)
            except urllib.error.HTTPError as error:
                self.errors.append(error.read().decode())
            self.runs += 1

    @contextmanager
    def all_the_time(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()


@pytest_twisted.ensureDeferred
async def test_pushes_beside_collections(backend: Backend, node: KuboNode) -> None:
    bucket = backend.bucket
    stored: dict[str, bytes] = {}
    collecting = Collecting(node)

    async def push(name: int) -> None:
        for number in range(8):
            path, content = f"blobs/{name}/{number}", os.urandom(300_000)
            try:
                await bucket.put_file(path, backend.spooled(content))
                await bucket.put(f"links/{name}", f"{number}\n".encode())
            except Unavailable:
                continue  # nothing was acknowledged
            stored[path] = content
            stored[f"links/{name}"] = f"{number}\n".encode()

    with collecting.all_the_time():
        await together(*(push(name) for name in range(4)))
    await deferToThread(node.rpc, "repo/gc", silent=True)
    assert collecting.runs > 2
    assert collecting.errors == []
    assert len(stored) > 20, "hardly anything was stored"
    for path, content in stored.items():
        assert await read(bucket, path) == content, path
    # Also for a node that starts again from what is on its disk.
    node.kill()
    node.start()
    await backend.answers()
    for path, content in stored.items():
        assert await read(bucket, path) == content, path


@pytest_twisted.ensureDeferred
async def test_what_is_taken_between_add_and_link_is_added_again(
    backend: Backend, node: KuboNode, log: list[LogEvent]
) -> None:
    bucket: Any = backend.opened.bucket
    add, content = bucket.node.add, os.urandom(200_000)
    pinned: list[bool] = []

    async def add_and_lose(source: Any, *, pin: bool = False) -> Target:
        target: Target = await add(source, pin=pin)
        if source.size == len(content):
            pinned.append(pin)
            await deferToThread(node.rpc, "repo/gc", silent=True)
        return target

    await bucket.put("before", b"1")
    bucket.node.add = add_and_lose
    await bucket.put_file("f", backend.spooled(content))
    assert pinned == [False, True]
    assert await read(bucket, "f") == content
    assert any("added again" in formatEvent(event) for event in log)
    # Nothing of ours is left pinned but the folder's state.
    found = node.rpc("pin/ls", type="recursive")[0]["Keys"]
    assert (await bucket.root()) in found
    assert (await bucket.stat("f")).cid not in found


@pytest_twisted.ensureDeferred
async def test_somebody_elses_pin_of_the_same_content_stays(backend: Backend, node: KuboNode) -> None:
    content = os.urandom(500).hex().encode()
    cid = node.command("add", "-Q", "--cid-version=1", data=content).strip()
    await backend.bucket.put("f", content)
    assert (await backend.bucket.stat("f")).cid == cid
    await backend.bucket.remove("f")
    await deferToThread(node.rpc, "repo/gc", silent=True)
    assert node.command("cat", cid).encode() == content
    assert cid in node.rpc("pin/ls", type="recursive")[0]["Keys"]


@pytest_twisted.ensureDeferred
async def test_what_was_removed_is_collected(backend: Backend, node: KuboNode) -> None:
    await backend.bucket.put_file("f", backend.spooled(os.urandom(400_000)))
    cid = (await backend.bucket.stat("f")).cid
    assert cid is not None
    await backend.bucket.remove("f")
    await deferToThread(node.rpc, "repo/gc", silent=True)
    assert cid not in node.command("refs", "local")
    assert await backend.bucket.list("none") == []
    await backend.bucket.put("g", b"still works")
    assert await backend.bucket.get("g", LIMIT) == b"still works"
