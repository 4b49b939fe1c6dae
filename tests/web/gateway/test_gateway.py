"""The trustless gateway: blocks and CARs by CID (specs.ipfs.tech/http-gateways/trustless-gateway/)."""

import hashlib
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from random import Random

import hypothesis.strategies as st
import pytest
import pytest_twisted
from hypothesis import given

from ipfsreg.ipfs.car import CARReader
from ipfsreg.ipfs.cid import CID, DAG_PB, RAW, SHA2_256, cid_of, verify_block
from ipfsreg.ipfs.file_dag import BlockPlace, FileDag
from ipfsreg.registry.content import late_dags
from ipfsreg.web.gateway.trustless import CAR, Wanted
from tests.web.client import Answer, pause, query, until
from tests.web.served import Serve, Served, digest_of

MiB = 1024 * 1024
RAW_TYPE = "application/vnd.ipld.raw"
CAR_TYPE = "application/vnd.ipld.car"
LAYER = Random(7).randbytes(3 * MiB + 1000)
REPEATED = Random(8).randbytes(MiB) * 4
UNKNOWN = cid_of(RAW, b"nobody has this")


def dag_of(content: bytes) -> FileDag:
    chunks = [content[begin : begin + MiB] for begin in range(0, len(content), MiB)] or [b""]
    return FileDag(b"".join(hashlib.sha256(chunk).digest() for chunk in chunks), len(content))


DAG = dag_of(LAYER)


async def _pushed(serve: Serve) -> Served:
    served: Served = await serve()
    await served.push_image("1", layers=[LAYER])
    await settled(served)
    return served


@pytest_twisted.async_yield_fixture()
async def pushed(serve: Serve) -> AsyncIterator[Served]:
    """A daemon with an image of one long layer, which knows of everything it has."""
    yield await _pushed(serve)


@pytest_twisted.async_yield_fixture(scope="module")
async def pushed_once(serve_all: Serve) -> AsyncIterator[Served]:
    """The same, for all tests that change nothing."""
    yield await _pushed(serve_all)


async def settled(served: Served) -> None:
    await until(lambda: served.daemon.registry.dags.index.complete)


async def ask(
    served: Served,
    cid: object,
    rest: str = "",
    method: str = "GET",
    headers: Mapping[str, object] | None = None,
    **parameters: object,
) -> Answer:
    target = query(f"/ipfs/{cid}{rest}", **{name.replace("_", "-"): value for name, value in parameters.items()})
    return await served.ask(method, target, headers)


def blocks_of(car: bytes, root: CID) -> list[CID]:
    """The CIDs of a CAR's blocks, each compared with its block."""
    reader = CARReader()
    found = []
    for cid, block in reader.feed(car):
        verify_block(cid, block)
        found.append(cid)
    reader.finish()
    assert list(reader.roots) == [root]
    return found


@pytest_twisted.ensureDeferred
async def test_every_block_of_a_layer(pushed: Served) -> None:
    for place in DAG.walk(DAG.root):
        cid = DAG.cid_at(place)
        first, end = DAG.range_at(place)
        expected = DAG.block(place) if place.level else LAYER[first:end]
        for method in ("GET", "HEAD"):
            answer = await ask(pushed, cid, method=method, format="raw")
            assert (answer.status, answer.content) == (200, expected if method == "GET" else b"")
            assert answer["content-length"] == str(len(expected))
            assert answer["content-type"] == RAW_TYPE
            assert answer["content-disposition"] == f'attachment; filename="{cid}.bin"'
            assert answer["etag"] == f'"{cid}.raw"'
            assert answer["cache-control"] == "public, max-age=29030400, immutable"
            assert answer["x-ipfs-path"] == f"/ipfs/{cid}"
            assert answer["x-ipfs-roots"] == str(cid)
            assert answer["x-content-type-options"] == "nosniff"
            # A Kubo node takes an answer for broken that has more than 2 KiB of them.
            assert sum(len(name) + len(value) + 4 for name, (value,) in answer.headers.items()) < 1500


