"""``HOST/ipfs/<CID>``: images by CID, from this registry and from a network."""

import base64
import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_twisted

from ipfsreg.ipfs.cid import CID, DAG_PB, SHA2_256, parse_cid, raw_cid
from ipfsreg.registry.ipfs.image_reader import LISTED_MAX
from tests.ipfs.network import Network, missing
from tests.web.client import Answer, until
from tests.web.served import (
    CONFIG_TYPE,
    INDEX_TYPE,
    LAYER_TYPE,
    MANIFEST_TYPE,
    Serve,
    Served,
    descriptor,
    digest_of,
    image,
)

MIB = 1024 * 1024


def cid_of(content: bytes) -> str:
    """The CID of content that is one block."""
    return str(raw_cid(hashlib.sha256(content).digest()))


def ipfs(content: bytes, media_type: str, cid: str | None = None) -> dict[str, Any]:
    """A descriptor with its URL."""
    return descriptor(content, media_type, urls=[f"ipfs://{cid or cid_of(content)}"])


def directory_cid(seed: bytes) -> CID:
    """A CID of some directory."""
    return CID(1, DAG_PB, SHA2_256, hashlib.sha256(seed).digest())


async def get(served: Served, cid: object, what: str, method: str = "GET", **headers: object) -> Answer:
    return await served.ask(method, f"/v2/ipfs/{cid}/{what}", headers)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    """A network behind the daemons of the test."""
    network = Network()
    network.behind_local(monkeypatch)
    return network


@pytest_twisted.async_yield_fixture()
async def known(registry: Served) -> AsyncIterator[Served]:
    """A daemon that knows of all that it has: what it does not know is not there."""
    await registry.daemon.registry.cid_refresh.run()
    yield registry


@pytest_twisted.ensureDeferred
async def test_an_image_of_this_registry(known: Served) -> None:
    layer = b"layer" * 300_000  # more than one block
    manifest = await known.push_image("1", "team/app", [layer])
    cid = cid_of(manifest)
    for reference in ("latest", digest_of(manifest)):
        answer = await get(known, cid, f"manifests/{reference}")
        assert (answer.status, answer.content) == (200, manifest)
        assert answer["content-type"] == MANIFEST_TYPE
        assert answer["docker-content-digest"] == digest_of(manifest)
        assert answer["x-ipfs-cid"] == cid
        head = await get(known, cid, f"manifests/{reference}", "HEAD")
        assert (head.status, head.content, head["content-length"]) == (200, b"", str(len(manifest)))
        etag = {"If-None-Match": f'"{digest_of(manifest)}"'}
        assert (await known.ask("GET", f"/v2/ipfs/{cid}/manifests/{reference}", etag)).status == 304
    for blob in (b"{}", layer):
        target = f"blobs/{digest_of(blob)}"
        answer = await get(known, cid, target)
        assert (answer.status, answer.content) == (200, blob)
        assert answer["content-type"] == "application/octet-stream"
        head = await get(known, cid, target, "HEAD")
        assert (head.status, head["content-length"]) == (200, str(len(blob)))
    part = await get(known, cid, f"blobs/{digest_of(layer)}", Range="bytes=7-11")
    assert (part.status, part.content) == (206, layer[7:12])
    assert part["content-range"] == f"bytes 7-11/{len(layer)}"
    assert (await get(known, cid, "tags/list")).json() == {"name": f"ipfs/{cid}", "tags": ["latest"]}


@pytest_twisted.ensureDeferred
async def test_only_what_the_cid_leads_to(known: Served) -> None:
    manifest = await known.push_image("1", "a", [b"mine"])
    other = await known.push_image("1", "b", [b"other"])
    cid = cid_of(manifest)
    assert (await get(known, cid, f"manifests/{digest_of(other)}")).error == (404, "MANIFEST_UNKNOWN")
    for blob in (b"other", manifest):
        assert (await get(known, cid, f"blobs/{digest_of(blob)}")).error == (404, "BLOB_UNKNOWN")
    assert (await get(known, cid, "manifests/1")).error == (404, "MANIFEST_UNKNOWN")


