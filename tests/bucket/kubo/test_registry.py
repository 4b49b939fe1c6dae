"""A whole daemon on a real node: what clients see, also when one of the two is killed."""

import hashlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from ipfsreg.ipfs.cid import raw_cid
from ipfsreg.registry.readiness import REMEMBERED_SECONDS
from tests.bucket.helpers import together
from tests.web.client import pause
from tests.web.served import Served, digest_of

from .backend import unique_folder
from .front import Answer, Call, Front, failure
from .node import KuboNode
from .state import pinned

LARGE = 12 * 1024 * 1024


class KuboServed(Served):
    """A daemon on a node."""

    def __init__(self, directory: Path, api: str, folder: str, **more: object) -> None:
        directory.mkdir(exist_ok=True)
        section = {"api": api, "directory": directory / "state", "path": folder, "timeout": "5s", **more}
        super().__init__(directory, {"registry": {"backend": "kubo"}, "kubo": section})

    async def answers(self) -> None:
        """Wait until it has noticed that the node is there."""
        while (await self.ask("GET", "/v2/_catalog")).status != 200:
            await pause(0.05)


@asynccontextmanager
async def serving(served: KuboServed) -> AsyncIterator[KuboServed]:
    """A daemon that is started for a block."""
    await served.start()
    try:
        yield served
    finally:
        await served.stop()


@pytest_twisted.async_yield_fixture()
async def served(node: KuboNode, tmp_path: Path, clean_log: list[Any]) -> AsyncIterator[KuboServed]:
    served = KuboServed(tmp_path / "one", node.url, unique_folder())
    await served.start()
    yield served
    await served.stop()


async def pulled(served: Served, digest: str, repository: str = "box", **headers: str) -> bytes:
    answer = await served.ask(
        "GET", f"/v2/{repository}/blobs/{digest}", {"Range": headers["range"]} if headers else None
    )
    assert answer.status in {200, 206}
    content: bytes = answer.content
    return content


@pytest_twisted.ensureDeferred
async def test_a_push_and_what_can_be_asked(served: KuboServed) -> None:
    layer = os.urandom(3_000_000)
    manifest = await served.push_image("1.0", "team/app", [layer])
    digest = digest_of(layer)
    assert await pulled(served, digest, "team/app") == layer
    assert await pulled(served, digest, "team/app", range="bytes=1000000-1000004") == layer[1_000_000:1_000_005]
    head = await served.ask("HEAD", f"/v2/team/app/blobs/{digest}")
    assert (head.status, head["content-length"]) == (200, str(len(layer)))
    assert (await served.ask("GET", "/v2/team/app/manifests/1.0")).content == manifest
    assert (await served.ask("GET", "/v2/team/app/tags/list")).json()["tags"] == ["1.0"]
    assert (await served.ask("GET", "/v2/_catalog")).json()["repositories"] == ["team/app"]
    assert (await served.ask("DELETE", f"/v2/team/app/manifests/{digest_of(manifest)}")).status == 202
    assert (await served.ask("GET", "/v2/team/app/manifests/1.0")).status == 404


@pytest_twisted.ensureDeferred
async def test_probes_say_whether_the_node_is_there(node: KuboNode, tmp_path: Path) -> None:
    with Front(node).running() as front:
        served = KuboServed(tmp_path / "one", front.url, unique_folder())
        await served.start()
        await served.answers()
        assert (await served.ask("GET", "/readyz")).status == 200
    for _ in range(100):  # the last answer is believed for `REMEMBERED_SECONDS`
        answer = await served.ask("GET", "/readyz")
        if answer.status != 200:
            break
        await pause(REMEMBERED_SECONDS / 4)
    assert answer.error == (503, "UNAVAILABLE")
    for target in ("/livez", "/v2/", "/"):
        assert (await served.ask("GET", target)).status == 200
    await served.stop()


@pytest_twisted.ensureDeferred
async def test_nothing_is_kept_on_this_disk(served: KuboServed) -> None:
    layer = os.urandom(2_000_000)
    await served.push_image("1.0", layers=[layer])
    assert await pulled(served, digest_of(layer)) == layer
    index = "cids.sqlite"  # which knows hashes, and no content
    state = served.directory / "state"
    files = [path for path in state.rglob("*") if path.is_file() and not path.name.startswith(index)]
    assert sum(path.stat().st_size for path in files) < 2000, files


@pytest_twisted.ensureDeferred
async def test_a_cache_where_it_is_wanted(node: KuboNode, tmp_path: Path) -> None:
    layer = os.urandom(2_000_000)
    with Front(node).running() as front:
        served = KuboServed(tmp_path / "one", front.url, unique_folder(), cache_size="1GiB")
        await served.start()
        await served.push_image("1.0", layers=[layer])
        front.calls.clear()
        assert await pulled(served, digest_of(layer)) == layer
        assert [call for call in front.of("cat") if call.options.get("length") == str(len(layer))] == []
        await served.stop()