@pytest_twisted.ensureDeferred
async def test_manifests_and_small_blobs_are_blocks(pushed: Served) -> None:
    manifest = await pushed.push_image("2", layers=[b"small", b""])
    for content in (manifest, b"{}", b"small", b""):
        answer = await ask(pushed, cid_of(RAW, content), format="raw")
        assert (answer.status, answer.content) == (200, content)
    # A block has many CIDs, of which the codec is a part.
    for cid in (CID(1, 0x0200, SHA2_256, hashlib.sha256(manifest).digest()), CID(0, DAG_PB, SHA2_256, DAG.cid.hash)):
        answer = await ask(pushed, cid, format="raw")
        assert answer.status == 200
        assert hashlib.sha256(answer.content).digest() == cid.hash
    assert (await ask(pushed, "B" + str(cid_of(RAW, manifest))[1:].upper(), format="raw")).content == manifest


@pytest_twisted.ensureDeferred
async def test_what_is_longer_than_a_block_is_none(pushed: Served) -> None:
    for length, status in ((2 * MiB, 200), (2 * MiB + 1, 404)):
        content = LAYER[:length]
        await pushed.push_blob(content)
        answer = await ask(pushed, cid_of(RAW, content), format="raw")
        assert (answer.status, len(answer.content) == length) == (status, status == 200)


@pytest_twisted.ensureDeferred
async def test_what_clients_probe_with(registry: Served) -> None:
    for method in ("HEAD", "GET"):
        answer = await ask(registry, "bafkqaaa", method=method, format="raw")
        assert (answer.status, answer.content, answer["content-length"]) == (200, b"", "0")
        assert answer["content-type"] == RAW_TYPE
    identity = CID(1, RAW, 0, b"a block in its CID")
    assert (await ask(registry, identity, format="raw")).content == identity.hash
    assert blocks_of((await ask(registry, identity, format="car")).content, identity) == [identity]
    assert (await ask(registry, CID(1, RAW, 0, bytes(130)), format="raw")).status == 400


@pytest_twisted.ensureDeferred
async def test_a_car_with_everything(pushed: Served) -> None:
    expected = [DAG.cid_at(place) for place in DAG.walk(DAG.root)]
    asked: list[tuple[dict[str, str], dict[str, str]]] = [
        ({}, {"format": "car"}),
        ({"Accept": CAR_TYPE}, {}),
        ({"Accept": f"text/html;q=0.5, {CAR_TYPE};version=1;order=unk;dups=n, */*;q=0.1"}, {}),
        ({"Accept": RAW_TYPE}, {"format": "car", "dag-scope": "all", "car-version": "1", "car-order": "dfs"}),
        ({}, {"format": "car", "dag-scope": "entity"}),
    ]
    for headers, parameters in asked:
        answer = await ask(pushed, DAG.cid, headers=headers, **parameters)
        assert answer.status == 200
        assert answer["content-type"] == f"{CAR_TYPE}; version=1; order=dfs; dups=n"
        assert answer["content-disposition"] == f'attachment; filename="{DAG.cid}.car"'
        assert answer["etag"].startswith(f'W/"{DAG.cid}.car.')
        assert answer["accept-ranges"] == "none"
        assert int(answer["content-length"]) == len(answer.content)
        assert blocks_of(answer.content, DAG.cid) == expected
    head = await ask(pushed, DAG.cid, method="HEAD", format="car")
    assert (head.status, head.content, head["content-length"]) == (200, b"", answer["content-length"])


@pytest_twisted.ensureDeferred
async def test_a_car_with_a_part(pushed: Served) -> None:
    root, leaves = DAG.cid, [DAG.cid_at(BlockPlace(0, number)) for number in range(4)]
    parts: dict[str, list[CID]] = {
        "dag-scope=block": [root],
        "dag-scope=block&entity-bytes=0:*": [root],
        "entity-bytes=0:*": [root, *leaves],
        "entity-bytes=0:0": [root, leaves[0]],
        f"dag-scope=entity&entity-bytes={MiB - 1}:{MiB}": [root, leaves[0], leaves[1]],
        f"entity-bytes={2 * MiB}:{3 * MiB - 1}": [root, leaves[2]],
        "entity-bytes=-1:*": [root, leaves[3]],
        "entity-bytes=-1001:-1001": [root, leaves[2]],
        f"entity-bytes=0:-{len(LAYER)}": [root, leaves[0]],
        f"entity-bytes=-{9 * MiB}:*": [root, *leaves],
        f"entity-bytes={9 * MiB}:*": [root],
        "entity-bytes=5:4": [root],
    }
    tags = set()
    for parameters, expected in parts.items():
        answer = await pushed.ask("GET", f"/ipfs/{root}?format=car&{parameters}")
        assert answer.status == 200
        assert blocks_of(answer.content, root) == expected, parameters
        tags.add(answer["etag"])
    assert len(tags) > 8
    answer = await ask(pushed, leaves[1], format="car")
    assert blocks_of(answer.content, leaves[1]) == [leaves[1]]


