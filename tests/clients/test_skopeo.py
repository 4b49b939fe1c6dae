"""skopeo: copies between layouts, registries and folders, and everything it can ask a registry."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Answer
from .images import (
    DOCKER_LIST_TYPE,
    DOCKER_MANIFEST_TYPE,
    INDEX_TYPE,
    Image,
    layout_blobs,
    make_image,
    random_layer,
    write_layout,
)
from .programs import client_environment, needed, require_program, run
from .recorder import Recorder

Skopeo = Callable[..., str]

skopeo_is_there = needed("skopeo")


@pytest.fixture
def skopeo(tmp_path: Path) -> Skopeo:
    """Run skopeo with settings and blob cache of its own: it knows nothing from earlier tests."""
    program = require_program("skopeo")
    env = client_environment(tmp_path / "home")

    def skopeo(*arguments: str | Path, fails: bool = False) -> str:
        return run(program, *arguments, env=env, fails=fails)

    return skopeo


def push(skopeo: Skopeo, source: str, name: str, *options: str) -> None:
    skopeo("copy", "--quiet", "--dest-tls-verify=false", *options, source, f"docker://{name}")


def pull(skopeo: Skopeo, name: str, target: str, *options: str) -> None:
    skopeo("copy", "--quiet", "--src-tls-verify=false", *options, f"docker://{name}", target)


@pytest.fixture
def image() -> Image:
    """An image of two layers, the second of several megabytes."""
    return make_image([random_layer("small", 1_000), random_layer("large", 5_000_000)])


def test_image_comes_back_byte_for_byte(skopeo: Skopeo, wire: Recorder, image: Image, tmp_path: Path) -> None:
    write_layout(tmp_path / "out", {"1": image})
    name = f"{wire.host}/some/deep/repository/name"
    push(skopeo, f"oci:{tmp_path / 'out'}:1", f"{name}:1")
    assert wire.exchanges("PATCH")
    for number, reference in enumerate((f"{name}:1", f"{name}@{image.digest}")):
        back = tmp_path / f"back{number}"
        pull(skopeo, reference, f"oci:{back}:1")
        assert layout_blobs(back) == {image.digest: image.manifest, **image.blobs}


def test_index_with_all_its_images(
    skopeo: Skopeo, wire: Recorder, busybox: Path, ask: Callable[..., Answer], tmp_path: Path
) -> None:
    name = f"{wire.host}/multi:1"
    push(skopeo, f"oci:{busybox}:multi", name, "--all")
    stored = ask("/v2/multi/manifests/1")
    assert stored.headers["Content-Type"] == INDEX_TYPE
    digests = {member["digest"] for member in json.loads(stored.content)["manifests"]}
    assert len(digests) == 2

    pull(skopeo, name, f"oci:{tmp_path / 'back'}:1", "--all")
    back = layout_blobs(tmp_path / "back")
    assert back.items() <= layout_blobs(busybox).items()
    assert digests | {stored.headers["Docker-Content-Digest"]} <= back.keys()


@pytest.mark.parametrize("tag", ["amd64", "multi"])
def test_docker_formats(skopeo: Skopeo, wire: Recorder, busybox: Path, ask: Callable[..., Answer], tag: str) -> None:
    push(skopeo, f"oci:{busybox}:{tag}", f"{wire.host}/docker-format:{tag}", "--all", "--format=v2s2")
    expected = DOCKER_LIST_TYPE if tag == "multi" else DOCKER_MANIFEST_TYPE
    stored = ask(f"/v2/docker-format/manifests/{tag}")
    assert stored.headers["Content-Type"] == json.loads(stored.content)["mediaType"] == expected


def test_zstd_layers(skopeo: Skopeo, wire: Recorder, image: Image, tmp_path: Path) -> None:
    write_layout(tmp_path / "out", {"1": image})
    name = f"{wire.host}/zstd:1"
    push(skopeo, f"oci:{tmp_path / 'out'}:1", name, "--dest-compress-format=zstd", "--dest-compress")
    pull(skopeo, name, f"oci:{tmp_path / 'back'}:1")
    contents = layout_blobs(tmp_path / "back").values()
    assert sum(content.startswith(b"\x28\xb5\x2f\xfd") for content in contents) == 2


def test_inspect(skopeo: Skopeo, wire: Recorder, image: Image, tmp_path: Path) -> None:
    write_layout(tmp_path / "out", {"1": image})
    name = f"docker://{wire.host}/inspect:1"
    push(skopeo, f"oci:{tmp_path / 'out'}:1", f"{wire.host}/inspect:1")
    assert skopeo("inspect", "--tls-verify=false", "--raw", name).encode() == image.manifest
    told = json.loads(skopeo("inspect", "--tls-verify=false", name))
    assert (told["Digest"], told["RepoTags"], len(told["Layers"])) == (image.digest, ["1"], 2)


def test_lists(skopeo: Skopeo, wire: Recorder, image: Image, ask: Callable[..., Answer], tmp_path: Path) -> None:
    write_layout(tmp_path / "out", {"1": image})
    names = ["lists/a", "lists/a/b"]
    for name in names:
        for tag in ("v10", "v2", "latest"):
            push(skopeo, f"oci:{tmp_path / 'out'}:1", f"{wire.host}/{name}:{tag}")
    for name in names:
        told = json.loads(skopeo("list-tags", "--tls-verify=false", f"docker://{wire.host}/{name}"))
        assert told["Tags"] == ["latest", "v10", "v2"]
    catalog = json.loads(ask("/v2/_catalog").content)["repositories"]
    assert [name for name in catalog if name.startswith("lists/")] == names


def test_delete_and_push_again(
    skopeo: Skopeo, wire: Recorder, image: Image, ask: Callable[..., Answer], tmp_path: Path
) -> None:
    write_layout(tmp_path / "out", {"1": image})
    name = f"{wire.host}/deleted"
    for tag in ("one", "two"):
        push(skopeo, f"oci:{tmp_path / 'out'}:1", f"{name}:{tag}")
    skopeo("delete", "--tls-verify=false", f"docker://{name}:one")
    # skopeo deletes the manifest that the tag names, so every tag of it goes.
    assert [exchange.path for exchange in wire.exchanges("DELETE")] == [f"/v2/deleted/manifests/{image.digest}"]
    for reference in ("one", "two", image.digest):
        assert ask(f"/v2/deleted/manifests/{reference}").status == 404
    assert "manifest unknown" in skopeo("inspect", "--tls-verify=false", f"docker://{name}:one", fails=True)

    push(skopeo, f"oci:{tmp_path / 'out'}:1", f"{name}:one")
    pull(skopeo, f"{name}:one", f"oci:{tmp_path / 'back'}:1")
    assert layout_blobs(tmp_path / "back") == {image.digest: image.manifest, **image.blobs}
    assert json.loads(ask("/v2/deleted/tags/list").content)["tags"] == ["one"]


def test_second_push_sends_no_blob(skopeo: Skopeo, wire: Recorder, image: Image, tmp_path: Path) -> None:
    write_layout(tmp_path / "out", {"1": image})
    push(skopeo, f"oci:{tmp_path / 'out'}:1", f"{wire.host}/again:1")
    wire.clear()
    push(skopeo, f"oci:{tmp_path / 'out'}:1", f"{wire.host}/again:2")
    assert wire.exchanges("POST") == []
    assert [exchange.status for exchange in wire.exchanges("HEAD", "/blobs/")] == [200] * len(image.blobs)
    assert [exchange.status for exchange in wire.exchanges("PUT", "/manifests/")] == [201]


def test_copy_between_repositories_mounts(skopeo: Skopeo, wire: Recorder, image: Image, tmp_path: Path) -> None:
    write_layout(tmp_path / "out", {"1": image})
    push(skopeo, f"oci:{tmp_path / 'out'}:1", f"{wire.host}/mount/from:1")
    wire.clear()
    skopeo(
        *("copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"),
        *(f"docker://{wire.host}/mount/from:1", f"docker://{wire.host}/mount/into:1"),
    )
    mounts = [e for e in wire.exchanges("POST", "/v2/mount/into/blobs/uploads/") if "mount" in e.query]
    # It sends the configuration anew and mounts the layers.
    layers = {layer["digest"] for layer in json.loads(image.manifest)["layers"]}
    assert {exchange.query["mount"] for exchange in mounts} == layers
    assert {(exchange.query["from"], exchange.status) for exchange in mounts} == {("mount/from", 201)}
    assert sum(exchange.sent for exchange in wire.exchanges("PATCH")) < 1_000

    pull(skopeo, f"{wire.host}/mount/into:1", f"oci:{tmp_path / 'back'}:1")
    assert layout_blobs(tmp_path / "back") == {image.digest: image.manifest, **image.blobs}


def test_sync_to_a_folder_and_back(
    skopeo: Skopeo, wire: Recorder, image: Image, ask: Callable[..., Answer], tmp_path: Path
) -> None:
    other = make_image([random_layer("other", 2_000)])
    write_layout(tmp_path / "out", {"1": image, "2": other})
    for tag in ("1", "2"):
        push(skopeo, f"oci:{tmp_path / 'out'}:{tag}", f"{wire.host}/sync/from:{tag}")
    folder = tmp_path / "folder"
    skopeo("sync", "--src-tls-verify=false", "--src=docker", "--dest=dir", f"{wire.host}/sync/from", folder)
    assert sorted(entry.name for entry in folder.iterdir()) == ["from:1", "from:2"]
    skopeo("sync", "--dest-tls-verify=false", "--src=dir", "--dest=docker", folder, f"{wire.host}/sync/into")
    for tag, expected in (("1", image), ("2", other)):
        assert ask(f"/v2/sync/into/from/manifests/{tag}").content == expected.manifest
