"""The folder on the node: locks that were left behind, crashes between two steps, and other people's hands in it."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from ipfsreg.bucket.errors import Unavailable

from ..bucket.helpers import LIMIT, names, together
from .backend import Backend, pause, running, unique_folder
from .front import Front
from .node import KuboNode


def root_of(node: KuboNode, folder: str) -> str:
    return node.command("files", "read", f"{folder}/root").strip()


def pinned(node: KuboNode) -> set[str]:
    return set(node.rpc("pin/ls", type="recursive")[0].get("Keys") or {})


@pytest_twisted.ensureDeferred
async def test_exactly_the_state_that_counts_is_pinned(node: KuboNode, tmp_path: Path) -> None:
    folder, before = unique_folder(), pinned(node)
    async with running(Backend(node.url, tmp_path, path=folder)) as backend:
        for number in range(5):
            await backend.bucket.put(f"a/{number}", b"1")
            assert pinned(node) - before == {root_of(node, folder)}
        await backend.bucket.remove("a/0")
        assert pinned(node) - before == {root_of(node, folder)}
    listed = node.command("files", "ls", f"{folder}/bucket/a").split()
    assert listed == ["1", "2", "3", "4"]
    assert "lock" not in node.command("files", "ls", folder)


@pytest_twisted.ensureDeferred
async def test_what_waits_goes_in_one_batch(node: KuboNode, tmp_path: Path) -> None:
    with Front(node).running() as front:
        async with running(Backend(front.url, tmp_path, path=unique_folder())) as backend:
            await backend.bucket.put("first", b"")
            front.calls.clear()
            await together(*(backend.bucket.put(f"d/{number}", b"%d" % number) for number in range(30)))
            assert len(front.of("pin/update")) <= 15
            assert len(await names(backend.bucket, "d")) == 30


@pytest_twisted.ensureDeferred
async def test_a_lock_that_its_daemon_left_behind(node: KuboNode, tmp_path: Path) -> None:
    folder = unique_folder()
    async with running(Backend(node.url, tmp_path, path=folder, timeout=0.3)) as backend:
        await backend.bucket.put("a", b"1")
        node.command("files", "cp", f"/ipfs/{node.command('add', '-Q', data=b'somebody').strip()}", f"{folder}/lock")
        began = time.monotonic()
        while True:
            try:
                await backend.bucket.put("b", b"2")
                break
            except Unavailable:
                assert time.monotonic() - began < 10
        assert time.monotonic() - began > 1.0, "not at once: it may be alive"
        assert await backend.bucket.get("b", 1) == b"2"


@pytest_twisted.ensureDeferred
async def test_its_own_lock_is_known_after_a_kill(node: KuboNode, tmp_path: Path) -> None:
    folder = unique_folder()
    first: Any = await Backend(node.url, tmp_path, path=folder).start()
    await first.bucket.put("a", b"1")
    await first.bucket._index._lock.acquire()  # and is killed
    await first.stop()
    began = time.monotonic()
    async with running(Backend(node.url, tmp_path, path=folder)) as backend:
        await backend.bucket.put("b", b"2")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("pointer_written", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_crash_between_the_pin_and_the_pointer(node: KuboNode, tmp_path: Path, pointer_written: bool) -> None:
    folder, before = unique_folder(), pinned(node)
    async with running(Backend(node.url, tmp_path, path=folder)) as backend:
        await backend.bucket.put("a", b"1")
        old = root_of(node, folder)
        await backend.bucket.put("b", b"2")
        new = root_of(node, folder)
    if not pointer_written:
        node.rpc("files/rm", f"{folder}/root")
        node.command("files", "write", "--create", f"{folder}/root", data=old.encode())
    noted = json.loads((tmp_path / "kubo.json").read_text())
    (tmp_path / "kubo.json").write_text(json.dumps({**noted, "root": old, "pinning": new}))
    async with running(Backend(node.url, tmp_path, path=folder)) as backend:
        assert await names(backend.bucket, "none") == []
        assert await backend.bucket.get("b", 1) == b"2"
        assert pinned(node) - before == {new}


@pytest_twisted.ensureDeferred
async def test_a_crash_before_the_pin(node: KuboNode, tmp_path: Path) -> None:
    folder, before = unique_folder(), pinned(node)
    async with running(Backend(node.url, tmp_path, path=folder)) as backend:
        await backend.bucket.put("a", b"1")
    node.command("files", "write", "--create", f"{folder}/bucket/unacknowledged", data=b"x")
    async with running(Backend(node.url, tmp_path, path=folder)) as backend:
        with pytest.raises(Exception, match="no link"):
            await backend.bucket.get("unacknowledged", 1)
        await backend.bucket.put("b", b"2")
        assert pinned(node) - before == {root_of(node, folder)}
    assert sorted(node.command("files", "ls", f"{folder}/bucket").split()) == [".ipfsreg", "a", "b"]


@pytest_twisted.ensureDeferred
async def test_a_folder_whose_blocks_are_lost_is_made_anew(node: KuboNode, tmp_path: Path) -> None:
    folder = unique_folder()
    async with running(Backend(node.url, tmp_path, path=folder)) as backend:
        await backend.bucket.put("a", b"1")
        cid = node.rpc("files/stat", f"{folder}/root")[0]["Hash"]
        await deferToThread(node.rpc, "block/rm", cid, force=True)
        assert await backend.bucket.get("a", 1) == b"1"
        await backend.bucket.put("b", b"2")
        assert await names(backend.bucket, "none") == []
        assert root_of(node, folder)


@pytest_twisted.ensureDeferred
async def test_a_state_that_may_be_old_is_not_brought_back(node: KuboNode, tmp_path: Path) -> None:
    folder = unique_folder()
    async with running(Backend(node.url, tmp_path / "a", path=folder)) as a:
        await a.bucket.put("a", b"1")
        async with running(Backend(node.url, tmp_path / "b", path=folder)) as b:
            await b.bucket.put("b", b"2")
            node.rpc("files/rm", folder, recursive=True)
            await pause(0.05)
            with pytest.raises(Unavailable):
                await a.bucket.get("a", 1)
            with pytest.raises(Unavailable, match=r"kubo\.json"):
                await a.bucket.get("a", 1)
            # The one that stored last brings it back, for both.
            await b.answers()
            assert await b.bucket.get("b", LIMIT) == b"2"
            await a.answers()
            assert await a.bucket.get("b", LIMIT) == b"2"