@pytest_twisted.ensureDeferred
async def test_what_is_no_image(known: Served) -> None:
    await known.push_image("1", "a", [b"layer", b"[1]", b'{"digest": "x"}', b"{" * 1000])
    for content in (b"layer", b"{}", b"[1]", b'{"digest": "x"}', b"{" * 1000):
        answer = await get(known, cid_of(content), "manifests/latest")
        assert answer.error == (404, "MANIFEST_UNKNOWN")
        assert "not an image" in answer.json()["errors"][0]["message"]
    answer = await get(known, cid_of(b"nowhere"), "manifests/latest")
    assert answer.error == (404, "MANIFEST_UNKNOWN")
    assert "no IPFS node to ask" in answer.json()["errors"][0]["message"]


@pytest_twisted.ensureDeferred
async def test_nothing_is_missing_before_all_is_known(known: Served) -> None:
    index = known.daemon.registry.dags.index
    await until(lambda: index.complete)  # the pass of the start is over: the next is a minute away
    index.complete = False
    answer = await get(known, cid_of(b"nowhere"), "manifests/latest")
    assert answer.error == (503, "UNAVAILABLE")
    assert "retry-after" in answer


@pytest_twisted.ensureDeferred
async def test_it_can_only_be_read(known: Served) -> None:
    manifest = await known.push_image("1", "a")
    cid, digest = cid_of(manifest), digest_of(manifest)
    for method, what in (
        ("PUT", "manifests/latest"),
        ("PUT", "manifests/other"),
        ("DELETE", f"manifests/{digest}"),
        ("DELETE", f"blobs/{digest_of(b'{}')}"),
        ("POST", "blobs/uploads/"),
        ("POST", f"blobs/uploads/?digest={digest_of(b'x')}"),
        ("PATCH", "blobs/uploads/some-session"),
        ("PUT", "blobs/uploads/some-session"),
    ):
        answer = await known.ask(method, f"/v2/ipfs/{cid}/{what}", None, manifest)
        assert answer.error == (405, "DENIED")
        assert answer["allow"] == "GET, HEAD"
    assert (await known.ask("GET", "/v2/_catalog")).json() == {"repositories": ["a"]}


@pytest_twisted.ensureDeferred
async def test_other_names_below_ipfs_are_names(known: Served) -> None:
    for name in ("ipfs/app", "ipfs/bafy", "ipfs", "ipfs/app/deep"):
        manifest = await known.push_image("1", name)
        assert (await known.ask("GET", f"/v2/{name}/manifests/1")).content == manifest
    looks_like_one = "b" + "a" * 58
    assert (await get(known, looks_like_one, "manifests/latest")).error == (404, "NAME_UNKNOWN")
    answer = await known.ask("PUT", f"/v2/ipfs/{looks_like_one}/manifests/latest", None, b"{}")
    assert answer.error == (400, "NAME_INVALID")


@pytest_twisted.ensureDeferred
async def test_private_repositories_are_not_shown(serve: Serve) -> None:
    served = await serve(gateway={"private": "secret/*"})
    await served.daemon.registry.cid_refresh.run()
    hidden = await served.push_image("1", "secret/app", [b"hidden"])
    assert (await get(served, cid_of(hidden), "manifests/latest")).error == (404, "MANIFEST_UNKNOWN")
    # A manifest that lists what is hidden does not bring it out.
    shown = image(layers=[b"hidden"], annotations={"not": "the same"})
    await served.push_blob(b"{}", "open")
    listing = json.loads(shown)
    listing["layers"][0]["urls"] = ["https://127.0.0.1/elsewhere"]
    content = json.dumps(listing).encode()
    assert (await served.push(content, "1", "open")).status == 201
    assert (await get(served, cid_of(content), "manifests/latest")).status == 200
    assert (await get(served, cid_of(content), f"blobs/{digest_of(b'hidden')}")).error == (404, "BLOB_UNKNOWN")