@pytest_twisted.ensureDeferred
async def test_a_node_that_is_away(served: KuboServed, node: KuboNode) -> None:
    layer = os.urandom(100_000)
    await served.push_image("1.0", layers=[layer])
    await served.daemon.registry.cid_refresh.run()
    unknown = f"/ipfs/{raw_cid(hashlib.sha256(b'none').digest())}?format=raw"
    assert (await served.ask("GET", unknown)).status == 404
    node.kill()
    for method, target in (
        ("GET", f"/v2/box/blobs/{digest_of(layer)}"),
        ("HEAD", f"/v2/box/blobs/{digest_of(b'none')}"),
        ("GET", "/v2/box/manifests/none"),
        ("GET", "/v2/box/tags/list"),
        ("GET", "/v2/_catalog"),
        ("GET", unknown),
    ):
        answer = await served.ask(method, target)
        assert answer.status == 503, target
        assert int(answer["retry-after"]) > 0
    # A client goes on with its upload, and what came is kept for when the node is back.
    location = await served.begin_upload()
    assert (await served.ask("PATCH", location, None, b"12345")).status == 202
    put = f"{location}?digest={digest_of(b'12345')}"
    assert (await served.ask("PUT", put)).status == 503
    node.start()
    await served.answers()
    assert (await served.ask("PUT", put)).status == 201
    assert await pulled(served, digest_of(b"12345")) == b"12345"
    assert await pulled(served, digest_of(layer)) == layer


@pytest_twisted.ensureDeferred
async def test_a_node_that_is_killed_in_the_middle_of_pushes(served: KuboServed, node: KuboNode) -> None:
    """Each time it comes back, whatever was answered 201 by then is there."""
    acknowledged: dict[str, bytes] = {}
    refused = 0
    going = True

    async def push(number: int) -> None:
        nonlocal refused
        while going:
            content = os.urandom(200_000 + number)
            answer = await served.ask("POST", f"/v2/box/blobs/uploads/?digest={digest_of(content)}", None, content)
            if answer.status == 201:
                acknowledged[digest_of(content)] = content
            else:
                assert answer.status == 503
                refused += 1
                await pause(0.02)

    async def kill() -> None:
        nonlocal going
        for _ in range(3):
            before = len(acknowledged)
            while len(acknowledged) < before + 8:
                await pause(0.01)
            node.kill()
            await pause(0.05)
            await deferToThread(node.start)
        going = False

    await together(kill(), *(push(number) for number in range(3)))
    await served.answers()
    assert refused
    for digest, content in acknowledged.items():
        assert await pulled(served, digest) == content


@pytest_twisted.ensureDeferred
async def test_a_full_node(node: KuboNode, tmp_path: Path) -> None:
    with Front(node).running() as front:
        served = KuboServed(tmp_path / "one", front.url, unique_folder())
        await served.start()
        kept = await served.push_blob(b"before")
        front.hooks["add"] = lambda call: failure("write /blocks/x: no space left on device")
        content = os.urandom(LARGE)
        answer = await served.ask("POST", f"/v2/box/blobs/uploads/?digest={digest_of(content)}", None, content)
        assert answer.status == 507
        assert "full" in answer.json()["errors"][0]["message"]
        assert await pulled(served, kept) == b"before"
        await served.stop()


@pytest_twisted.ensureDeferred
async def test_who_reads_slowly_holds_up_nobody_else(node: KuboNode, tmp_path: Path) -> None:
    served = KuboServed(tmp_path / "one", node.url, unique_folder(), connections="2", timeout="1s")
    await served.start()
    await served.answers()
    small, large = await served.push_blob(os.urandom(200)), await served.push_blob(os.urandom(4 * LARGE))
    slow = [await served.connect() for _ in range(2)]
    for connection in slow:
        connection.begin("GET", f"/v2/box/blobs/{large}")
    bucket: Any = served.daemon.registry.bucket
    rpc = bucket.node.content
    while rpc.downloads.slots.tokens:
        await pause(0.01)
    for connection in slow:
        connection.wire.pauseProducing()
    assert len(await pulled(served, small)) == 200
    assert len(await pulled(served, large, range="bytes=0-9")) == 10
    await served.push_image("1", "other", [os.urandom(3_000_000)])
    # One more of their kind is told so, and not promised anything first.
    answer = await served.ask("GET", f"/v2/box/blobs/{large}")
    assert answer.status == 503
    assert int(answer["retry-after"]) > 0
    assert "etag" not in answer
    assert "cache-control" not in answer
    await served.stop()


