"""Content that is damaged: never served, named, and healed by pushing it again."""

import os
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import LogEvent, LogLevel, formatEvent

from ipfsreg.bucket.errors import Corrupt
from ipfsreg.registry import layout
from ipfsreg.registry.content.store import ContentStore
from ipfsreg.registry.digest import digest_of
from ipfsreg.registry.errors import BlobUnknown, ManifestBlobUnknown, ManifestUnknown
from ipfsreg.registry.manifest import OCI_IMAGE
from ipfsreg.registry.names import Repository, Tag
from tests.registry.place import Place, image

REPOSITORY, OTHER = Repository("team/app"), Repository("other")
CONFIG, LAYER = b"the config", b"a layer " * 20_000


async def size(place: Place) -> object:
    return await place.registry.blobs.size(REPOSITORY, digest_of(LAYER))


async def open_(place: Place) -> object:
    return await place.registry.blobs.open(REPOSITORY, digest_of(LAYER))


async def put(place: Place) -> object:
    return await place.registry.manifests.put(REPOSITORY, image(CONFIG, LAYER), OCI_IMAGE, None, [])


@pytest.mark.parametrize("use", [size, open_, put])
@pytest.mark.parametrize("length", [0, len(LAYER) - 1, len(LAYER) + 1])
@pytest_twisted.ensureDeferred
async def test_a_blob_of_the_wrong_size(
    place: Place, log: list[LogEvent], use: Callable[[Place], Awaitable[object]], length: int
) -> None:
    await place.push_image(REPOSITORY, ["t"], CONFIG, LAYER)
    os.truncate(place.content_file(LAYER), length)
    with pytest.raises((BlobUnknown, ManifestBlobUnknown)):
        await use(place)
    # It is out of the way, and the log has one line about it.
    assert not place.content_file(LAYER).exists()
    assert (place.files / layout.quarantined(digest_of(LAYER))).stat().st_size == length
    assert [event["digest"] for event in log if event.get("log_level") == LogLevel.error] == [str(digest_of(LAYER))]
    assert not await place.registry.blobs.mount(OTHER, digest_of(LAYER), REPOSITORY)
    await place.push_blob(REPOSITORY, LAYER)
    assert await size(place) == len(LAYER)
    assert await place.registry.blobs.mount(OTHER, digest_of(LAYER), REPOSITORY)
    assert place.content_file(LAYER).read_bytes() == LAYER


@pytest_twisted.ensureDeferred
async def test_a_push_heals_a_blob_of_the_wrong_size_at_once(place: Place) -> None:
    await place.push_image(REPOSITORY, ["t"], CONFIG, LAYER)
    os.truncate(place.content_file(LAYER), 5)
    await place.push_blob(REPOSITORY, LAYER)
    assert place.content_file(LAYER).read_bytes() == LAYER


@pytest.mark.parametrize("damage", ["shorter", "longer", "much longer", "other"])
@pytest_twisted.ensureDeferred
async def test_a_damaged_manifest(place: Place, damage: str) -> None:
    """A manifest is small enough to be looked at each time."""
    manifest = await place.push_image(REPOSITORY, ["t"], CONFIG)
    file = place.content_file(manifest)
    file.write_bytes(
        {
            "shorter": manifest[:-1],
            "longer": manifest + b" ",
            "much longer": manifest + b" " * 200_000,
            "other": manifest.replace(b"config", b"c0nfig"),
        }[damage]
    )
    await place.restart()  # nothing of it is in memory any more
    for reference in (Tag("t"), digest_of(manifest)):
        with pytest.raises(ManifestUnknown):
            await place.registry.manifests.get(REPOSITORY, reference)
    assert not file.exists()
    await place.registry.manifests.put(REPOSITORY, manifest, OCI_IMAGE, None, [])
    assert (await place.registry.manifests.get(REPOSITORY, Tag("t"))).content == manifest


@pytest_twisted.ensureDeferred
async def test_a_push_heals_a_damaged_manifest_at_once(place: Place) -> None:
    """201 says that it is there, so what is there is looked at."""
    manifest = await place.push_image(REPOSITORY, ["t"], CONFIG)
    place.content_file(manifest).write_bytes(manifest.replace(b"config", b"c0nfig"))
    await place.restart()
    await place.registry.manifests.put(REPOSITORY, manifest, OCI_IMAGE, None, [])
    assert (await place.registry.manifests.get(REPOSITORY, Tag("t"))).content == manifest


async def mount(place: Place) -> object:
    assert await place.registry.blobs.mount(REPOSITORY, digest_of(LAYER), REPOSITORY)
    return None


@pytest.mark.parametrize("use", [size, open_, put, mount])
@pytest.mark.parametrize("link", [b"160001\n", b"1\n", b"\n", b"", b"12x\n", b"-5\n", b"1_0\n", b"9" * 70])
@pytest_twisted.ensureDeferred
async def test_a_damaged_link_to_whole_content(
    place: Place, log: list[LogEvent], use: Callable[[Place], Coroutine[Any, Any, object]], link: bytes
) -> None:
    """The content is read before anybody believes the link: it is the link that is written anew, and all are served."""
    await place.push_image(REPOSITORY, ["t"], CONFIG, LAYER)
    await place.push_blob(OTHER, LAYER)
    path = place.files / layout.blob_link(REPOSITORY, digest_of(LAYER))
    path.write_bytes(link)
    await place.restart()
    await gatherResults([Deferred.fromCoroutine(use(place)) for _ in range(3)])
    assert path.read_bytes() == b"%d\n" % len(LAYER)
    assert not (place.files / "quarantine").exists()
    assert await place.registry.blobs.size(OTHER, digest_of(LAYER)) == len(LAYER)
    if use is not mount:
        (told,) = [formatEvent(event) for event in log if event.get("log_level") == LogLevel.error]
        assert layout.blob_link(REPOSITORY, digest_of(LAYER)) in told


