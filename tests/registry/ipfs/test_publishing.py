"""The IPFS-enabled view of an image, and for how long it is there."""

import hashlib
import json
from typing import Any

import pytest
import pytest_twisted
from twisted.logger import LogEvent, formatEvent

from ipfsreg.bucket.errors import Unavailable
from ipfsreg.ipfs.cid import parse_cid, raw_cid
from ipfsreg.registry.digest import Digest, digest_of, parse_digest
from ipfsreg.registry.errors import ManifestUnknown
from ipfsreg.registry.ipfs.ipfs_view import CID_ANNOTATION, PUBLISHED
from ipfsreg.registry.ipfs.publish_queue import PublishQueue
from ipfsreg.registry.manifest import DOCKER_IMAGE, DOCKER_LIST, OCI_IMAGE, OCI_INDEX, parse_manifest
from ipfsreg.registry.names import Repository, Tag
from ipfsreg.registry.visibility import Visibility
from tests.registry.conftest import Open
from tests.registry.place import Place, descriptor, image, pause

APP = Repository("app")
ONE = Tag("1")
LARGE = b"large" * 300_000


async def shown(place: Place, digest: Digest | str) -> dict[str, Any]:
    """A manifest of the repository."""
    digest = parse_digest(digest) if isinstance(digest, str) else digest
    document: dict[str, Any] = json.loads((await place.registry.manifests.get(APP, digest)).content)
    return document


async def named(place: Place, cid: str) -> dict[str, Any]:
    """The small document whose CID names an image."""
    digest = Digest("sha256", parse_cid(cid).hash.hex())
    blob = await place.registry.blobs.open(APP, digest)
    assert blob.reader.file is not None
    document: dict[str, Any] = json.loads(blob.reader.file.read())
    blob.reader.close()
    return document


def url(blob: bytes) -> list[str]:
    return [f"ipfs://{raw_cid(hashlib.sha256(blob).digest())}"]


@pytest_twisted.ensureDeferred
async def test_each_descriptor_has_its_url(place: Place) -> None:
    manifest = await place.push_image(APP, ["1"], b"{}", b"small", LARGE, annotations={"a": "ä"})
    published = await place.registry.publisher.publish(APP, ONE)
    view = await shown(place, published.view)
    expected = json.loads(manifest)
    expected["config"]["urls"] = url(b"{}")
    expected["layers"][0]["urls"] = url(b"small")
    expected["layers"][1]["urls"] = [f"ipfs://{await place.registry.blobs.cid(APP, digest_of(LARGE))}"]
    assert view == expected
    written = (await place.registry.manifests.get(APP, published.view)).content
    document = await named(place, published.cid)
    assert document == {
        "mediaType": OCI_IMAGE,
        "digest": str(published.view),
        "size": len(written),
        "urls": url(written),
    }
    assert await place.registry.publisher.publish(APP, ONE) == published
    assert await place.registry.publisher.publish(APP, digest_of(manifest)) == published


