"""The backend at a cluster's proxy: explicit pins are what counts, and the index outlives the peer."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent, formatEvent

from ..bucket.contract import BucketContract
from ..bucket.helpers import LIMIT, names, read
from ..bucket.running import running
from ..bucket.storage import Storage
from .backend import Backend, KuboStorage, unique_folder
from .cluster import ClusterProxy
from .node import KuboNode, running_node


@pytest.fixture
def proxy(node: KuboNode) -> Iterator[ClusterProxy]:
    with ClusterProxy(node).running() as proxy:
        assert isinstance(proxy, ClusterProxy)
        yield proxy


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
        by_cid = backend.opened.content_by_cid
        assert by_cid is not None
        first = await by_cid.root()
        assert proxy.pins == {first}
        await backend.bucket.put("tag", b"1")
        assert proxy.pins == {await by_cid.root()} != {first}
    assert any("behind a cluster's proxy" in formatEvent(event) for event in log)
    # Nothing is told to stay offline: another peer of the cluster may have it.
    assert not [call for call in proxy.calls if call.options.get("offline") == "true"]


@pytest_twisted.ensureDeferred
async def test_what_the_cluster_unpinned_is_pinned_again(proxy: ClusterProxy, tmp_path: Path) -> None:
    async with running(Backend(proxy.url, tmp_path, path=unique_folder())) as backend:
        await backend.bucket.put("a", b"1")
        (old,) = proxy.pins
        proxy.pins.clear()
        await deferToThread(proxy.node.rpc, "pin/rm", old)
        await backend.bucket.put("b", b"2")
        assert len(proxy.pins) == 1
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
                assert len(proxy.pins) == 1  # type: ignore[attr-defined]


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
