"""The backend at the proxies of a real IPFS Cluster of two peers, each with a node of its own."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from ipfsreg.bucket.errors import BucketError, Unavailable
from ipfsreg.bucket.kubo.state import pins
from tests.bucket.contract import BucketContract
from tests.bucket.helpers import LIMIT, names, read, together
from tests.bucket.running import pause, reactor, running
from tests.bucket.storage import Storage
from tests.clients.programs import thorough

from .backend import Backend, KuboStorage, unique_folder
from .node import running_node
from .real_cluster import ClusterPeer, running_cluster
from .state import pinned

PIN_PATIENCE = 40.0


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ClusterPeer]]:
    with running_cluster(tmp_path_factory.mktemp("cluster"), 2, replication=(1, 2)) as peers:
        yield peers


async def becomes(condition: Callable[[], object], what: str) -> None:
    """Wait until something is so; it may ask servers."""
    end = reactor.seconds() + PIN_PATIENCE
    while not await deferToThread(condition):
        assert reactor.seconds() < end, f"never: {what}"
        await pause(0.1)


async def put_when_it_can(backend: Backend, path: str, content: bytes) -> None:
    """Store a file once the cluster takes changes: raft elects a new leader first, and fails meanwhile."""
    end = reactor.seconds() + PIN_PATIENCE
    while True:
        try:
            await backend.bucket.put(path, content)
            return
        except Unavailable:
            if reactor.seconds() > end:
                raise
        await pause(0.5)


async def everywhere(peer: ClusterPeer, root: str) -> None:
    """Wait until both peers have pinned it."""
    await becomes(lambda: list(peer.states(root).values()) == ["pinned"] * 2, "both have pinned it")


async def root_of(backend: Backend) -> str:
    assert backend.opened.ipfs.content_by_cid is not None
    return await backend.opened.ipfs.content_by_cid.root()


@pytest_twisted.ensureDeferred
async def test_each_state_is_at_both_peers(peers: list[ClusterPeer], tmp_path: Path) -> None:
    one, other = peers
    content = os.urandom(3_000_000)
    async with running(Backend(one.proxy, tmp_path, path=unique_folder())) as backend:
        await backend.bucket.put_file("blobs/x", backend.spooled(content))
        await backend.bucket.put("tags/1", b"a tag")
        root = await root_of(backend)
    await everywhere(one, root)
    assert root in await deferToThread(pinned, other.node)
    one.node.kill()
    try:
        here = await deferToThread(other.node.command, "ls", "--offline", f"/ipfs/{root}/blobs")
        assert "x" in here
        assert await deferToThread(other.node.command, "cat", "--offline", f"/ipfs/{root}/tags/1") == "a tag"
        found = await deferToThread(other.node.rpc, "files/stat", f"/ipfs/{root}", with_local=True, offline=True)
        assert found[0]["Local"] is True
        # Its number is in a CID, of which there is no block to be replicated.
        number = await deferToThread(other.node.command, "cat", "--offline", f"/ipfs/{root}/.ipfsreg")
        assert number.startswith("ipfsreg ")
    finally:
        one.node.start()


@pytest_twisted.ensureDeferred
async def test_what_the_cluster_says_of_what_is_not_pinned(peers: list[ClusterPeer], tmp_path: Path) -> None:
    async with running(Backend(peers[0].proxy, tmp_path, path=unique_folder())) as backend:
        await backend.bucket.put("d/a", b"1")
        first = await root_of(backend)
        await deferToThread(peers[0].rpc, "pin/rm", first)
        await backend.bucket.put("d/b", b"2")
        assert first not in peers[0].pins()
        assert await root_of(backend) in peers[0].pins()
        assert await names(backend.bucket, "d") == ["a", "b"]


@pytest_twisted.ensureDeferred
async def test_its_pinning_service_keeps_a_copy(peers: list[ClusterPeer], tmp_path: Path) -> None:
    """Of a registry on a node elsewhere, from which it fetches what it pins."""
    one, other = peers
    with running_node(tmp_path / "node", online=True) as node:
        node.rpc("pin/remote/service/add", "copies", one.service, await deferToThread(one.token))
        node.rpc("pin/remote/service/add", "stolen", one.service, "not-the-key")
        async with running(Backend(node.url, tmp_path / "state", path=unique_folder())) as backend:
            remote = backend.opened.ipfs.remote_pins
            assert remote is not None
            kept: list[str] = []
            for number in range(3):
                await backend.bucket.put_file("blobs/x", backend.spooled(os.urandom(300_000)))
                await backend.bucket.put("number", str(number).encode())
                kept.append(await root_of(backend))
                await remote.keep_copy("copies")
                # What it has already stays until it has the newer one.
                assert await deferToThread(one.pins) >= set(kept[-2:])
                await everywhere(one, kept[-1])
                await remote.keep_copy("copies")
                assert not await deferToThread(one.pins) & set(kept[:-1])
            with pytest.raises(BucketError, match="unauthorized"):
                await remote.keep_copy("stolen")
        node.kill()
        here = await deferToThread(other.node.rpc, "files/stat", f"/ipfs/{kept[-1]}", with_local=True, offline=True)
        assert here[0]["Local"] is True
        node.start()


class TestRealCluster:
    """The parts of the contract where a cluster could differ."""

    CONTENT = BucketContract.CONTENT

    @pytest_twisted.async_yield_fixture()
    async def storage(self, peers: list[ClusterPeer], tmp_path: Path) -> AsyncIterator[Storage]:
        storage = KuboStorage(peers[0].node, tmp_path, api=peers[0].proxy)
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


@thorough
@pytest.mark.parametrize("batching", [(0, "0s"), (100, "1s")])
@pytest_twisted.ensureDeferred
async def test_two_daemons_at_two_peers_share_the_index_of_one(
    batching: tuple[int, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither peer knows at once what was pinned at the other; with batching not even what was pinned at itself."""
    monkeypatch.setattr(pins, "KEPT_SECONDS", 3.0)
    folder, content = unique_folder(), os.urandom(700_000)
    with running_cluster(tmp_path / "cluster", 2, replication=(1, 2), batching=batching) as (one, other):
        a = Backend(one.proxy, tmp_path / "a", path=folder)
        b = Backend(other.proxy, tmp_path / "b", path=folder, index=one.proxy)
        async with running(a), running(b):
            await a.bucket.put_file("blobs/x", a.spooled(content))
            assert await read(b.bucket, "blobs/x") == content
            await b.bucket.put_file("blobs/y", b.spooled(content + b"more"))
            assert await read(a.bucket, "blobs/y") == content + b"more"

            async def many(backend: Backend, name: str) -> None:
                for number in range(15):
                    await backend.bucket.put(f"many/{name}{number}", b"1")

            await together(many(a, "a"), many(b, "b"))
            assert len(await names(a.bucket, "many")) == len(await names(b.bucket, "many")) == 30
            root = await root_of(a)
            # The last one that was replaced stays for a minute.
            await becomes(lambda: root in one.pins() == other.pins() and len(one.pins()) <= 3, "the peers agree")
            await everywhere(one, root)


