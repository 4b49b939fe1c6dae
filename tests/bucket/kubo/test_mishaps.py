"""What becomes of a bucket when daemons sleep and die beside others, and when people meddle with the node."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.logger import LogEvent, formatEvent

from ipfsreg.bucket.errors import Full, Unavailable
from ipfsreg.bucket.kubo.state.presence import EXPIRE_SECONDS
from tests.bucket.helpers import LIMIT, names, spawn
from tests.bucket.running import pause, running

from .backend import Backend, unique_folder
from .front import Answer, Call, Front, failure
from .node import KuboNode
from .state import marker, markers, pinned, root_of


def put_marker(node: KuboNode, folder: str, text: str) -> None:
    node.rpc("pin/add", marker(folder, text), recursive=False)


def take_marker(node: KuboNode, folder: str, text: str) -> None:
    node.rpc("pin/rm", marker(folder, text))


def state_marker(node: KuboNode, folder: str) -> str:
    (text,) = [text for text in markers(node, folder) if not text.startswith("daemon ")]
    return text


async def stored(backend: Backend, path: str, content: bytes) -> None:
    """Have a file stored, however often that takes."""
    while True:
        try:
            await backend.bucket.put(path, content)
        except Unavailable:
            await pause(0.05)
        else:
            return


@pytest.mark.parametrize("command", ["pin/rm", "block/put", "pin/update", "pin/add"])
@pytest_twisted.ensureDeferred
async def test_who_comes_back_when_others_thought_it_dead(node: KuboNode, tmp_path: Path, command: str) -> None:
    """It held the lease, and an answer reached it only after others had gone on."""
    folder, before, held = unique_folder(), pinned(node), threading.Event()
    arrived: list[Call] = []

    def late(call: Call, body: bytes) -> bytes:
        if call.command == command and not arrived:
            arrived.append(call)
            held.wait(30)
        return body

    with Front(node).running() as front:
        a = Backend(front.url, tmp_path / "a", path=folder, timeout=0.4)
        b = Backend(node.url, tmp_path / "b", path=folder, timeout=0.4)
        a.bucket.node.content.timeout = 0.4  # type: ignore[attr-defined]
        async with running(a), running(b):
            await stored(b, "b/before", b"1")
            await stored(a, "a/before", b"1")
            front.after = late
            put = spawn(a.bucket.put("a/late", b"1"))
            while not arrived:
                await pause(0.01)
            for number in range(3):
                await stored(b, f"b/{number}", b"%d" % number)
            held.set()
            with pytest.raises(Unavailable):
                await put
            await pause(1.0)
            await stored(a, "a/after", b"1")
            await stored(b, "b/after", b"1")
            for each in (a, b):
                assert {"0", "1", "2", "after", "before"} <= set(await names(each.bucket, "b"))
                assert {"after", "before"} <= set(await names(each.bucket, "a"))
            assert pinned(node) - before == {root_of(node, folder)}


@pytest_twisted.ensureDeferred
async def test_a_dead_daemon_holds_up_no_reads(node: KuboNode, tmp_path: Path) -> None:
    folder = unique_folder()
    with Front(node).running() as front:
        async with running(Backend(front.url, tmp_path / "a", path=folder)) as a:
            await a.bucket.put("a", b"1")
            async with running(Backend(node.url, tmp_path / "b", path=folder)) as b:
                assert await b.bucket.get("a", 1) == b"1"
                # The node has pinned the new state, and is never told to let it count.
                front.hooks["pin/add"] = lambda call: Answer(502, b"killed")
                with pytest.raises(Unavailable):
                    await a.bucket.put("b", b"2")
                began = time.monotonic()
                assert await b.bucket.get("a", 1) == b"1"
                async with running(Backend(node.url, tmp_path / "c", path=folder)) as c:
                    assert await c.bucket.get("a", 1) == b"1"
                assert time.monotonic() - began < 2


@pytest.mark.parametrize("restarted", [False, True])
@pytest_twisted.ensureDeferred
async def test_who_knows_that_it_was_its_turn_waits_for_nobody(node: KuboNode, tmp_path: Path, restarted: bool) -> None:
    """Though another daemon is there, and an answer was lost, or it was killed then."""
    folder = unique_folder()
    with Front(node).running() as front:
        async with running(Backend(node.url, tmp_path / "b", path=folder)) as b:
            await b.bucket.put("b", b"1")
            async with running(Backend(front.url, tmp_path / "a", path=folder)) as a:
                await a.bucket.put("a", b"1")
                front.hooks["pin/add"] = lambda call: Answer(502, b"killed")
                with pytest.raises(Unavailable):
                    await a.bucket.put("a", b"2")
                began = time.monotonic()
                if not restarted:
                    front.hooks.clear()
                    await a.bucket.put("a", b"3")
            if restarted:
                async with running(Backend(node.url, tmp_path / "a", path=folder)) as a:
                    await a.bucket.put("a", b"3")
            assert time.monotonic() - began < 5
            await b.bucket.put("b", b"2")
            assert await b.bucket.get("a", 1) == b"3"


@pytest_twisted.ensureDeferred
async def test_what_dead_daemons_left_does_not_count_for_long(node: KuboNode, tmp_path: Path) -> None:
    folder = unique_folder()
    async with running(Backend(node.url, tmp_path, path=folder)) as backend:
        await backend.bucket.put("a", b"1")
        for number in range(3):
            put_marker(node, folder, f"daemon 0{number} {int(time.time() - EXPIRE_SECONDS - 10)}")
        take_marker(node, folder, state_marker(node, folder))
        began = time.monotonic()
        await backend.bucket.put("b", b"2")
        assert time.monotonic() - began < 3
        assert len(markers(node, folder)) == 2


@pytest_twisted.ensureDeferred
async def test_reading_needs_no_room(node: KuboNode, tmp_path: Path) -> None:
    folder = unique_folder()
    with Front(node).running() as front:
        async with running(Backend(front.url, tmp_path, path=folder)) as backend:
            await backend.bucket.put("a", b"1")
            for command in ("pin/add", "block/put", "add"):
                front.hooks[command] = lambda call: failure("no space left on device")
            for _ in range(2):
                with pytest.raises(Full):
                    await backend.bucket.put("b", b"2")
                assert await backend.bucket.get("a", 1) == b"1"
            async with running(Backend(front.url, tmp_path / "another", path=folder)) as another:
                assert await another.bucket.get("a", 1) == b"1"
                assert await another.bucket.list("none") == []
            front.hooks.clear()
            await backend.bucket.put("b", b"2")


@pytest_twisted.ensureDeferred
async def test_states_that_were_left_pinned_are_let_go_of(node: KuboNode, tmp_path: Path) -> None:
    folder, before = unique_folder(), pinned(node)
    async with running(Backend(node.url, tmp_path, path=folder)) as backend:
        await backend.bucket.put("a", b"1")
        left = root_of(node, folder)
        await backend.bucket.put("b", b"2")
    node.rpc("pin/add", left)
    async with running(Backend(node.url, tmp_path / "another", path=folder)) as backend:
        await backend.bucket.put("c", b"3")
        assert pinned(node) - before == {root_of(node, folder)}


@pytest_twisted.ensureDeferred
async def test_a_pin_that_could_not_be_removed_is_removed_later(node: KuboNode, tmp_path: Path) -> None:
    folder, before = unique_folder(), pinned(node)
    with Front(node).running() as front:
        async with running(Backend(front.url, tmp_path, path=folder)) as backend:
            await backend.bucket.put("a", b"1")
            bucket: Any = backend.opened.bucket
            content = backend.spooled(bytes(200_000))
            cid = node.command("add", "-Qn", "--cid-version=1", str(content)).strip()
            await bucket.commits.pins.note(cid)
            node.command("add", "-Q", "--cid-version=1", str(content))
            front.hooks["pin/rm"] = lambda call: failure("not now") if call.arguments == [cid] else None
            await bucket.commits.pins.unpin(cid)
            assert cid in pinned(node)
    async with running(Backend(node.url, tmp_path, path=folder)) as backend:
        await backend.bucket.put("b", b"2")
        assert pinned(node) - before == {root_of(node, folder)}


@pytest_twisted.ensureDeferred
async def test_a_node_that_was_restored_from_a_copy(node: KuboNode, tmp_path: Path) -> None:
    """What was acknowledged since then is not 404."""
    folder = unique_folder()
    async with running(Backend(node.url, tmp_path, path=folder)) as backend:
        await backend.bucket.put("a", b"1")
        old, old_marker = root_of(node, folder), state_marker(node, folder)
        node.rpc("pin/add", old)
        await backend.bucket.put("b", b"2")
    node.rpc("pin/rm", root_of(node, folder))
    take_marker(node, folder, state_marker(node, folder))
    node.rpc("pin/add", old)
    put_marker(node, folder, old_marker)
    async with running(Backend(node.url, tmp_path, path=folder)) as backend:
        with pytest.raises(Unavailable, match="restored from a copy"):
            await backend.bucket.get("b", LIMIT)
        with pytest.raises(Unavailable, match="restored from a copy"):
            await backend.bucket.put("c", b"3")
    (tmp_path / "kubo.json").unlink()
    async with running(Backend(node.url, tmp_path, path=folder)) as backend:
        assert await names(backend.bucket, "none") == []
        await backend.bucket.put("c", b"3")
        assert await backend.bucket.get("a", 1) == b"1"


@pytest_twisted.ensureDeferred
async def test_somebody_elses_pins_are_of_no_concern(node: KuboNode, tmp_path: Path) -> None:
    folder = unique_folder()
    large = tmp_path / "large"
    large.write_bytes(bytes(5 * 1024 * 1024))
    cid = node.command("block", "put", "--cid-codec=dag-pb", "--allow-big-block", "--pin", str(large)).strip()
    try:
        async with running(Backend(node.url, tmp_path / "state", path=folder)) as backend:
            await backend.bucket.put("a", b"1")
            take_marker(node, folder, state_marker(node, folder))
            assert await backend.bucket.get("a", 1) == b"1"
            await backend.bucket.put("b", b"2")
    finally:
        node.rpc("pin/rm", cid)


@pytest_twisted.ensureDeferred
async def test_a_state_that_was_unpinned_by_hand(node: KuboNode, tmp_path: Path, log: list[LogEvent]) -> None:
    folder = unique_folder()
    async with running(Backend(node.url, tmp_path, path=folder)) as backend:
        await backend.bucket.put("a", b"1")
        node.rpc("pin/rm", root_of(node, folder))
        assert await backend.bucket.get("a", 1) == b"1"
        assert [event for event in log if "unpinned" in formatEvent(event)]
        await backend.bucket.put("b", b"2")
        assert root_of(node, folder) in pinned(node)
        assert await backend.bucket.get("a", 1) == b"1"


@pytest_twisted.ensureDeferred
async def test_a_state_that_was_unpinned_and_collected(node: KuboNode, tmp_path: Path) -> None:
    """Nothing is acknowledged upon what is not there any more."""
    folder = unique_folder()
    async with running(Backend(node.url, tmp_path, path=folder)) as backend:
        await backend.bucket.put("a/b/c", b"1")
        await pause(1.5)  # the folder of the MFS shows it, and keeps it
        node.rpc("files/rm", folder, recursive=True, force=True)
        node.rpc("pin/rm", root_of(node, folder))
        node.rpc("repo/gc", silent=True)
        with pytest.raises(Unavailable, match="unpinned"):
            await backend.bucket.put("b", b"2")
