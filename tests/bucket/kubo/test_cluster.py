"""The backend at a cluster's proxy: explicit pins are what counts, and the index outlives the peer."""

import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent, formatEvent

from ipfsreg.bucket.errors import Unavailable
from ipfsreg.bucket.kubo.state import pins
from ipfsreg.ipfs.cid import DAG_PB, cid_of
from tests.bucket.contract import BucketContract
from tests.bucket.helpers import LIMIT, names, read
from tests.bucket.running import pause, reactor, running
from tests.bucket.storage import Storage

from .backend import Backend, KuboStorage, unique_folder
from .cluster import ClusterProxy
from .front import Answer
from .node import KuboNode, running_node


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is replaced is unpinned soon."""
    monkeypatch.setattr(pins, "KEPT_SECONDS", 0.05)
    monkeypatch.setattr(pins, "LAST_SECONDS", 0.2)
    monkeypatch.setattr(pins, "PACE_SECONDS", 0.0)


@pytest.fixture
def proxy(node: KuboNode) -> Iterator[ClusterProxy]:
    with ClusterProxy(node).running() as proxy:
        assert isinstance(proxy, ClusterProxy)
        yield proxy


async def eventually(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    end = reactor.seconds() + 10
    while not condition():
        assert reactor.seconds() < end, "it does not become so"
        await pause(0.02)


class Behind(KuboStorage):
    def __init__(self, proxy: ClusterProxy, directory: Path) -> None:
        super().__init__(proxy.node, directory, api=proxy.url)


class TestCluster:
    """The parts of the contract where a cluster could differ."""

    CONTENT = BucketContract.CONTENT

    @pytest_twisted.async_yield_fixture()
    async def storage(self, proxy: ClusterProxy, tmp_path: Path) -> AsyncIterator[Storage]:
        storage = Behind(proxy, tmp_path)
        await storage.reopened()
        yield storage
        await storage.close()

    test_put_file = BucketContract.test_put_file
    test_ranges = BucketContract.test_ranges
    test_removing = BucketContract.test_removing
    test_moving = BucketContract.test_moving
    test_missing = BucketContract.test_missing
    test_one_wins = BucketContract.test_one_of_many_writers_wins
    test_durable = BucketContract.test_what_was_acknowledged_outlives_the_daemon


@pytest_twisted.ensureDeferred
async def test_the_cluster_is_noticed_and_pins_each_state(
    proxy: ClusterProxy, tmp_path: Path, log: list[LogEvent]
) -> None:
    async with running(Backend(proxy.url, tmp_path, path=unique_folder())) as backend:
        await backend.bucket.put_file("blobs/x", backend.spooled(os.urandom(3_000_000)))
        by_cid = backend.opened.ipfs.content_by_cid
        assert by_cid is not None
        first = await by_cid.root()
        assert first in proxy.pins
        await backend.bucket.put("tag", b"1")
        # The last one stays while the peers may be at the new one, and not longer.
        assert proxy.pins >= {await by_cid.root(), first}
        last = {await by_cid.root()}
        await eventually(lambda: proxy.pins == last)
    told = [formatEvent(event) for event in log]
    assert any("behind a cluster's proxy" in line for line in told)
    assert any("Run it when nobody pushes" in line for line in told)
    # Nothing is told to stay offline: another peer of the cluster may have it.
    assert not [call for call in proxy.calls if call.options.get("offline") == "true"]


@pytest_twisted.ensureDeferred
async def test_what_the_cluster_unpinned_is_pinned_again(proxy: ClusterProxy, tmp_path: Path) -> None:
    async with running(Backend(proxy.url, tmp_path, path=unique_folder())) as backend:
        await backend.bucket.put("a", b"1")
        await eventually(lambda: len(proxy.pins) == 1)
        (old,) = proxy.pins
        proxy.pins.clear()
        await deferToThread(proxy.node.rpc, "pin/rm", old)
        await backend.bucket.put("b", b"2")
        assert len(proxy.pins) == 1
        assert old not in proxy.pins
        assert await names(backend.bucket, "none") == []


@pytest_twisted.ensureDeferred
async def test_the_index_comes_back_on_another_peer(tmp_path: Path) -> None:
    """The MFS is one peer's own: the daemon knows the state that it stored last, and the cluster has it."""
    folder, content = unique_folder(), os.urandom(700_000)
    first, second = tmp_path / "first", tmp_path / "second"
    with running_node(first, online=True) as old, running_node(second, online=True) as new:
        address = old.rpc("id")[0]["Addresses"][0]
        new.rpc("swarm/connect", address)
        with ClusterProxy(old).running() as proxy:
            async with running(Backend(proxy.url, tmp_path / "state", path=folder)) as backend:
                await backend.bucket.put_file("blobs/x", backend.spooled(content))
                await backend.bucket.put("tags/1", b"a tag")
            pins = proxy.pins  # type: ignore[attr-defined]
        with ClusterProxy(new).running() as proxy:
            for cid in pins:  # as a cluster does where a peer is lost
                new.rpc("pin/add", cid)
            proxy.pins = pins  # type: ignore[attr-defined]
            async with running(Backend(proxy.url, tmp_path / "state", path=folder)) as backend:
                assert await read(backend.bucket, "blobs/x") == content
                assert await backend.bucket.get("tags/1", LIMIT) == b"a tag"
                await backend.bucket.put("tags/2", b"another")
                assert await names(backend.bucket, "tags") == ["1", "2"]
                await eventually(lambda: len(proxy.pins) == 1)  # type: ignore[attr-defined]