@pytest_twisted.ensureDeferred
async def test_docker_becomes_oci(place: Place) -> None:
    for blob in (b"{}", b"layer"):
        await place.push_blob(APP, blob)
    foreign = descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", b"elsewhere")
    foreign["urls"] = ["https://127.0.0.1/elsewhere"]
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": DOCKER_IMAGE,
            "config": descriptor("application/vnd.docker.container.image.v1+json", b"{}"),
            "layers": [descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip", b"layer"), foreign],
        }
    ).encode()
    await place.registry.manifests.put(APP, manifest, DOCKER_IMAGE, None, [])
    entry = {**descriptor(DOCKER_IMAGE, manifest), "platform": {"os": "linux", "architecture": "arm64"}}
    attestation = image(b"{}", b"layer", annotations={"attests": "it"})
    await place.registry.manifests.put(APP, attestation, OCI_IMAGE, None, [])
    about = {"vnd.docker.reference.digest": str(digest_of(manifest)), "b": "c"}
    attested = {**descriptor(OCI_IMAGE, attestation), "annotations": about, "data": "e30="}
    absent = descriptor(DOCKER_IMAGE, b"absent")
    index = json.dumps({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [entry, absent, attested]}).encode()
    await place.registry.manifests.put(APP, index, DOCKER_LIST, None, [ONE])

    published = await place.registry.publisher.publish(APP, ONE)
    assert published.missing == (digest_of(b"absent"),)
    view = await shown(place, published.view)
    assert view["mediaType"] == OCI_INDEX
    first, second = view["manifests"]
    assert (first["mediaType"], first["platform"]) == (OCI_IMAGE, entry["platform"])
    assert second["annotations"] == {"vnd.docker.reference.digest": first["digest"], "b": "c"}
    assert "data" not in second
    document = await shown(place, first["digest"])
    assert document["mediaType"] == OCI_IMAGE
    assert document["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"
    layer, other = document["layers"]
    assert (layer["mediaType"], layer["urls"]) == ("application/vnd.oci.image.layer.v1.tar+gzip", url(b"layer"))
    assert other["mediaType"] == "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    assert other["urls"] == ["https://127.0.0.1/elsewhere"]


@pytest_twisted.ensureDeferred
async def test_what_docker_leaves_out_is_there_for_oci(place: Place) -> None:
    """A layer without a media type, and annotations that are null."""
    await place.push_blob(APP, b"{}")
    await place.push_blob(APP, b"layer")
    layer = {**descriptor("", b"layer"), "annotations": {"a": None}}
    del layer["mediaType"]
    config = descriptor("application/vnd.docker.container.image.v1+json", b"{}")
    document = {"schemaVersion": 2, "config": config, "layers": [layer], "annotations": {"b": None}}
    await place.registry.manifests.put(APP, json.dumps(document).encode(), DOCKER_IMAGE, None, [ONE])
    published = await place.registry.publisher.publish(APP, ONE)
    view = await shown(place, published.view)
    assert parse_manifest(json.dumps(view).encode(), OCI_IMAGE).annotations == {"b": ""}
    octets = {**layer, "mediaType": "application/octet-stream", "annotations": {"a": ""}, "urls": url(b"layer")}
    assert view["layers"] == [octets]


@pytest_twisted.ensureDeferred
async def test_what_has_its_urls_is_published_as_it_is(place: Place) -> None:
    await place.push_image(APP, ["1"], b"{}", b"layer")
    first = await place.registry.publisher.publish(APP, ONE)
    again = await place.registry.publisher.publish(APP, first.view)
    assert (again.view, again.cid) == (first.view, first.cid)


@pytest_twisted.ensureDeferred
async def test_an_index_of_which_nothing_is_here(place: Place) -> None:
    await place.push_index(APP, ["1"], image(b"{}", b"elsewhere"))
    with pytest.raises(ManifestUnknown, match="none of the manifests"):
        await place.registry.publisher.publish(APP, ONE)


@pytest_twisted.ensureDeferred
async def test_it_stays_as_long_as_the_image_and_no_longer(open_place: Open) -> None:
    place = await open_place(gc_grace=0.0, gc_untagged=0.0)
    manifests = [await place.push_image(APP, [], b"{}", b"layer %d" % number) for number in range(2)]
    index = await place.push_index(APP, ["1"], *manifests)
    published = await place.registry.publisher.publish(APP, ONE)
    await pause(0.01)
    collection = await place.registry.collector.run()
    assert (collection.manifests, collection.blob_links, collection.contents) == (0, 0, 0)
    listed, _ = await place.registry.referrers.list(APP, digest_of(index), PUBLISHED, None)
    assert [each["annotations"] for each in listed] == [{CID_ANNOTATION: published.cid}]
    assert (await named(place, published.cid))["digest"] == str(published.view)
    for each in (await shown(place, published.view))["manifests"]:
        await shown(place, each["digest"])

    await place.registry.manifests.delete_tag(APP, ONE)
    for _ in range(4):  # what lists something goes before it
        await pause(0.01)
        await place.registry.collector.run()
    left = [path for path in place.files.rglob("*") if path.is_file()]
    assert [path.name for path in left if path.name not in {"layout-version", ".bucket"}] == []


@pytest_twisted.ensureDeferred
async def test_every_push_with_a_tag_can_be_published(open_place: Open, log: list[LogEvent]) -> None:
    place = await open_place(publish=True)
    pushed = [await place.push_image(APP, [str(number)], b"{}", b"layer %d" % number) for number in range(3)]
    await place.push_image(APP, [], b"{}", b"untagged")
    while len(told(log, "Published app@sha256:")) < 3:
        await pause(0.001)
    for manifest in pushed:
        listed, _ = await place.registry.referrers.list(APP, digest_of(manifest), PUBLISHED, None)
        assert len(listed) == 1
    await pause(0.01)
    assert len(told(log, "Published app@sha256:")) == 3


def told(log: list[LogEvent], text: str) -> list[str]:
    """What the log has with a text in it."""
    return [line for line in map(formatEvent, log) if text in line]


@pytest_twisted.ensureDeferred
async def test_what_is_hidden_is_not_published_and_keeps_nothing_waiting(place: Place, log: list[LogEvent]) -> None:
    manifest = digest_of(await place.push_image(APP, ["1"], b"{}", b"layer"))
    known: list[bool | None] = [False]
    visibility = Visibility(["secret/*"], lambda: known[0])
    queue = PublishQueue(place.registry.publisher, visibility)
    queue.add(Repository("secret/app"), manifest)
    known[0] = None  # whether the bucket is encrypted cannot be told for now: that is no failure of a push
    queue.add(APP, manifest)
    assert told(log, "Could not publish app@")
    known[0] = False
    queue.add(APP, manifest)
    while not told(log, "Published app@sha256:"):
        await pause(0.001)
    assert not told(log, "secret/app")
    queue.stop()


@pytest_twisted.ensureDeferred
async def test_a_push_that_cannot_be_published_is_a_push(
    open_place: Open, log: list[LogEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = await open_place(publish=True)

    async def away(*_: object) -> str:
        raise Unavailable("the node is away")

    monkeypatch.setattr(place.registry.blobs, "cid", away)
    manifest = await place.push_image(APP, ["1"], b"{}", b"layer")
    while not told(log, "Could not publish"):
        await pause(0.001)
    assert (await place.registry.manifests.get(APP, ONE)).content == manifest
    (line,) = told(log, "Could not publish")
    assert "the node is away" in line
    assert "ipfsreg publish app@sha256:" in line
    assert place.registry._publishing is not None
    place.registry._publishing.stop()
    await place.push_image(APP, ["2"], b"{}", b"layer")  # while the daemon stops
