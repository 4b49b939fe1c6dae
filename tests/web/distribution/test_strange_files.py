"""Symbolic links, FIFOs and loops in a local bucket, as clients and operators see them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor

from ipfsreg.cli.daemon_client import ControlError, DaemonClient
from tests.web.served import Served, digest_of, image

Make = Callable[[Path, Path], None]

STRANGERS: list[Make] = [
    lambda path, outside: path.symlink_to(outside),
    lambda path, outside: path.symlink_to(path),
    lambda path, outside: os.mkfifo(path),
]


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """What must stay as it is: empty directories, and what would be a repository."""
    (tmp_path / "outside/empty/empty").mkdir(parents=True)
    (tmp_path / "outside/_manifests/sha256").mkdir(parents=True)
    return tmp_path / "outside"


def names(directory: Path) -> list[str]:
    return sorted(str(each) for each in directory.rglob("*"))


async def task(registry: Served, name: str, **arguments: str) -> dict[str, Any]:
    return await DaemonClient(reactor, registry.store / "control.sock").do(name, arguments)


def replaced(path: Path, make: Make, outside: Path) -> None:
    if path.is_dir():
        path.rename(outside / path.name)
    else:
        path.unlink()
    make(path, outside)


def blob(registry: Served, content: bytes) -> Path:
    digits = digest_of(content).partition(":")[2]
    return registry.store / f"bucket/blobs/sha256/{digits[:2]}/{digits}"


@pytest.mark.parametrize("make", STRANGERS)
@pytest_twisted.ensureDeferred
async def test_in_the_place_of_a_repository(registry: Served, outside: Path, make: Make) -> None:
    before = names(outside)
    await registry.push_image("1", layers=[b"layer"])
    make(registry.store / "bucket/repositories/evil", outside)
    answer = await registry.ask("GET", "/v2/_catalog")
    assert (answer.status, answer.json()) == (200, {"repositories": ["box"]})
    assert (await registry.ask("GET", "/v2/evil/tags/list")).status in {404, 503}
    # Nobody knows what it holds, so nothing is collected, and both say where it is.
    with pytest.raises(ControlError, match="repositories/evil"):
        await task(registry, "gc", now="1")
    found = await task(registry, "verify")
    assert found["strays"] == {"repositories/evil": "neither a file nor a directory"}
    assert "repositories/evil" in found["stopped_by"]
    assert names(outside) == before
    (registry.store / "bucket/repositories/evil").unlink()
    assert (await task(registry, "gc", now="1"))["contents"] == 0
    assert (await task(registry, "verify"))["contents"] == 3


@pytest.mark.parametrize("make", STRANGERS)
@pytest_twisted.ensureDeferred
async def test_in_the_place_of_a_tag(registry: Served, outside: Path, make: Make) -> None:
    before = names(outside)
    manifest = await registry.push_image("1", layers=[b"layer"])
    await registry.push(manifest, "2")
    for number in range(30):  # more than there are threads
        make(registry.store / f"bucket/repositories/box/_tags/bad{number}", outside)
        assert (await registry.ask("GET", f"/v2/box/manifests/bad{number}")).status == 404
    answer = await registry.ask("GET", "/v2/box/manifests/2")
    assert (answer.status, answer.content) == (200, manifest)
    assert (await task(registry, "gc", now="1"))["skipped"] == ["box"]
    assert "repositories/box/_tags/bad7" in (await task(registry, "verify"))["unreadable"]
    assert (await registry.push(manifest, "bad7")).status == 201
    assert (await registry.ask("GET", "/v2/box/manifests/bad7")).content == manifest
    assert (await registry.ask("DELETE", "/v2/box/manifests/bad8")).status == 202
    assert names(outside) == before


@pytest.mark.parametrize("place", ["_tags", "_manifests/sha256", "_blobs/sha256"])
@pytest_twisted.ensureDeferred
async def test_in_the_place_of_a_directory(registry: Served, outside: Path, place: str) -> None:
    """A directory that somebody moved to another disk, and left a link to, does not count as empty."""
    manifest = await registry.push_image("1", layers=[b"layer"])
    directory = registry.store / f"bucket/repositories/box/{place}"
    directory.rename(outside / "moved")
    directory.symlink_to(outside / "moved")
    before = names(outside)
    with pytest.raises(ControlError, match=f"repositories/box/{place.partition('/')[0]}"):
        await task(registry, "gc", now="1")
    assert (await registry.ask("GET", "/v2/_catalog")).status == 200
    assert names(outside) == before
    directory.unlink()
    (outside / "moved").rename(directory)
    answer = await registry.ask("GET", "/v2/box/manifests/1")
    assert (answer.status, answer.content) == (200, manifest)
    assert (await task(registry, "gc", now="1"))["contents"] == 0


@pytest.mark.parametrize("make", STRANGERS)
@pytest_twisted.ensureDeferred
async def test_in_the_place_of_content(registry: Served, outside: Path, make: Make) -> None:
    """It is damaged content: missing for clients until it is pushed again, and put out of the way."""
    before = names(outside)
    layer = b"layer" * 1000
    manifest = await registry.push_image("1", layers=[layer, b"another"])
    replaced(blob(registry, layer), make, outside)
    target = f"/v2/box/blobs/{digest_of(layer)}"
    assert (await registry.ask("GET", target)).status == 404
    assert (await registry.ask("HEAD", target)).status == 404
    await registry.push_blob(layer)
    assert (await registry.ask("GET", target)).content == layer
    replaced(blob(registry, layer), make, outside)
    await registry.push_blob(layer, repository="other")
    assert (await registry.ask("GET", target)).content == layer
    replaced(blob(registry, b"another"), make, outside)
    assert (await task(registry, "verify"))["damaged"] == [digest_of(b"another")]
    replaced(blob(registry, manifest), make, outside)
    assert (await registry.push(manifest, "2")).status in {201, 404}
    assert names(outside) == before


@pytest.mark.parametrize("make", STRANGERS)
@pytest_twisted.ensureDeferred
async def test_in_the_place_of_a_link_or_record(registry: Served, outside: Path, make: Make) -> None:
    before = names(outside)
    manifest = await registry.push_image("1", layers=[b"layer"])
    box = registry.store / "bucket/repositories/box"
    for kind, content in (("_blobs", b"layer"), ("_manifests", manifest)):
        digits = digest_of(content).partition(":")[2]
        replaced(box / f"{kind}/sha256/{digits[:2]}/{digits}", make, outside)
    assert (await task(registry, "gc", now="1"))["skipped"] == ["box"]
    answer = await registry.ask("GET", f"/v2/box/blobs/{digest_of(b'layer')}")
    assert (answer.status, answer.content) == (200, b"layer")  # the link is written anew
    assert (await registry.ask("GET", "/v2/box/manifests/1")).status == 404
    assert (await registry.push(image(layers=[b"layer"]), "1")).status == 201
    assert (await registry.ask("GET", "/v2/box/manifests/1")).content == manifest
    assert names(outside) == before


@pytest.mark.parametrize("make", [*STRANGERS, lambda path, outside: path.write_text("a file")])
@pytest.mark.parametrize("place", ["repositories", "repositories/box", "repositories/box/_tags"])
@pytest_twisted.ensureDeferred
async def test_on_the_way_to_a_manifest(registry: Served, outside: Path, place: str, make: Make) -> None:
    """It is not absent: a client that is told so would push it again, which cannot be either."""
    manifest = await registry.push_image("1", layers=[b"layer"])
    replaced(registry.store / "bucket" / place, make, outside)
    references = ["1", "2"] if place.endswith("_tags") else ["1", "2", digest_of(manifest)]
    for reference in references:
        for method in ("GET", "HEAD"):
            answer = await registry.ask(method, f"/v2/box/manifests/{reference}")
            assert answer.status == 503
            assert "retry-after" in answer