@pytest_twisted.ensureDeferred
async def test_the_node_does_not_give_what_is_private(network: Network, serve: Serve) -> None:
    """A node below the bucket has all that is in it."""
    served = await serve(gateway={"private": "secret, internal/*"})
    await served.daemon.registry.cid_refresh.run()
    layer, large = b"hidden" * 100, b"hidden" * MIB
    hidden = await served.push_image("1", "secret", [layer, large])
    large_cid = await served.cid("secret", digest_of(large))
    network.content[large_cid] = large
    for content in (b"{}", layer, hidden):
        network.add(content)
    assert (await get(served, cid_of(hidden), "manifests/latest")).error == (404, "MANIFEST_UNKNOWN")
    for blob in (layer, large):
        assert (await get(served, cid_of(hidden), f"blobs/{digest_of(blob)}")).error[0] == 404
    # What lists it does not bring it out, nor what says that its CID is of something else.
    fake = b"x" * len(large)
    listing = json.loads(image())
    listing["layers"] = [
        ipfs(layer, LAYER_TYPE),
        ipfs(large, LAYER_TYPE, large_cid),
        ipfs(fake, LAYER_TYPE, large_cid),
        ipfs(b"y" * len(layer), LAYER_TYPE, cid_of(layer)),
    ]
    network.content[cid_of(b"y" * len(layer))] = missing()
    shown = network.add(json.dumps(listing).encode())
    assert (await get(served, shown, "manifests/latest")).status == 200
    for blob in (layer, large, fake, b"y" * len(layer)):
        for part in ({}, {"Range": "bytes=0-9"}):
            answer = await get(served, shown, f"blobs/{digest_of(blob)}", **part)
            assert answer.error == (404, "BLOB_UNKNOWN")
    assert {large_cid, cid_of(layer), cid_of(hidden)}.isdisjoint(network.asked)
    # What another repository has too can be had, and what only the network has.
    await served.push_blob(layer, "open")
    assert (await get(served, shown, f"blobs/{digest_of(layer)}")).content == layer
    elsewhere = network.add(image(layers=[b"of the network"]))
    network.add(b"of the network")
    assert (await get(served, elsewhere, f"blobs/{digest_of(b'of the network')}")).content == b"of the network"
    # Before all is known nothing is taken for somebody else's.
    served.daemon.registry.dags.index.complete = False
    other = network.add(image(annotations={"a": "b"}))
    assert (await get(served, other, "manifests/latest")).error == (503, "UNAVAILABLE")


@pytest_twisted.ensureDeferred
async def test_it_can_be_switched_off(network: Network, serve: Serve) -> None:
    network.add(image())
    served = await serve(ipfs={"pull_by_cid": "registry"})
    await served.daemon.registry.cid_refresh.run()
    assert (await get(served, cid_of(image()), "manifests/latest")).error == (404, "MANIFEST_UNKNOWN")
    own = await served.push_image("1", layers=[b"own"])
    assert (await get(served, cid_of(own), "manifests/latest")).content == own
    assert network.asked == []
    never = await serve(ipfs={"pull_by_cid": "never"})
    await never.push_image("1", layers=[b"own"])
    assert (await get(never, cid_of(own), "manifests/latest")).error == (404, "MANIFEST_UNKNOWN")


class Remote:
    """An image of two platforms that only the network has, named by its descriptor as nerdctl names images."""

    def __init__(self, network: Network) -> None:
        self.config = b'{"architecture": "amd64"}'
        self.layer = bytes(range(256)) * 300
        self.large = b"large" * MIB
        self.large_cid = str(directory_cid(b"large"))
        network.content[self.large_cid] = self.large
        layers = [ipfs(self.layer, LAYER_TYPE), ipfs(self.large, LAYER_TYPE, self.large_cid)]
        self.manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": ipfs(self.config, CONFIG_TYPE),
                "layers": layers,
            }
        ).encode()
        self.absent = image(layers=[b"of another platform"])
        entries = [descriptor(self.absent, MANIFEST_TYPE), ipfs(self.manifest, MANIFEST_TYPE)]
        self.index = json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries}).encode()
        named = {**descriptor(self.index, INDEX_TYPE), "urls": [f"ipfs://{cid_of(self.index)}"]}
        for content in (self.config, self.layer, self.manifest, self.index):
            network.add(content)
        self.cid = network.add(json.dumps(named).encode())