@pytest_twisted.ensureDeferred
async def test_several_daemons_on_one_node(node: KuboNode, tmp_path: Path) -> None:
    folder = unique_folder()
    daemons = [KuboServed(tmp_path / str(number), node.url, folder) for number in range(3)]
    for each in daemons:
        await each.start()
        await each.answers()
    one, two, three = daemons

    async def push_all(daemon: Served, name: str) -> None:
        for number in range(6):
            await daemon.push_image(f"{name}{number}", "shared", [os.urandom(1000), b"a layer of all"])

    await together(*(push_all(daemon, name) for daemon, name in zip(daemons, "abc", strict=True)))
    wanted = sorted(f"{name}{number}" for name in "abc" for number in range(6))
    for each in daemons:
        assert (await each.ask("GET", "/v2/shared/tags/list")).json()["tags"] == wanted
    # A tag that moves in one is seen in the others within the time that small files are believed.
    newer = await one.push_image("a0", "shared", [b"another layer"])
    end = time.monotonic() + 5
    while (await two.ask("GET", "/v2/shared/manifests/a0")).content != newer:
        assert time.monotonic() < end
        await pause(0.1)
    assert (await three.ask("DELETE", "/v2/shared/manifests/b1")).status == 202
    while "b1" in (await one.ask("GET", "/v2/shared/tags/list")).json()["tags"]:
        assert time.monotonic() < end
        await pause(0.1)
    for each in daemons:
        await each.stop()


class TestAhead:
    """Content is on its way to the node while the client still sends it."""

    @pytest_twisted.ensureDeferred
    async def test_it_is_there_when_the_client_is_through(self, node: KuboNode, tmp_path: Path) -> None:
        content = os.urandom(2 * LARGE)
        with Front(node).running() as front:
            served = KuboServed(tmp_path / "one", front.url, unique_folder())
            await served.start()
            await served.answers()
            location = await served.begin_upload()
            assert (await served.ask("PATCH", location, None, content[:LARGE])).status == 202
            while front.body_read < LARGE - 2 * 1024**2:
                await pause(0.01)
            assert (await served.ask("PATCH", location, None, content[LARGE:])).status == 202
            assert (await served.ask("PUT", f"{location}?digest={digest_of(content)}")).status == 201
            # One stream brought all of it, and small files are no longer than what tells of them.
            assert front.body_read < len(content) + 100_000
            assert hashlib.sha256(await pulled(served, digest_of(content))).hexdigest() == digest_of(content)[7:]
            await served.stop()

    @pytest_twisted.ensureDeferred
    async def test_where_it_fails_it_is_sent_again(self, node: KuboNode, tmp_path: Path) -> None:
        content = os.urandom(LARGE)
        failed: list[Call] = []

        def first_fails(call: Call) -> Answer | None:
            if failed or int(call.headers.get("Content-Length", LARGE)) < LARGE:
                return None
            failed.append(call)
            return failure("something unforeseen")

        with Front(node).running() as front:
            served = KuboServed(tmp_path / "one", front.url, unique_folder())
            await served.start()
            await served.answers()
            front.hooks["add"] = first_fails
            assert await served.push_blob(content) == digest_of(content)
            assert len(failed) == 1
            assert await pulled(served, digest_of(content)) == content
            await served.stop()

    @pytest.mark.parametrize("ending", ["cancelled", "another digest"])
    @pytest_twisted.ensureDeferred
    async def test_what_is_not_wanted_is_linked_nowhere(self, served: KuboServed, node: KuboNode, ending: str) -> None:
        content = os.urandom(LARGE)
        location = await served.begin_upload()
        assert (await served.ask("PATCH", location, None, content)).status == 202
        if ending == "cancelled":
            assert (await served.ask("DELETE", location)).status == 204
        else:
            assert (await served.ask("PUT", f"{location}?digest={digest_of(b'')}")).status == 400
        await served.push_blob(b"something else")
        await deferToThread(node.rpc, "repo/gc", silent=True)
        size = (await deferToThread(node.rpc, "repo/stat"))[0]["RepoSize"]
        assert (await served.ask("HEAD", f"/v2/box/blobs/{digest_of(content)}")).status == 404
        assert size < LARGE + stored_by_others(node)


def stored_by_others(node: KuboNode) -> int:
    """What the module's other tests left in their buckets, in bytes."""
    sizes: list[int] = [node.rpc("files/stat", f"/ipfs/{root}")[0]["CumulativeSize"] for root in pinned(node)]
    return sum(sizes) + 1024 * 1024
