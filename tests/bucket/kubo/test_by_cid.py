"""What the node offers beside a bucket: content of any CID, names, and copies elsewhere."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from ipfsreg.bucket.capabilities import ContentByCid
from ipfsreg.bucket.errors import BucketError, Corrupt, NotFound, Refused, Unavailable
from ipfsreg.bucket.interface import Entry
from ipfsreg.bucket.kubo.rpc import client as rpc_module
from ipfsreg.bucket.kubo.rpc.address import Address
from ipfsreg.bucket.kubo.rpc.body import FileBody
from ipfsreg.bucket.sources import MemorySource
from tests.bucket.helpers import LIMIT, read
from tests.bucket.running import reactor, running
from tests.bucket.storage import Collecting, read_into

from .backend import Backend, unique_folder
from .node import KuboNode
from .pinning_service import KEY, PinningService

ABSENT = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5f"


@pytest_twisted.async_yield_fixture()
async def backend(nodes: tuple[KuboNode, KuboNode], tmp_path: Path) -> AsyncIterator[Backend]:
    async with running(Backend(nodes[1].url, tmp_path, path=unique_folder(), network_timeout=2.0)) as backend:
        yield backend


def by_cid_of(backend: Backend) -> ContentByCid:
    found = backend.opened.ipfs.content_by_cid
    assert found is not None
    return found


async def content_of(by_cid: ContentByCid, cid: str, size: int | None = None) -> bytes:
    reader = await by_cid.open_cid(cid, size)
    assert reader.size is not None
    consumer = Collecting()
    await read_into(reader, consumer, 0, reader.size)
    reader.close()
    return consumer.content


@pytest_twisted.ensureDeferred
async def test_content_of_the_network(nodes: tuple[KuboNode, KuboNode], backend: Backend) -> None:
    by_cid, content = by_cid_of(backend), os.urandom(2_500_000)
    cid = nodes[0].command("add", "-Q", "--cid-version=1", data=content).strip()
    assert await content_of(by_cid, cid) == content
    assert await content_of(by_cid, cid, len(content)) == content
    with pytest.raises(Corrupt):
        await by_cid.open_cid(cid, 17)
    reader, consumer = await by_cid.open_cid(cid, None), Collecting()
    await read_into(reader, consumer, 1_000_000, 5)
    assert consumer.content == content[1_000_000:1_000_005]


@pytest_twisted.ensureDeferred
async def test_a_path_below_a_directory(nodes: tuple[KuboNode, KuboNode], backend: Backend, tmp_path: Path) -> None:
    (tmp_path / "image/manifests").mkdir(parents=True)
    (tmp_path / "image/manifests/latest").write_bytes(b"{}")
    cid = nodes[0].command("add", "-Q", "-r", str(tmp_path / "image")).strip()
    by_cid = by_cid_of(backend)
    assert await content_of(by_cid, f"{cid}/manifests/latest") == b"{}"
    for missing in (f"{cid}/manifests/none", f"{cid}/manifests", cid):
        with pytest.raises(NotFound):
            await by_cid.open_cid(missing, None)
    view = by_cid.view(cid)
    assert list(await view.list("manifests")) == [Entry("latest", False)]
    assert await view.get("manifests/latest", 10) == b"{}"
    with pytest.raises(Refused):
        await view.put("x", b"")


@pytest_twisted.ensureDeferred
async def test_what_nobody_has_takes_a_bounded_time(backend: Backend) -> None:
    with pytest.raises(Unavailable):
        await by_cid_of(backend).open_cid(ABSENT, None)


@pytest.mark.parametrize("cid", ["", "latest", "../../x", "bafk\0", "a/b", f"{ABSENT}/../x", f"{ABSENT}?arg=x"])
@pytest_twisted.ensureDeferred
async def test_what_is_no_cid_is_not_there(backend: Backend, cid: str) -> None:
    with pytest.raises(NotFound):
        await by_cid_of(backend).open_cid(cid, None)


@pytest_twisted.ensureDeferred
async def test_the_root_is_a_bucket_for_another_node(
    nodes: tuple[KuboNode, KuboNode], backend: Backend, tmp_path: Path
) -> None:
    async with running(Backend(nodes[0].url, tmp_path / "other", path=unique_folder())) as other:
        content = os.urandom(400_000)
        await backend.bucket.put_file("blobs/x", backend.spooled(content))
        await backend.bucket.put("repositories/a/_tags/1", b"sha256:00")
        root = await by_cid_of(backend).root()
        view = by_cid_of(other).view(root)
        assert await read(view, "blobs/x") == content
        found = [each.directory async for listings in view.walk("repositories") for each in listings]
        assert found == ["repositories", "repositories/a", "repositories/a/_tags"]
        assert await view.get("repositories/a/_tags/1", LIMIT) == b"sha256:00"


@pytest_twisted.ensureDeferred
async def test_names(nodes: tuple[KuboNode, KuboNode], backend: Backend, tmp_path: Path) -> None:
    by_cid = by_cid_of(backend)
    await backend.bucket.put("a", b"1")
    first = await by_cid.root()
    name = await by_cid.publish(first, "mirror")
    assert await by_cid.resolve(f"/ipns/{name}") == first
    await backend.bucket.put("a", b"2")
    second = await by_cid.root()
    assert await by_cid.publish(second, "mirror") == name
    assert await by_cid.resolve(name) == second
    async with running(Backend(nodes[0].url, tmp_path / "other", path=unique_folder())) as other:
        assert await by_cid_of(other).resolve(name) == second
        assert await by_cid_of(other).view(second).get("a", 1) == b"2"
    with pytest.raises(BucketError):
        await by_cid.resolve("k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8")


@pytest_twisted.ensureDeferred
async def test_a_pinning_service_keeps_a_copy(node: KuboNode, tmp_path: Path) -> None:
    with PinningService().running() as service:
        node.rpc("pin/remote/service/add", "copies", service.url, KEY)
        async with running(Backend(node.url, tmp_path, path=unique_folder())) as backend:
            remote, by_cid = backend.opened.ipfs.remote_pins, by_cid_of(backend)
            assert remote is not None
            await backend.bucket.put("a", b"1")
            first = await by_cid.root()
            await remote.keep_copy("copies")
            await remote.keep_copy("copies")
            assert service.states() == {first: "queued"}
            await backend.bucket.put("a", b"2")
            second = await by_cid.root()
            await remote.keep_copy("copies")
            assert service.states() == {first: "queued", second: "queued"}
            # The older state goes when the newer one is there, and not before.
            await remote.keep_copy("copies")
            assert len(service.states()) == 2
            service.become("pinned")
            await remote.keep_copy("copies")
            assert service.states() == {second: "pinned"}
            # Nor does it stay for ever where the newest is never there yet.
            await backend.bucket.put("a", b"3")
            third = await by_cid.root()
            await remote.keep_copy("copies")
            await backend.bucket.put("a", b"4")
            fourth = await by_cid.root()
            await remote.keep_copy("copies")
            assert service.states() == {second: "pinned", third: "queued", fourth: "queued"}
            next(each for each in service.pins.values() if each["pin"]["cid"] == third)["status"] = "pinned"
            await backend.bucket.put("a", b"5")
            second = await by_cid.root()
            await remote.keep_copy("copies")
            assert service.states() == {third: "pinned", fourth: "queued", second: "queued"}
            service.become("pinned")
            await remote.keep_copy("copies")
            assert service.states() == {second: "pinned"}
            # What failed is asked for again.
            service.become("failed")
            await remote.keep_copy("copies")
            assert service.states() == {second: "queued"}
            with pytest.raises(BucketError):
                await remote.keep_copy("nobody")
        # Somebody else's pins at the service are left alone.
        assert len(service.pins) == 1


class _Endless(Protocol):
    def dataReceived(self, data: bytes) -> None:
        if self.transport is not None and not self.sending:
            self.sending = True
            self.transport.write(b"HTTP/1.0 200 OK\r\n\r\n")
            self.more = LoopingCall(self.transport.write, b" " * 10_000)
            self.more.start(0.005)

    sending = False

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.more.stop()


@pytest_twisted.ensureDeferred
async def test_an_answer_without_an_end_is_given_up_while_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc_module, "ANSWER_MAX", 50_000)
    port = reactor.listenTCP(0, Factory.forProtocol(_Endless), interface="127.0.0.1")
    rpc = rpc_module.Rpc(reactor, lambda: Address(f"http://127.0.0.1:{port.getHost().port}"), None, 2, 3.0)
    with pytest.raises(Unavailable, match="longer than it can be"):
        await rpc.send("add", {}, FileBody(MemorySource(b"x"), reactor))
    await rpc.stop()
    await port.stopListening()