@thorough
@pytest_twisted.ensureDeferred
async def test_a_rush_of_changes_is_replicated_to_the_last(tmp_path: Path) -> None:
    """A peer of a crdt cluster passes over the last of them, until it hears of something else."""
    with running_cluster(tmp_path / "cluster", 2) as (one, other):
        async with running(Backend(one.proxy, tmp_path / "state", path=unique_folder())) as backend:
            for number in range(150):
                await backend.bucket.put(f"d/{number}", os.urandom(100))
            root = await root_of(backend)
            await becomes(lambda: root in pinned(other.node), "the other node has pinned the last state")
            await becomes(lambda: len(one.pins()) <= 2 and one.pins() == other.pins(), "the others are unpinned")
            assert root in one.pins()


@thorough
@pytest.mark.parametrize("consensus", ["crdt", "raft"])
@pytest_twisted.ensureDeferred
async def test_the_index_comes_back_on_another_peer(consensus: str, tmp_path: Path) -> None:
    folder, content = unique_folder(), os.urandom(700_000)
    number = 2 if consensus == "crdt" else 3  # raft needs more than half of them
    with running_cluster(tmp_path / "cluster", number, consensus=consensus) as (one, other, *_):
        async with running(Backend(one.proxy, tmp_path / "state", path=folder)) as backend:
            await backend.bucket.put_file("blobs/x", backend.spooled(content))
            await backend.bucket.put("tags/1", b"a tag")
            root = await root_of(backend)
        await becomes(lambda: root in pinned(other.node), "the other node has pinned it")
        one.kill()
        one.node.kill()
        async with running(Backend(other.proxy, tmp_path / "state", path=folder)) as backend:
            await backend.answers()
            assert await read(backend.bucket, "blobs/x") == content
            assert await backend.bucket.get("tags/1", LIMIT) == b"a tag"
            await put_when_it_can(backend, "tags/2", b"another")
            assert await names(backend.bucket, "tags") == ["1", "2"]
            # Another daemon, that was never there, finds it too.
            async with running(Backend(other.proxy, tmp_path / "new", path=folder)) as new:
                assert await names(new.bucket, "tags") == ["1", "2"]


@thorough
@pytest_twisted.ensureDeferred
async def test_too_few_peers_are_an_outage(tmp_path: Path) -> None:
    with running_cluster(tmp_path / "cluster", 2, replication=(2, 2)) as (one, other):
        async with running(Backend(one.proxy, tmp_path / "state", path=unique_folder())) as backend:
            await backend.bucket.put_file("d/a", backend.spooled(os.urandom(100_000)))
            other.kill()
            await becomes(lambda: one.candidates() == {one.id}, "its absence is noticed")
            with pytest.raises(Unavailable, match="not enough peers"):
                await backend.bucket.put_file("d/b", backend.spooled(os.urandom(100_000)))
            assert await names(backend.bucket, "d") == ["a"]


@thorough
class TestMoreOfIt(TestRealCluster):
    """Hundreds of changes, some of whose answers are cut off."""

    test_come_and_go = BucketContract.test_directories_that_come_and_go
    test_walking = BucketContract.test_a_long_walk_misses_nothing_beside_changes
    test_outage = BucketContract.test_an_outage_never_looks_like_an_absence
