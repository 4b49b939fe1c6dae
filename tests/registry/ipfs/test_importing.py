"""CARs of every kind, good and bad."""

import json
import random
import re
import sqlite3
import struct
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st

from ipfsreg.bucket.errors import Full
from ipfsreg.ipfs.car import CARInvalid, CARReader, encode_header, section_head
from ipfsreg.ipfs.cid import CID, DAG_PB, RAW, BlockDamaged, cid_of, verify_block
from ipfsreg.ipfs.unixfs import FILE
from ipfsreg.registry.descriptor import encode_json
from ipfsreg.registry.digest import digest_of
from ipfsreg.registry.errors import BlobUnknown, DigestInvalid, ImportInvalid, ManifestUnknown, RegistryError
from ipfsreg.registry.ipfs.car_spool import CarSpool
from ipfsreg.registry.ipfs.importing import Imported
from ipfsreg.registry.manifest import DOCKER_IMAGE, DOCKER_LIST, OCI_IMAGE, OCI_INDEX
from ipfsreg.registry.names import Repository, Tag
from tests.access.helpers import Threads, as_workers
from tests.ipfs.blocks import Blocks
from tests.registry.place import Place, descriptor, image

APP, OTHER, ONE = Repository("app"), Repository("other"), Tag("1")
LARGE = random.Random(1).randbytes(2_500_000)
Sections = Sequence[tuple[CID, bytes]]


def written(roots: Sequence[CID], sections: Iterable[tuple[CID, bytes]]) -> bytes:
    return encode_header(roots) + b"".join(section_head(cid, len(block)) + block for cid, block in sections)


def sections(car: bytes) -> tuple[CID, list[tuple[CID, bytes]]]:
    reader = CARReader()
    blocks = list(reader.feed(car))
    reader.finish()
    (root,) = reader.roots
    return root, blocks


async def exported(place: Place, name: Repository = APP, tag: Tag = ONE) -> bytes:
    export = await place.registry.exporter.export(name, tag)
    car = b"".join([piece async for piece in export.pieces()])
    assert len(car) == export.length
    return car


async def imported(place: Place, car: bytes, name: str | None = None, piece: int = 100_000) -> Imported:
    pieces = [car[begin : begin + piece] for begin in range(0, len(car), piece)]

    async def in_pieces() -> AsyncIterator[bytes]:
        for each in pieces:
            yield each

    return await place.registry.importer.run(in_pieces(), name)


async def whole(place: Place, repository: Repository, reference: Tag, manifest: bytes, *blobs: bytes) -> bool:
    found = await place.registry.manifests.get(repository, reference)
    for blob in blobs:
        opened = await place.registry.blobs.open(repository, digest_of(blob))
        assert opened.reader.file is not None
        assert opened.reader.file.read() == blob
        opened.reader.close()
    return found.content == manifest


def left_behind(place: Place) -> list[object]:
    return [*(place.directory / "imports").iterdir(), *place.sessions()]


@pytest_twisted.ensureDeferred
async def test_blocks_in_any_order_twice_and_more_than_needed(place: Place) -> None:
    manifest = await place.push_image(APP, ["1"], b"{}", b"small", LARGE)
    root, blocks = sections(await exported(place))
    random.Random(2).shuffle(blocks)
    car = written([root], [(cid_of(RAW, b"extra"), b"extra"), *blocks, *blocks[:3]])
    result = await imported(place, car, "other:1")
    assert result == Imported("other:1", digest_of(manifest), ())
    assert await whole(place, OTHER, ONE, manifest, b"{}", b"small", LARGE)
    assert left_behind(place) == []
    # One of version 2, and in pieces of a byte at its beginning.
    framed = bytes.fromhex("0aa16776657273696f6e02") + struct.pack("<16sQQQ", b"", 51, len(car), 0) + car + b"index"
    assert (await imported(place, framed, "framed:1", 777)).name == "framed:1"


