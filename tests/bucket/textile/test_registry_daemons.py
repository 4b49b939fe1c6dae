"""Many clients of one daemon, and several daemons on one bucket."""

import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_twisted

from ipfsreg.bucket.cache import small_files
from ipfsreg.bucket.textile.server import threads
from ipfsreg.registry.repository import catalog
from tests.bucket.contract import spawn, together
from tests.bucket.running import listening
from tests.full import some
from tests.web.client import Answer, pause
from tests.web.served import Served, digest_of, image

from .double import CURRENT, NO_PUSH_PATHS, Generation, TextileDouble
from .registry import check_no_secrets, logged, served, text_of

pytest_plugins = ["tests.bucket.textile.double.fixtures"]

BUCKET = "ipfsreg"
VISIBLE_WITHIN = 6.0
BELIEVED = 0.3
"""For how long small files and the catalog are believed here, in seconds; by default longer, to spare the server."""


@pytest.mark.parametrize("generation", some(1, [CURRENT, NO_PUSH_PATHS]), ids=str)
@pytest_twisted.ensureDeferred
async def test_twenty_clients_at_once(generation: Generation, tmp_path: Path) -> None:
    """Each pushes an image of two layers, one of which is everybody's."""
    async with listening(TextileDouble(hub=True, generation=generation)) as double:
        shared = os.urandom(500_000)
        if generation.has_push_paths:
            double.faults.save_seconds = 0.1  # as a real server: what comes meanwhile goes in the next stream
        async with served(tmp_path / "daemon", double, double.accounts.add_key()) as registry:
            layers = [[shared, os.urandom(50_000)] for _ in range(20)]
            await together(*(registry.push_image("1", f"box{number}", each) for number, each in enumerate(layers)))
            for number, each in enumerate(layers):
                answer = await registry.ask("GET", f"/v2/box{number}/manifests/1")
                assert (answer.status, answer.content) == (200, image(layers=each))
                assert (await registry.ask("GET", f"/v2/box{number}/blobs/{digest_of(each[1])}")).content == each[1]
            pushes = [*double.calls.of("PushPath"), *double.calls.of("PushPaths")]
            files = double.files(BUCKET)
            assert len([path for path in files if path.startswith("blobs/")]) == 1 + 1 + 20 + 20
            # What was sent again is what several wanted at the same time, and nothing was refused.
            assert {record.status for record in pushes} <= {0, 12}
            assert {record.request.header.root for record in pushes if record.status == 0} == {""}
            if generation.has_push_paths:
                assert len(pushes) < len(files) / 2  # fewer the slower the server is beside its clients
            else:
                assert len(double.calls.of("PushPaths")) == 1
                assert len(double.calls.of("PushPath")) >= len(files)


@pytest_twisted.ensureDeferred
async def test_a_slow_client_holds_no_lock(textile_hub: TextileDouble, tmp_path: Path) -> None:
    content = os.urandom(200_000)
    async with served(tmp_path / "daemon", textile_hub, textile_hub.accounts.add_key()) as registry:
        await registry.push_image("1")
        textile_hub.calls.clear()
        connection = await registry.connect()
        location = await registry.begin_upload()
        connection.begin("PUT", f"{location}?digest={digest_of(content)}", {"Content-Length": len(content)})
        key = textile_hub.bucket(BUCKET).key
        began = time.monotonic()
        for start in range(0, len(content), 20_000):
            connection.send(content[start : start + 20_000])
            await pause(0.05)
            assert not textile_hub.buckets.is_locked(key) or start + 20_000 == len(content)
            if start == 100_000:  # others push meanwhile
                await registry.push_image("2", layers=[b"other"])
        assert (await connection.answer()).status == 201
        took = time.monotonic() - began
        held = [record.lock_held for record in textile_hub.calls if record.lock_taken is not None]
        assert took >= 0.5
        assert sum(held) < took / 2
        assert max(held) < 0.3