@pytest_twisted.ensureDeferred
async def test_two_daemons_at_two_peers_share_the_index_of_one(tmp_path: Path) -> None:
    folder, content = unique_folder(), os.urandom(700_000)
    with (
        running_node(tmp_path / "first", online=True) as one,
        running_node(tmp_path / "second", online=True) as other,
    ):
        other.rpc("swarm/connect", one.rpc("id")[0]["Addresses"][0])
        with ClusterProxy(one).running() as proxy, ClusterProxy(other).running() as other_proxy:
            a = Backend(proxy.url, tmp_path / "a", path=folder)
            b = Backend(other_proxy.url, tmp_path / "b", path=folder, index=proxy.url)
            async with running(a), running(b):
                await a.bucket.put_file("blobs/x", a.spooled(content))
                assert await read(b.bucket, "blobs/x") == content
                await b.bucket.put_file("blobs/y", b.spooled(content + b"more"))
                assert await read(a.bucket, "blobs/y") == content + b"more"
                assert await names(a.bucket, "blobs") == ["x", "y"]


@pytest_twisted.ensureDeferred
async def test_an_answer_that_is_cut_off_is_asked_for_again(proxy: ClusterProxy, tmp_path: Path) -> None:
    """The proxy does that where the node answers while it still sends the request (seen with 1.1.6)."""
    async with running(Backend(proxy.url, tmp_path, path=unique_folder())) as backend:
        await backend.bucket.put("d/a", b"1")
        cuts = [Answer(cut=True), Answer(body=b'{"Key":"bafk', cut=True)]
        proxy.hooks["block/put"] = lambda _: cuts.pop() if cuts else None
        await backend.bucket.put("d/b", b"2")
        assert not cuts
        assert await backend.bucket.get("d/b", LIMIT) == b"2"
        proxy.hooks["block/put"] = lambda _: Answer(cut=True)
        with pytest.raises(Unavailable):
            await backend.bucket.put("d/c", b"3")


@pytest_twisted.ensureDeferred
async def test_why_the_cluster_takes_no_content_is_told(proxy: ClusterProxy, tmp_path: Path) -> None:
    why = "not enough peers to allocate CID. Needed at least: 2. Wanted at most: 2. Available candidates: 1."
    async with running(Backend(proxy.url, tmp_path, path=unique_folder())) as backend:
        await backend.bucket.put("d/a", b"1")
        proxy.hooks["add"] = lambda _: Answer(500, json.dumps({"code": 500, "message": why}).encode())
        for size in (100_000, 300_000):
            with pytest.raises(Unavailable, match="not enough peers"):
                await backend.bucket.put_file("d/b", backend.spooled(os.urandom(size)))
        assert await names(backend.bucket, "d") == ["a"]


@pytest_twisted.ensureDeferred
async def test_a_new_daemon_does_not_begin_beside_pins_that_nobody_has(proxy: ClusterProxy, tmp_path: Path) -> None:
    """One of them may be what this daemon is to go on with."""
    away = str(cid_of(DAG_PB, os.urandom(30)))
    proxy.pins |= {away, "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKXmb2", "bafkqaaa"}  # two that are no state
    folder = unique_folder()
    async with running(Backend(proxy.url, tmp_path, path=folder)) as backend:
        with pytest.raises(Unavailable, match="of 1 pins of the cluster nobody has the first block"):
            await backend.bucket.put("d/a", b"1")
        proxy.pins.remove(away)
        await backend.bucket.put("d/a", b"1")
        # Where the state itself is found they are of no importance.
        proxy.pins.add(away)
        await _forget_markers(proxy.node, folder)
        await backend.bucket.put("d/b", b"2")
        assert await names(backend.bucket, "d") == ["a", "b"]


@pytest_twisted.ensureDeferred
async def test_an_older_state_does_not_take_the_place_of_one_that_was_seen(proxy: ClusterProxy, tmp_path: Path) -> None:
    """A peer of a crdt cluster may not have heard of the newest pins when the one that made them is lost."""
    folder = unique_folder()
    async with running(Backend(proxy.url, tmp_path, path=folder)) as backend:
        by_cid = backend.opened.ipfs.content_by_cid
        assert by_cid is not None
        await backend.bucket.put("d/a", b"1")
        older = await by_cid.root()
        await backend.bucket.put("d/b", b"2")
        newest = await by_cid.root()
    await _forget_markers(proxy.node, folder)
    proxy.pins = {older}
    async with running(Backend(proxy.url, tmp_path, path=folder)) as backend:
        with pytest.raises(Unavailable, match="does this peer of a cluster not know of the newest pins"):
            await backend.bucket.get("d/a", LIMIT)
        proxy.pins.add(newest)
        assert await backend.bucket.get("d/b", LIMIT) == b"2"
        proxy.pins.remove(newest)
    await _forget_markers(proxy.node, folder)
    (tmp_path / "kubo.json").unlink()
    async with running(Backend(proxy.url, tmp_path, path=folder)) as backend:
        assert await names(backend.bucket, "d") == ["a"]


async def _forget_markers(node: KuboNode, folder: str) -> None:
    """Take away what says which state counts, as where that node is lost."""
    listed = await deferToThread(node.rpc, "files/ls", f"{folder}/markers")
    for each in listed[0]["Entries"] or ():
        if not each["Name"].startswith("daemon"):
            await deferToThread(node.rpc, "files/rm", f"{folder}/markers/{each['Name']}")