@given(st.integers(0, 50), st.integers(-60, 60), st.none() | st.integers(-60, 60))
def test_a_range_is_what_a_slice_is(size: int, first: int, last: int | None) -> None:
    """Python's slices know negative indexes too; only that ours has the last byte in it."""
    data = bytes(range(size))
    begin, end = Wanted(CAR, first=first, last=last).range_in(size)
    positive = None if last is None else last if last >= 0 else size + last
    slice_end = None if positive is None else max(positive + 1, 0)
    assert data[begin : max(end, begin)] == data[first if first >= -size else 0 : slice_end]


@pytest_twisted.ensureDeferred
async def test_blocks_that_come_twice(registry: Served) -> None:
    await registry.push_blob(REPEATED)
    dag = dag_of(REPEATED)
    leaf = dag.cid_at(BlockPlace(0, 0))
    for duplicates, expected in (("n", [dag.cid, leaf]), ("y", [dag.cid, *[leaf] * 4])):
        for answer in (
            await ask(registry, dag.cid, format="car", car_dups=duplicates),
            await ask(registry, dag.cid, headers={"Accept": f"{CAR_TYPE}; dups={duplicates}"}),
        ):
            assert answer["content-type"].endswith(f"dups={duplicates}")
            assert int(answer["content-length"]) == len(answer.content)
            assert blocks_of(answer.content, dag.cid) == expected


@pytest_twisted.ensureDeferred
async def test_what_a_client_has_is_not_sent_again(pushed: Served) -> None:
    for media_type in ("raw", "car"):
        tag = (await ask(pushed, DAG.cid, method="HEAD", format=media_type))["etag"]
        for condition in (tag, f'"other", {tag}', "*"):
            for method in ("GET", "HEAD"):
                answer = await ask(
                    pushed, DAG.cid, method=method, headers={"If-None-Match": condition}, format=media_type
                )
                assert (answer.status, answer.content, answer["etag"]) == (304, b"", tag)
        assert (await ask(pushed, DAG.cid, headers={"If-None-Match": '"other"'}, format=media_type)).status == 200
    assert (await ask(pushed, UNKNOWN, headers={"If-None-Match": "*"}, format="raw")).status == 404