@pytest_twisted.ensureDeferred
async def test_an_image_of_the_network(network: Network, known: Served) -> None:
    remote = Remote(network)
    network.content[cid_of(remote.absent)] = missing()
    answer = await get(known, remote.cid, "manifests/latest")
    assert (answer.status, answer.content, answer["content-type"]) == (200, remote.index, INDEX_TYPE)
    # A blob first: another daemon told the client of the manifests.
    for blob in (remote.large, remote.config, remote.layer):
        answer = await get(known, remote.cid, f"blobs/{digest_of(blob)}")
        assert (answer.status, answer.content == blob) == (200, True)
    part = await get(known, remote.cid, f"blobs/{digest_of(remote.large)}", Range="bytes=5-9")
    assert (part.status, part.content) == (206, b"large")
    answer = await get(known, remote.cid, f"manifests/{digest_of(remote.manifest)}")
    assert (answer.content, answer["content-type"]) == (remote.manifest, MANIFEST_TYPE)
    absent = await get(known, remote.cid, f"manifests/{digest_of(remote.absent)}")
    assert absent.error == (404, "MANIFEST_UNKNOWN")
    # Nothing of it stays here.
    assert (await known.ask("GET", "/v2/_catalog")).json() == {"repositories": []}
    assert not list((known.store / "bucket" / "blobs").glob("*/*/*"))


@pytest_twisted.ensureDeferred
async def test_head_of_a_blob_reads_nothing_of_it(network: Network, known: Served) -> None:
    remote = Remote(network)
    await get(known, remote.cid, f"manifests/{digest_of(remote.manifest)}")
    network.read = 0
    head = await get(known, remote.cid, f"blobs/{digest_of(remote.large)}", "HEAD")
    assert (head.status, head["content-length"]) == (200, str(len(remote.large)))
    assert network.read == 0


@pytest_twisted.ensureDeferred
async def test_what_is_here_is_not_fetched(network: Network, known: Served) -> None:
    remote = Remote(network)
    await known.push_blob(remote.large)
    answer = await get(known, remote.cid, f"blobs/{digest_of(remote.large)}")
    assert answer.content == remote.large
    assert remote.large_cid not in network.asked


@pytest.mark.parametrize("wrong", [b"wrong" * MIB, b"l"], ids=["other", "shorter"])
@pytest_twisted.ensureDeferred
async def test_what_is_not_the_blob_never_arrives_whole(network: Network, known: Served, wrong: bytes) -> None:
    remote = Remote(network)
    network.content[remote.large_cid] = wrong
    with pytest.raises(ConnectionError):
        await get(known, remote.cid, f"blobs/{digest_of(remote.large)}")


@pytest_twisted.ensureDeferred
async def test_a_manifest_that_is_not_the_one(network: Network, known: Served) -> None:
    remote = Remote(network)
    network.content[cid_of(remote.index)] = remote.index.replace(b"2", b"3")
    answer = await get(known, remote.cid, "manifests/latest")
    assert answer.error == (404, "MANIFEST_UNKNOWN")


@pytest_twisted.ensureDeferred
async def test_what_does_not_come_in_time_is_not_missing(network: Network, known: Served) -> None:
    remote = Remote(network)
    answer = await get(known, cid_of(b"elsewhere"), "manifests/latest")
    assert answer.error == (503, "UNAVAILABLE")
    assert answer["retry-after"] == "7"
    network.asked.clear()
    assert (await get(known, cid_of(b"elsewhere"), "manifests/latest")).status == 503
    assert network.asked == []  # who waited is not made to wait again
    # The manifest of the other platform might list it.
    answer = await get(known, remote.cid, f"blobs/{digest_of(b'of another platform')}")
    assert answer.error == (503, "UNAVAILABLE")
    network.content[cid_of(b"nowhere")] = missing()
    assert (await get(known, cid_of(b"nowhere"), "manifests/latest")).error == (404, "MANIFEST_UNKNOWN")


@pytest_twisted.ensureDeferred
async def test_a_layer_whose_cid_cannot_be_known(network: Network, known: Served) -> None:
    small, large = b"small", b"x" * (MIB + 1)
    network.add(small)
    cid = network.add(image(layers=[small, large]))
    assert (await get(known, cid, f"blobs/{digest_of(small)}")).content == small
    answer = await get(known, cid, f"blobs/{digest_of(large)}")
    assert answer.error == (404, "BLOB_UNKNOWN")
    assert "no ipfs:// URL" in answer.json()["errors"][0]["message"]
    await known.push_blob(large)
    assert (await get(known, cid, f"blobs/{digest_of(large)}")).content == large