@pytest_twisted.async_yield_fixture()
async def two(
    textile_buckd: TextileDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Served, Served]]:
    """Two daemons that start together, before there is a bucket."""
    assert small_files.SHARED_SECONDS <= 2.0
    assert threads.KNOWN_SECONDS <= 3.0
    assert catalog.CATALOG_BELIEVED_SECONDS <= 5.0
    monkeypatch.setattr(small_files, "SHARED_SECONDS", BELIEVED)
    monkeypatch.setattr(catalog, "CATALOG_BELIEVED_SECONDS", BELIEVED)
    textile_buckd.faults.create_seconds = 0.1
    with logged() as log:
        async with AsyncExitStack() as stack:
            pair = [await stack.enter_async_context(served(tmp_path / each, textile_buckd, None)) for each in "ab"]
            yield pair[0], pair[1]
        assert "Traceback" not in text_of(log)
        check_no_secrets(textile_buckd, text_of(log))


@pytest_twisted.ensureDeferred
async def test_daemons_see_each_others_work(two: tuple[Served, Served], textile_buckd: TextileDouble) -> None:
    here, there = two
    layer = os.urandom(100_000)
    old, new = image(), image(layers=[layer])
    await together(here.push_image("moved"), there.push_image("deleted"))
    assert len(textile_buckd.buckets.all()) == 1
    for registry in two:
        for tag in ("moved", "deleted"):
            await visible(registry, f"/v2/box/manifests/{tag}", lambda answer: answer.content == old)

    # From now on what is asked for is known there: it has to be noticed that it changes.
    assert (await there.ask("GET", "/v2/_catalog")).json() == {"repositories": ["box"]}
    assert (await there.ask("GET", "/v2/box/tags/list")).json()["tags"] == ["deleted", "moved"]
    await here.push_image("moved", layers=[layer])
    await here.push_image("1", "another/box", [layer])
    assert (await here.ask("DELETE", "/v2/box/manifests/deleted")).status == 202
    checks = [
        ("/v2/box/manifests/moved", lambda answer: answer.content == new),
        (f"/v2/box/manifests/{digest_of(new)}", lambda answer: answer.content == new),
        (f"/v2/box/blobs/{digest_of(layer)}", lambda answer: answer.content == layer),
        (f"/v2/another/box/blobs/{digest_of(layer)}", lambda answer: answer.content == layer),
        ("/v2/box/manifests/deleted", lambda answer: answer.status == 404),
        ("/v2/box/tags/list", lambda answer: answer.json()["tags"] == ["moved"]),
        ("/v2/another/box/tags/list", lambda answer: answer.status == 200 and answer.json()["tags"] == ["1"]),
        ("/v2/_catalog", lambda answer: answer.json()["repositories"] == ["another/box", "box"]),
    ]
    await together(*(visible(there, target, check) for target, check in checks))
    # Gone by digest, with all its tags, and the other way round.
    assert (await there.ask("DELETE", f"/v2/box/manifests/{digest_of(new)}")).status == 202
    await visible(here, "/v2/box/manifests/moved", lambda answer: answer.status == 404)
    await visible(here, f"/v2/box/manifests/{digest_of(new)}", lambda answer: answer.status == 404)


async def visible(registry: Served, target: str, check: "object") -> None:
    """Wait until an answer is as it should be."""
    assert callable(check)
    until = time.monotonic() + VISIBLE_WITHIN
    while True:
        answer: Answer = await registry.ask("GET", target)
        assert answer.status in {200, 404}
        if check(answer):
            return
        assert time.monotonic() < until, f"{target}: {answer.status} {answer.content[:200]!r}"
        await pause(0.1)


@pytest_twisted.ensureDeferred
async def test_pulls_of_one_layer_are_one_transfer(textile_hub: TextileDouble, tmp_path: Path) -> None:
    layer = os.urandom(900_000)
    key = textile_hub.accounts.add_key()
    async with served(tmp_path / "a", textile_hub, key) as registry:
        await registry.push_image("1", layers=[layer])
    textile_hub.faults.pull_bytes_per_second = 3_000_000.0
    textile_hub.calls.clear()
    async with served(tmp_path / "b", textile_hub, key) as registry:
        target = f"/v2/box/blobs/{digest_of(layer)}"
        answers = [spawn(registry.ask("GET", target)) for _ in range(8)]
        assert (await registry.ask("HEAD", target))["content-length"] == str(len(layer))
        for each in answers:
            answer = await each
            assert isinstance(answer, Answer)
            assert answer.content == layer
        ranged = await registry.ask("GET", target, {"Range": "bytes=700000-"})
        assert (ranged.status, ranged.content) == (206, layer[700_000:])
        layers = [record for record in textile_hub.calls.of("PullPath") if record.messages_sent > 2]
        assert len(layers) == 1