@pytest_twisted.ensureDeferred
async def test_a_range_of_a_block(pushed: Served) -> None:
    cid = DAG.cid_at(BlockPlace(0, 1))
    answer = await ask(pushed, cid, headers={"Range": "bytes=10-19"}, format="raw")
    assert (answer.status, answer.content) == (206, LAYER[MiB + 10 : MiB + 20])
    assert answer["content-range"] == f"bytes 10-19/{MiB}"
    assert (await ask(pushed, cid, headers={"Range": f"bytes={MiB}-"}, format="raw")).status == 416


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("/ipfs/latest?format=raw", 400, "CID_INVALID"),
        (f"/ipfs/{str(DAG.cid)[:-1]}?format=raw", 400, "CID_INVALID"),
        ("/ipfs/Qm%C3%A9?format=raw", 400, "CID_INVALID"),
        (f"/ipfs/{'b' + 'a' * 5000}?format=raw", 400, "CID_INVALID"),
        (f"/ipfs/{UNKNOWN}?format=raw", 404, "CID_UNKNOWN"),
        (f"/ipfs/{UNKNOWN}?format=car", 404, "CID_UNKNOWN"),
        (f"/ipfs/{CID(1, RAW, 0x1E, bytes(32))}?format=raw", 404, "CID_UNKNOWN"),
        (f"/ipfs/{DAG.cid}/below?format=car", 404, "CID_UNKNOWN"),
        (f"/ipfs/{DAG.cid}/be/low?format=raw", 404, "CID_UNKNOWN"),
        (f"/ipfs/{DAG.cid}", 406, "FORMAT_UNSUPPORTED"),
        (f"/ipfs/{DAG.cid}?format=tar", 406, "FORMAT_UNSUPPORTED"),
        (f"/ipfs/{DAG.cid}?format=", 406, "FORMAT_UNSUPPORTED"),
        (f"/ipfs/{DAG.cid}?format=car&dag-scope=some", 400, "PARAMETER_INVALID"),
        (f"/ipfs/{DAG.cid}?format=car&entity-bytes=1-2", 400, "PARAMETER_INVALID"),
        (f"/ipfs/{DAG.cid}?format=car&entity-bytes={'1' * 30}:*", 400, "PARAMETER_INVALID"),
        (f"/ipfs/{DAG.cid}?format=car&car-version=2", 400, "PARAMETER_INVALID"),
        (f"/ipfs/{DAG.cid}?format=car&car-order=bfs", 400, "PARAMETER_INVALID"),
        (f"/ipfs/{DAG.cid}?format=car&car-dups=maybe", 400, "PARAMETER_INVALID"),
        ("/ipfs/", 404, "UNSUPPORTED"),
        (f"/ipns/{DAG.cid}?format=raw", 404, "UNSUPPORTED"),
    ],
)
@pytest.mark.usefixtures("clean_log")
@pytest_twisted.ensureDeferred
async def test_refusals(pushed_once: Served, target: str, status: int, code: str) -> None:
    assert (await pushed_once.ask("GET", target)).error == (status, code)
    head = await pushed_once.ask("HEAD", target)
    assert (head.status, head.content) == (status, b"")


@pytest_twisted.ensureDeferred
async def test_other_refusals(pushed: Served) -> None:
    assert (await ask(pushed, DAG.cid, method="DELETE", format="raw")).error == (405, "UNSUPPORTED")
    assert (await ask(pushed, DAG.cid, headers={"Accept": "text/html"})).error == (406, "FORMAT_UNSUPPORTED")
    for accept in (f"{CAR_TYPE};version=2", f"{CAR_TYPE};dups=x"):
        assert (await ask(pushed, DAG.cid, headers={"Accept": accept})).error == (400, "PARAMETER_INVALID")
    cached = {"Cache-Control": "only-if-cached"}
    assert (await ask(pushed, UNKNOWN, headers=cached, format="raw")).error == (412, "CID_UNKNOWN")
    assert (await ask(pushed, DAG.cid, headers=cached, format="raw")).status == 200
    assert (await ask(pushed, DAG.cid, "/", format="raw")).status == 200


@pytest_twisted.ensureDeferred
async def test_private_repositories(serve: Serve) -> None:
    served = await serve(gateway={"private": "secret, team/*"})
    leaf = DAG.cid_at(BlockPlace(0, 1))
    for repository in ("secret", "team/app", "team/a/b"):
        manifest = await served.push_image("1", repository, [LAYER])
        await settled(served)
        for cid in (DAG.cid, leaf, cid_of(RAW, manifest), cid_of(RAW, b"{}")):
            assert (await ask(served, cid, format="raw")).error == (404, "CID_UNKNOWN")
            assert (await served.ask("GET", f"/routing/v1/providers/{cid}")).json() == {"Providers": []}
    await served.push_blob(LAYER, "public")  # there everybody may have it
    assert (await ask(served, leaf, format="raw")).status == 200
    assert (await ask(served, cid_of(RAW, manifest), format="raw")).status == 404


@pytest_twisted.ensureDeferred
async def test_it_can_be_switched_off(serve: Serve) -> None:
    served = await serve(gateway={"enabled": "no"})
    await served.push_blob(LAYER)
    assert (await ask(served, DAG.cid, format="raw")).error == (404, "UNSUPPORTED")
    assert (await served.ask("GET", f"/routing/v1/providers/{DAG.cid}")).error == (404, "UNSUPPORTED")
    assert await served.cid("box", digest_of(LAYER)) == str(DAG.cid)


