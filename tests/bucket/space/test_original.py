"""Buckets of the original program: written by the official JavaScript client, read through our registry."""

import json
from pathlib import Path

import pytest_twisted

from tests.bucket.textile.test_original import CONFIG, LAYER, MANIFEST, OTHER, OTHER_CONFIG
from tests.web.served import digest_of

from .double import SpaceDouble
from .javascript.runner import install, write_as_original
from .registry import served

pytest_plugins = ["tests.bucket.space.double.fixtures"]

DOCKER_IMAGE = "application/vnd.docker.distribution.manifest.v2+json"


@pytest_twisted.ensureDeferred
async def test_a_bucket_of_the_original_program(space_daemon: SpaceDouble, tmp_path: Path) -> None:
    install()
    files = {
        f"blobs/{digest_of(LAYER)}": LAYER,
        f"blobs/{digest_of(CONFIG)}": CONFIG,
        "manifests/hello/latest": MANIFEST,
        "manifests/hello/v1": MANIFEST,
    }
    await write_as_original(space_daemon.url, space_daemon.token, files)
    async with served(tmp_path / "daemon", space_daemon) as registry:
        # Pulled, by tag and by digest, in parts, and listed.
        for reference in ("latest", digest_of(MANIFEST)):
            answer = await registry.ask("GET", f"/v2/hello/manifests/{reference}")
            assert (answer.status, answer.content, answer["content-type"]) == (200, MANIFEST, DOCKER_IMAGE)
        layer = f"/v2/hello/blobs/{digest_of(LAYER)}"
        assert (await registry.ask("GET", layer)).content == LAYER
        part = await registry.ask("GET", layer, {"Range": "bytes=7-13"})
        assert (part.status, part.content) == (206, LAYER[7:14])
        assert json.loads((await registry.ask("GET", "/v2/hello/tags/list")).content)["tags"] == ["latest", "v1"]
        assert json.loads((await registry.ask("GET", "/v2/_catalog")).content)["repositories"] == ["hello"]
        assert (await registry.ask("GET", "/v2/hello/manifests/v2")).status == 404
        # Pushed to: the layer is there already.
        assert (await registry.ask("HEAD", layer)).status == 200
        await registry.push_blob(OTHER_CONFIG, "hello")
        assert (await registry.push(OTHER, "latest", "hello", DOCKER_IMAGE)).status == 201
        assert (await registry.ask("GET", "/v2/hello/manifests/latest")).content == OTHER
        assert (await registry.ask("GET", "/v2/hello/manifests/v1")).content == MANIFEST
        # Deleted in both layouts.
        assert (await registry.ask("DELETE", "/v2/hello/manifests/latest")).status == 202
        assert (await registry.ask("GET", "/v2/hello/manifests/latest")).status == 404
        assert json.loads((await registry.ask("GET", "/v2/hello/tags/list")).content)["tags"] == ["v1"]
        # What the original program wrote is never collected.
        await registry.daemon.registry.collector.run(grace=0.0)
        assert (await registry.ask("GET", "/v2/hello/manifests/v1")).content == MANIFEST
        # The layer and its configuration: what was pushed for the deleted tag is collected.
        report = await registry.daemon.registry.verifier.verify()
        assert (report.contents, report.damaged, report.missing) == (2, [], [])
    registry.wipe_cache()
    async with served(tmp_path / "daemon", space_daemon) as registry:
        assert (await registry.ask("GET", layer)).content == LAYER
    assert space_daemon.touched == []