@pytest_twisted.ensureDeferred
async def test_what_is_refused(place: Place) -> None:
    await place.push_image(APP, ["1"], b"{}", b"small", LARGE)
    car = await exported(place)
    root, blocks = sections(car)
    begin = len(encode_header([root]))
    wrong = bytearray(car)
    wrong[len(car) // 2] ^= 1
    lost = next(index for index, (_, block) in enumerate(blocks) if len(block) == 1 << 20)
    small = next(index for index, (_, block) in enumerate(blocks) if block == b"small")
    not_image = (cid_of(RAW, b"no"), b"no")
    cases = {
        "too early": car[:-1000],
        "is not what its CID": bytes(wrong),
        "does not have the block": written([root], blocks[:lost] + blocks[lost + 1 :]),
        "have the block": written([root], blocks[:small] + blocks[small + 1 :]),
        "not a CAR of version 1": b"\x0a\xa1gversion\x07" + car,
        "2 roots": encode_header([root, root]) + car[begin:],
        "0 roots": encode_header([]) + car[begin:],
        "not an image": written([not_image[0]], [not_image]),
        "in the CAR has such an image": written([root], blocks[1:]),
        "not a CAR": b"certainly no CAR" * 1000,
        "empty section": car + b"\0\0\0",
        "too early|number": b"",
    }
    for text, content in cases.items():
        with pytest.raises(ImportInvalid) as refused:
            pytest.fail(f"{text}: {await imported(place, content, 'other:1')}")
        assert re.search(text, refused.value.message), (text, refused.value.message)
        assert "\n" not in refused.value.message
        assert left_behind(place) == []
    with pytest.raises(ManifestUnknown):
        await place.registry.manifests.get(OTHER, ONE)
    with pytest.raises(BlobUnknown):
        await place.registry.blobs.size(OTHER, digest_of(b"small"))
    for name in ("Not/A/Name", "other@sha256:" + "0" * 64):
        with pytest.raises(RegistryError):
            await imported(place, car, name)


@pytest_twisted.ensureDeferred
async def test_an_image_named_by_its_descriptor(place: Place) -> None:
    """As nerdctl pushes one: blocks without a directory, and a document that says where to begin."""

    def enabled(media_type: str, content: bytes) -> dict[str, object]:
        return {**descriptor(media_type, content), "urls": [f"ipfs://{cid_of(RAW, content)}"]}

    layer = b"layer" * 1000
    document = {"schemaVersion": 2, "mediaType": OCI_IMAGE, "config": enabled("a/b", b"{}")}
    manifest = json.dumps({**document, "layers": [enabled("c/d", layer)]}).encode()
    named = json.dumps(enabled(OCI_IMAGE, manifest)).encode()
    blocks = [(cid_of(RAW, content), content) for content in (named, manifest, b"{}", layer)]
    with pytest.raises(ImportInvalid, match="no name in the CAR"):
        await imported(place, written([blocks[0][0]], blocks))
    await imported(place, written([blocks[0][0]], blocks), "named:1")
    assert await whole(place, Repository("named"), ONE, manifest, b"{}", layer)
    with pytest.raises(ImportInvalid, match="does not have the blob"):
        await imported(place, written([blocks[0][0]], blocks[:-1]), "unnamed:1")


@pytest_twisted.ensureDeferred
async def test_no_image_takes_the_name_of_a_cid(place: Place) -> None:
    await place.push_image(APP, ["1"], b"{}", b"small")
    reserved = Repository(f"ipfs/{cid_of(RAW, b'x')}")
    with pytest.raises(RegistryError, match="ipfs/ and a CID"):
        await imported(place, await exported(place), f"{reserved}:other")
    # Nor one that has it in the CAR.
    await place.push_image(reserved, ["1"], b"{}", b"small")
    with pytest.raises(ImportInvalid, match="another name"):
        await imported(place, await exported(place, reserved))
    with pytest.raises(RegistryError, match="ipfs/ and a CID"):
        await place.registry.publisher.publish(reserved, ONE)


def layout_of(blocks: Blocks, manifest: bytes, blobs: dict[bytes, CID], **annotations: str) -> CID:
    """An OCI layout as other programs make them: CIDs of any form."""
    files = {digest_of(blob).hex: cid for blob, cid in blobs.items()}
    entry = {
        **descriptor(OCI_IMAGE, manifest),
        "annotations": {f"org.opencontainers.image.{key}": value for key, value in annotations.items()},
    }
    index = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    sha256 = blocks.shard([(digest_of(manifest).hex, blocks.leaf(manifest)), *files.items()])
    root = {"blobs": blocks.directory(sha256=sha256), "index.json": blocks.leaf(index), "oci-layout": blocks.raw(b"{}")}
    return blocks.directory(**root)


@pytest_twisted.ensureDeferred
async def test_layouts_that_others_made(place: Place) -> None:
    blocks = Blocks()
    halves = [(blocks.leaf(LARGE[:1_000_000]), 1_000_000), (blocks.raw(LARGE[1_000_000:2_500_000]), 1_500_000)]
    files = {b"{}": blocks.leaf(b"{}"), LARGE: blocks.file(halves, kind=FILE)}
    manifest = image(b"{}", LARGE)
    root = layout_of(blocks, manifest, files, **{"ref.name": "theirs:2"})
    car = written([root], blocks.blocks.items())
    assert (await imported(place, car)).name == "theirs:2"
    assert await whole(place, Repository("theirs"), Tag("2"), manifest, b"{}", LARGE)
    with pytest.raises(ImportInvalid, match="give the image another name"):
        await imported(
            place, written([layout_of(blocks, manifest, files, **{"ref.name": "No Name"})], blocks.blocks.items())
        )


@pytest_twisted.ensureDeferred
async def test_a_file_that_is_not_what_its_name_says(place: Place) -> None:
    blocks = Blocks()
    manifest = image(b"{}", b"right")
    root = layout_of(blocks, manifest, {b"{}": blocks.raw(b"{}"), b"right": blocks.raw(b"wrong")})
    with pytest.raises((ImportInvalid, DigestInvalid)):
        await imported(place, written([root], blocks.blocks.items()), "other:1")
    with pytest.raises(ManifestUnknown):
        await place.registry.manifests.get(OTHER, ONE)
    assert left_behind(place) == []


@pytest_twisted.ensureDeferred
async def test_an_index_and_what_is_not_here_of_it(place: Place) -> None:
    here = await place.push_image(APP, [], b"{}", b"layer")
    index = await place.push_index(APP, ["1"], here, image(b"{}", b"elsewhere"))
    absent = digest_of(image(b"{}", b"elsewhere"))
    export = await place.registry.exporter.export(APP, ONE)
    assert export.missing == [absent]
    result = await imported(place, await exported(place), "other:1")
    assert result == Imported("other:1", digest_of(index), (absent,))
    assert (await place.registry.manifests.get(OTHER, ONE)).media_type == OCI_INDEX
    assert (await place.registry.manifests.get(OTHER, digest_of(here))).content == here


DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


@pytest_twisted.ensureDeferred
async def test_an_image_of_docker_is_one_of_oci_in_its_layout(place: Place) -> None:
    """skopeo and umoci do not read Docker's media types in an OCI layout."""
    config, layer = b"{}", b"layer"
    for blob in (config, layer):
        await place.push_blob(APP, blob)
    manifest = encode_json(
        {
            "schemaVersion": 2,
            "mediaType": DOCKER_IMAGE,
            "config": descriptor(DOCKER_CONFIG, config),
            "layers": [descriptor(DOCKER_LAYER, layer)],
        }
    )
    already = await place.push_image(APP, [], config, layer)
    await place.registry.manifests.put(APP, manifest, DOCKER_IMAGE, None, [Tag("image")])
    inner = encode_json(
        {
            "schemaVersion": 2,
            "mediaType": DOCKER_LIST,
            "manifests": [descriptor(DOCKER_IMAGE, manifest), descriptor(OCI_IMAGE, already)],
        }
    )
    await place.registry.manifests.put(APP, inner, DOCKER_LIST, None, [Tag("list")])
    outer = encode_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor(DOCKER_LIST, inner)] * 2})
    await place.registry.manifests.put(APP, outer, OCI_INDEX, None, [Tag("outer")])
    for tag in ("image", "list", "outer"):
        await imported(place, await exported(place, APP, Tag(tag)), f"other:{tag}")
    of_image = (await place.registry.manifests.get(OTHER, Tag("image"))).content
    found = json.loads(of_image)
    assert found["mediaType"] == OCI_IMAGE
    assert found["config"] == descriptor("application/vnd.oci.image.config.v1+json", config)
    assert found["layers"] == [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", layer)]
    of_list = (await place.registry.manifests.get(OTHER, Tag("list"))).content
    assert json.loads(of_list) == {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [descriptor(OCI_IMAGE, of_image), descriptor(OCI_IMAGE, already)],
    }
    of_outer = json.loads((await place.registry.manifests.get(OTHER, Tag("outer"))).content)
    assert of_outer["manifests"] == [descriptor(OCI_INDEX, of_list)] * 2
    assert (await place.registry.manifests.get(APP, Tag("image"))).content == manifest


@pytest_twisted.ensureDeferred
async def test_what_a_killed_daemon_left_goes_at_the_next_start(place: Place) -> None:
    (place.directory / "imports" / "some").mkdir(parents=True)
    (place.directory / "imports" / "some" / "blocks").write_bytes(b"x")
    await place.registry.stop()
    await place.restart()
    assert not (place.directory / "imports").exists()


@given(st.binary(max_size=300), st.binary(max_size=30), st.integers(0, 400))
def test_a_car_that_was_tampered_with_is_noticed(block: bytes, other: bytes, position: int) -> None:
    """Whatever byte of a CAR is another, it is no CAR any more, or a block is not what it should be, or the root is."""

    pairs = [(cid_of(RAW, block), block), (cid_of(DAG_PB, other), other)]
    car = bytearray(written([pairs[0][0]], pairs))
    car[position % len(car)] ^= 0x41
    reader = CARReader()
    try:
        for cid, content in reader.feed(bytes(car)):
            verify_block(cid, content)
        reader.finish()
    except (CARInvalid, BlockDamaged):
        return
    changed = list(CARReader().feed(bytes(car)))
    assert list(reader.roots) != [pairs[0][0]] or [cid.multihash for cid, _ in changed] == [
        cid.multihash for cid, _ in pairs
    ]


@pytest_twisted.ensureDeferred
async def test_a_disk_without_room_for_the_index_of_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect

    def small(*args: Any, **more: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **more)
        connection.execute("PRAGMA max_page_count = 4")
        return connection

    monkeypatch.setattr(sqlite3, "connect", small)
    spool = CarSpool(tmp_path / "car", as_workers(Threads()))
    blocks = [(cid_of(RAW, block), block) for block in (b"%d" % number for number in range(2000))]
    await spool.open()
    with pytest.raises(Full):
        await spool.feed(written([blocks[0][0]], blocks))
    await spool.close()
    assert not (tmp_path / "car").exists()
