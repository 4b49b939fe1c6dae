"""Images that were read together are described as if each had been read by itself."""

import json
from typing import Any

import pytest
import pytest_twisted

from ipfsreg.bucket.errors import Corrupt
from ipfsreg.registry import layout
from ipfsreg.registry.digest import digest_of
from ipfsreg.registry.errors import ManifestInvalid, ManifestUnknown
from ipfsreg.registry.ipfs.describing import Describer
from ipfsreg.registry.manifest import OCI_INDEX
from ipfsreg.registry.names import Repository, Tag
from tests.registry.place import Place

APP = Repository("app")
CONFIG = json.dumps({"os": "linux", "architecture": "amd64", "created": "2026-11-30T12:00:00Z"}).encode()


async def summary(describer: Describer, tag: Tag) -> Any:
    try:
        return await describer.summary(APP, tag)
    except (ManifestUnknown, ManifestInvalid, Corrupt) as error:
        return type(error)


@pytest_twisted.ensureDeferred
async def test_they_are_as_they_would_be_alone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = await place.push_image(APP, ["image", "again"], CONFIG, b"layer")
    await place.push_image(APP, ["artifact"], b"{}", b"a layer", artifactType="application/x-example")
    listed = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": len(manifest)}
    index = {"schemaVersion": 2, "manifests": [listed | {"digest": str(digest_of(manifest))}]}
    await place.registry.manifests.put(APP, json.dumps(index).encode(), OCI_INDEX, None, [Tag("index")])
    damaged = await place.push_image(APP, ["damaged"], CONFIG, b"another layer")
    no_config = await place.push_image(APP, ["no-config"], b"another config")
    long = await place.push_image(APP, ["long"], CONFIG + b" " * 100_000, annotations={"long": "x" * 100_000})
    await place.restart()
    tags = [
        Tag(each) for each in ("image", "again", "artifact", "index", "damaged", "no-config", "long", "none", "bad")
    ]
    (place.files / layout.tag(APP, Tag("bad"))).write_bytes(b"no digest")
    (place.files / layout.blob(digest_of(damaged))).write_bytes(damaged.replace(b"1", b"2"))
    (place.files / layout.blob_link(APP, digest_of(b"another config"))).unlink()
    assert len(no_config) < len(long)
    together = await place.registry.describer_of(APP, tags)
    alone = place.registry.describer
    found = {tag: await summary(together, tag) for tag in tags}
    assert found == {tag: await summary(alone, tag) for tag in tags}
    assert found[Tag("image")]["platforms"] == ["linux/amd64"]
    assert found[Tag("none")] is ManifestUnknown

    def refuse(path: str, *more: object) -> object:
        raise AssertionError(f"{path} is read by itself")

    await place.restart()
    monkeypatch.setattr(place.bucket, "get", refuse)
    monkeypatch.setattr(place.bucket, "open", refuse)
    together = await place.registry.describer_of(APP, tags)
    assert await summary(together, Tag("again")) == found[Tag("again")]
