"""A manifest of 4 MiB may list tens of thousands of layers: how often a push looks for them."""

import json
from collections.abc import Sequence

import pytest
import pytest_twisted

from ipfsreg.registry.digest import Digest, digest_of
from ipfsreg.registry.errors import ManifestBlobUnknown, SizeInvalid
from ipfsreg.registry.manifest import OCI_IMAGE
from ipfsreg.registry.names import Repository
from ipfsreg.registry.repository.blobs import Blobs
from tests.registry.place import Place

APP = Repository("app")
CONFIG = b"{}"


@pytest.fixture
def looked_for(monkeypatch: pytest.MonkeyPatch) -> list[Digest]:
    """The blobs that were looked for, in order."""
    found: list[Digest] = []
    whole_sizes = Blobs.whole_sizes

    async def note(self: Blobs, repository: Repository, digests: Sequence[Digest]) -> list[int | None]:
        found.extend(digests)
        return await whole_sizes(self, repository, digests)

    monkeypatch.setattr(Blobs, "whole_sizes", note)
    return found


def image(*layers: tuple[Digest, int]) -> bytes:
    parts = [{"mediaType": "a/b", "digest": str(digest), "size": size} for digest, size in layers]
    config = {"mediaType": "a/b", "digest": str(digest_of(CONFIG)), "size": len(CONFIG)}
    return json.dumps({"schemaVersion": 2, "config": config, "layers": parts}).encode()


@pytest_twisted.ensureDeferred
async def test_one_layer_listed_20000_times(place: Place, looked_for: list[Digest]) -> None:
    await place.push_blob(APP, CONFIG)
    await place.push_blob(APP, b"layer")
    looked_for.clear()
    content = image(*[(digest_of(b"layer"), 5)] * 20_000)
    await place.registry.manifests.put(APP, content, OCI_IMAGE, None, [])
    assert looked_for == [digest_of(CONFIG), digest_of(b"layer")]


@pytest_twisted.ensureDeferred
async def test_20000_layers_that_are_missing(place: Place, looked_for: list[Digest]) -> None:
    await place.push_blob(APP, CONFIG)
    looked_for.clear()
    layers = [digest_of(b"%d" % number) for number in range(20_000)]
    with pytest.raises(ManifestBlobUnknown) as error:
        await place.registry.manifests.put(APP, image(*((each, 1) for each in layers)), OCI_IMAGE, None, [])
    assert isinstance(error.value.detail, dict)
    assert error.value.detail["digests"] == [str(each) for each in layers[:50]]
    assert len(looked_for) <= 1000


@pytest_twisted.ensureDeferred
async def test_the_last_of_many_layers_is_looked_for(place: Place) -> None:
    await place.push_blob(APP, CONFIG)
    await place.push_blob(APP, b"layer")
    many = [(digest_of(b"layer"), 5)] * 5000
    with pytest.raises(ManifestBlobUnknown):
        await place.registry.manifests.put(APP, image(*many, (digest_of(b"none"), 5)), OCI_IMAGE, None, [])
    with pytest.raises(SizeInvalid):
        await place.registry.manifests.put(APP, image(*many, (digest_of(b"layer"), 6)), OCI_IMAGE, None, [])