@pytest_twisted.ensureDeferred
async def test_a_slow_push_does_not_keep_others_from_their_cids(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late_dags, "PATIENCE_SECONDS", 0.5)
    served = await serve()
    slow = await served.connect()
    begun = await slow.ask("POST", "/v2/box/blobs/uploads/")
    slow.begin("PATCH", begun["location"], {"Content-Length": 10})
    slow.send(b"five.")
    await served.push_blob(LAYER)
    assert served.daemon.registry.uploads.any_busy()
    assert await served.cid("box", digest_of(LAYER)) == str(DAG.cid)
    assert served.daemon.registry.uploads.any_busy()


@pytest_twisted.ensureDeferred
async def test_what_is_deleted_is_gone(pushed: Served) -> None:
    await pushed.ask("DELETE", f"/v2/box/blobs/{digest_of(LAYER)}")
    for place in DAG.walk(DAG.root):
        assert (await ask(pushed, DAG.cid_at(place), format="raw")).status == 404
    await pushed.push_blob(LAYER)
    assert (await ask(pushed, DAG.cid, format="raw")).status == 200


@pytest_twisted.ensureDeferred
async def test_what_is_read_counts_as_used(serve: Serve) -> None:
    """So the collector leaves it for as long as it leaves what somebody pulled."""
    served = await serve(gc={"grace": "1h"})
    await served.push_blob(LAYER)
    await settled(served)
    collector = served.daemon.registry.collector
    await collector.run(grace=-1)
    await until(lambda: not list((served.store / "bucket" / "dags").rglob("*/*/*")))
    assert (await ask(served, DAG.cid, format="raw")).status == 404
    await served.push_blob(LAYER)
    await pause(0.05)
    used = served.daemon.registry.collector._guard.now()
    await ask(served, DAG.cid_at(BlockPlace(0, 0)), format="raw")
    since = served.daemon.registry.collector._guard.now() - used
    await collector.run(grace=since)
    assert (await ask(served, DAG.cid, format="raw")).status == 200


@pytest_twisted.ensureDeferred
async def test_an_outage_is_no_absence(pushed: Served) -> None:
    volume = pushed.store / "bucket"
    volume.rename(volume.with_name("away"))
    for cid, media_type in ((DAG.cid, "raw"), (DAG.cid, "car"), (cid_of(RAW, b"{}"), "raw")):
        answer = await ask(pushed, cid, format=media_type)
        assert answer.error == (503, "UNAVAILABLE")
        assert int(answer["retry-after"]) > 0
    answer = await pushed.ask("GET", f"/routing/v1/providers/{DAG.cid}")
    assert answer.error == (503, "UNAVAILABLE")
    volume.with_name("away").rename(volume)
    assert (await ask(pushed, DAG.cid, format="raw")).status == 200


@pytest_twisted.ensureDeferred
async def test_damage_is_never_sent(pushed: Served) -> None:
    """A block that is damaged is refused; a CAR with one ends before it, and visibly so."""
    await pushed.cid("box", digest_of(LAYER))  # its DAG was made while it was whole
    hexadecimal = digest_of(LAYER).partition(":")[2]
    stored = pushed.store / "bucket" / "blobs" / "sha256" / hexadecimal[:2] / hexadecimal
    with stored.open("r+b") as file:
        os.pwrite(file.fileno(), bytes(100), 2 * MiB)
    assert (await ask(pushed, DAG.cid_at(BlockPlace(0, 2)), format="raw")).status == 503
    assert (await ask(pushed, DAG.cid_at(BlockPlace(0, 1)), format="raw")).status == 200
    with pytest.raises(ConnectionError):
        await ask(pushed, DAG.cid, format="car")


@pytest_twisted.ensureDeferred
async def test_a_client_that_leaves_in_the_middle(pushed: Served) -> None:
    large = Random(9).randbytes(MiB) * 24  # more than the sockets on the way hold
    await pushed.push_blob(large)
    connection = await pushed.connect()
    connection.begin("GET", f"/ipfs/{dag_of(large).cid}?format=car&car-dups=y", {})
    await connection.read()
    connection.close()
    await until(lambda: not pushed.daemon.site.busy)
    descriptors = [os.readlink(each) for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
    assert not [each for each in descriptors if digest_of(large).partition(":")[2] in each]
    assert (await ask(pushed, DAG.cid, format="raw")).status == 200