@pytest_twisted.ensureDeferred
async def test_a_damaged_link_to_damaged_content(place: Place) -> None:
    await place.push_image(REPOSITORY, ["t"], CONFIG, LAYER)
    place.content_file(LAYER).write_bytes(b"x" + LAYER[1:])
    (place.files / layout.blob_link(REPOSITORY, digest_of(LAYER))).write_bytes(b"7\n")
    await place.restart()
    with pytest.raises(BlobUnknown):
        await size(place)
    assert not place.content_file(LAYER).exists()


@pytest.mark.parametrize("length", [1, 10**6])
@pytest.mark.parametrize("long", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_record_with_the_wrong_length_of_whole_content(
    place: Place, log: list[LogEvent], length: int, long: bool
) -> None:
    manifest = await place.push_image(REPOSITORY, ["t"], CONFIG, annotations={"a": "x" * 100_000 if long else ""})
    path = place.files / layout.manifest_record(REPOSITORY, digest_of(manifest))
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b":%d," % len(manifest), b":%d," % length))
    await place.restart()
    assert (await place.registry.manifests.get(REPOSITORY, Tag("t"))).content == manifest
    assert path.read_bytes() == whole
    assert place.content_file(manifest).exists()
    assert len([event for event in log if event.get("log_level") == LogLevel.error]) == 1


@pytest_twisted.ensureDeferred
async def test_a_damaged_tag_or_record_is_healed_by_a_push(place: Place) -> None:
    manifest = await place.push_image(REPOSITORY, ["t"], CONFIG)
    for path in (layout.tag(REPOSITORY, Tag("t")), layout.manifest_record(REPOSITORY, digest_of(manifest))):
        (place.files / path).write_bytes(b"damaged")
        await place.restart()
        await place.registry.manifests.put(REPOSITORY, manifest, OCI_IMAGE, None, [Tag("t")])
        assert (await place.registry.manifests.get(REPOSITORY, Tag("t"))).content == manifest


@pytest_twisted.ensureDeferred
async def test_what_is_damaged_can_be_deleted(place: Place) -> None:
    manifest = await place.push_image(REPOSITORY, ["t", "u"], CONFIG)
    (place.files / layout.tag(REPOSITORY, Tag("u"))).write_bytes(b"damaged")
    (place.files / layout.manifest_record(REPOSITORY, digest_of(manifest))).write_bytes(b"damaged")
    await place.restart()
    await place.registry.manifests.delete_tag(REPOSITORY, Tag("u"))
    await place.registry.manifests.delete(REPOSITORY, digest_of(manifest))
    assert await place.registry.catalog.after("") == []
    assert not list((place.files / "repositories").rglob("_tags/*"))


@pytest_twisted.ensureDeferred
async def test_an_empty_link_may_be_a_broken_transfer(place: Place) -> None:
    """It does not look like an absence, and a push heals it."""
    await place.push_image(REPOSITORY, ["t"], CONFIG, LAYER)
    (place.files / layout.blob_link(REPOSITORY, digest_of(LAYER))).write_bytes(b"")
    await place.restart(shared=True)
    with pytest.raises(Corrupt):
        await size(place)
    await place.push_blob(REPOSITORY, LAYER)
    assert await size(place) == len(LAYER)


@pytest.mark.parametrize("came", [b"", b"half of the", b"the whole of it and " * 10_000])
@pytest_twisted.ensureDeferred
async def test_what_comes_broken_from_far_away_is_not_taken_for_damage(place: Place, came: bytes) -> None:
    """The storage may be whole: nothing is moved, and nobody is told that the content is not there."""
    content = b"the whole of it"
    place.bucket.shared = True
    store = ContentStore(place.bucket, place.workers, small=1 << 16)
    await store.put(digest_of(content), content)
    place.content_file(content).write_bytes(came)
    with pytest.raises(Corrupt):
        await store.get(digest_of(content), len(content))
    assert place.content_file(content).read_bytes() == came
    await store.put(digest_of(content), content)
    assert await store.get(digest_of(content), len(content)) == content
    assert not (place.files / "quarantine").exists()


@pytest.mark.parametrize("what", ["tag", "record"])
@pytest.mark.parametrize("content", [b"damaged", b"", b"x" * 10_000])
@pytest_twisted.ensureDeferred
async def test_a_damaged_tag_or_record_is_as_good_as_none(
    place: Place, log: list[LogEvent], what: str, content: bytes
) -> None:
    """On this disk it will not get better: a client that is told so pushes again. Far away it may have been the way."""
    manifest = await place.push_image(REPOSITORY, ["t"], CONFIG)
    tag, record = layout.tag(REPOSITORY, Tag("t")), layout.manifest_record(REPOSITORY, digest_of(manifest))
    path = tag if what == "tag" else record
    (place.files / path).write_bytes(content)
    await place.restart()
    for _ in range(3):
        with pytest.raises(ManifestUnknown):
            await place.registry.manifests.get(REPOSITORY, Tag("t"))
    (told,) = [formatEvent(event) or "" for event in log if event.get("log_level") == LogLevel.error]
    assert path in told
    assert "Push the image again" in told
    await place.restart(shared=True)
    with pytest.raises(Corrupt):
        await place.registry.manifests.get(REPOSITORY, Tag("t"))
    await place.restart()
    await place.registry.manifests.put(REPOSITORY, manifest, OCI_IMAGE, None, [Tag("t")])
    assert (await place.registry.manifests.get(REPOSITORY, Tag("t"))).content == manifest