@pytest_twisted.ensureDeferred
async def test_a_layout_on_ipfs(network: Network, known: Served) -> None:
    layer = b"x" * (MIB + 1)
    manifest = image(layers=[layer])
    cid = directory_cid(b"layout")
    entry = descriptor(manifest, MANIFEST_TYPE)
    index = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    network.content[f"{cid}/index.json"] = index
    for content in (b"{}", layer, manifest):
        network.content[f"{cid}/blobs/sha256/{digest_of(content).removeprefix('sha256:')}"] = content
    assert (await get(known, cid, "manifests/latest")).content == manifest
    for content in (b"{}", layer):
        assert (await get(known, cid, f"blobs/{digest_of(content)}")).content == content

    several = directory_cid(b"several")
    index = json.dumps({"schemaVersion": 2, "manifests": [entry, entry]}).encode()
    network.content |= {
        path.replace(str(cid), str(several)): content for path, content in network.content.items() if "blobs" in path
    }
    network.content[f"{several}/index.json"] = index
    answer = await get(known, several, "manifests/latest")
    assert (answer.content, answer["content-type"]) == (index, INDEX_TYPE)
    assert (await get(known, several, f"manifests/{digest_of(manifest)}")).content == manifest


@pytest_twisted.ensureDeferred
async def test_a_directory_of_ipdr(network: Network, known: Served) -> None:
    layer = b"x" * (MIB + 1)
    manifest = image(layers=[layer])
    v0 = CID(0, DAG_PB, SHA2_256, hashlib.sha256(b"ipdr").digest())
    name = base64.b32encode(v0.binary).decode().rstrip("=").lower()
    assert name.startswith("ciq")
    network.content[f"{v0}/index.json"] = missing()
    network.content[f"{v0}/manifests/latest"] = manifest
    for content in (b"{}", layer):
        network.content[f"{v0}/blobs/{digest_of(content)}"] = content
    assert (await get(known, name, "manifests/latest")).content == manifest
    for content in (b"{}", layer):
        assert (await get(known, name, f"blobs/{digest_of(content)}")).content == content


@pytest_twisted.ensureDeferred
async def test_a_document_that_is_a_file_of_several_blocks(network: Network, known: Served) -> None:
    manifest = image(layers=[b"layer"])
    cid = directory_cid(b"file")
    network.content |= {
        f"{cid}/index.json": missing(),
        f"{cid}/manifests/latest": missing(),
        str(cid): manifest,
    }
    assert (await get(known, cid, "manifests/latest")).content == manifest


@pytest_twisted.ensureDeferred
async def test_documents_of_strangers(network: Network, known: Served) -> None:
    async def says(document: object) -> Answer:
        return await get(known, network.add(json.dumps(document).encode()), "manifests/latest")

    blob = descriptor(b"{}", CONFIG_TYPE)
    many = {"schemaVersion": 2, "manifests": [descriptor(b"%d" % each, "x/y") for each in range(LISTED_MAX + 1)]}
    huge = {"mediaType": MANIFEST_TYPE, "digest": digest_of(b"x"), "size": 10**15}
    for document in (many, huge, {"schemaVersion": 2, "config": {**blob, "digest": "md5:00"}, "layers": []}):
        assert (await says(document)).error == (404, "MANIFEST_UNKNOWN")
    # A URL that is no CID is as good as none, and asks the node for nothing strange.
    network.asked.clear()
    network.add(b"{}")
    sneaky = {"schemaVersion": 2, "config": {**blob, "urls": ["ipfs://../../etc/passwd"]}, "layers": []}
    cid = network.add(json.dumps(sneaky).encode())
    assert (await get(known, cid, f"blobs/{digest_of(b'{}')}")).content == b"{}"
    assert all(parse_cid(asked) for asked in network.asked)
    # What is sent with it is no page.
    page = {**descriptor(b"<html>", "text/html"), "urls": [f"ipfs://{network.add(b'<html>')}"]}
    index = network.add(json.dumps({"schemaVersion": 2, "manifests": [page]}).encode())
    answer = await get(known, index, f"manifests/{digest_of(b'<html>')}")
    assert (answer.status, answer["content-type"]) == (200, "application/octet-stream")
