"""Pushing, pulling and deleting manifests (distribution-spec, "Pulling manifests", "Pushing Manifests")."""

import json
from typing import Any

import pytest
import pytest_twisted

from ipfsreg.web.http import budget
from tests.full import FULL
from tests.web.client import chunk, pause, query
from tests.web.served import (
    CONFIG_TYPE,
    INDEX_TYPE,
    LAYER_TYPE,
    MANIFEST_TYPE,
    Serve,
    Served,
    descriptor,
    digest_of,
    image,
)

DOCKER_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST_TYPE = "application/vnd.docker.distribution.manifest.list.v2+json"
ARTIFACT_TYPE = "application/vnd.oci.artifact.manifest.v1+json"


def index(*manifests: bytes, media_type: str = INDEX_TYPE, of: str = MANIFEST_TYPE, **more: object) -> bytes:
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "manifests": [descriptor(manifest, of) for manifest in manifests],
        **more,
    }
    return json.dumps(document, indent="\t").encode()


async def pulled(registry: Served, reference: str, content: bytes, media_type: str) -> None:
    """Check that a manifest comes back byte for byte, as what it was pushed, whatever the client accepts."""
    digest = digest_of(content, "sha512" if reference.startswith("sha512") else "sha256")
    for method in ("GET", "HEAD"):
        for accept in ("*/*", MANIFEST_TYPE, "text/html"):
            answer = await registry.ask(method, f"/v2/box/manifests/{reference}", {"Accept": accept})
            assert answer.status == 200
            assert answer.content == (content if method == "GET" else b"")
            assert answer["content-type"] == media_type
            assert answer["content-length"] == str(len(content))
            assert answer["docker-content-digest"] == digest
            assert answer["etag"] == f'"{digest}"'


@pytest_twisted.ensureDeferred
async def test_a_manifest_comes_back_by_tag_and_by_digest(registry: Served) -> None:
    manifest = await registry.push_image("latest", layers=[b"layer"])
    for reference in ("latest", digest_of(manifest)):
        await pulled(registry, reference, manifest, MANIFEST_TYPE)


@pytest_twisted.ensureDeferred
async def test_the_answer_to_a_push_says_where_it_is(registry: Served) -> None:
    await registry.push_blob(b"{}")
    manifest = image()
    for reference in ("v1", digest_of(manifest)):
        answer = await registry.push(manifest, reference)
        assert (answer.status, answer.content) == (201, b"")
        assert answer["location"] == f"/v2/box/manifests/{reference}"
        assert answer["docker-content-digest"] == digest_of(manifest)
        assert "oci-subject" not in answer
        assert "oci-tag" not in answer


@pytest.mark.parametrize("pieces", [True, False])
@pytest_twisted.ensureDeferred
async def test_a_manifest_can_come_in_chunks(registry: Served, pieces: bool) -> None:
    await registry.push_blob(b"{}")
    manifest = image(annotations={"long": "x" * 200_000})
    content = [manifest[:5], manifest[5:150_000], manifest[150_000:]] if pieces else [manifest]
    answer = await registry.ask("PUT", "/v2/box/manifests/v1", {"Content-Type": MANIFEST_TYPE}, content)
    assert answer.status == 201
    await pulled(registry, "v1", manifest, MANIFEST_TYPE)


@pytest_twisted.ensureDeferred
async def test_sha512_is_a_digest_like_any_other(registry: Served) -> None:
    layer = b"a layer known by sha512"
    await registry.push_blob(layer, algorithm="sha512")
    await registry.push_blob(b"{}")
    layers = [{"mediaType": LAYER_TYPE, "digest": digest_of(layer, "sha512"), "size": len(layer)}]
    manifest = image(layers=[]).replace(b'"layers": []', b'"layers": ' + json.dumps(layers).encode())
    reference = digest_of(manifest, "sha512")
    answer = await registry.push(manifest, reference)
    assert (answer.status, answer["docker-content-digest"]) == (201, reference)
    await pulled(registry, reference, manifest, MANIFEST_TYPE)


@pytest.mark.parametrize(
    "content_type", [None, "application/json", f"{MANIFEST_TYPE}; charset=utf-8", MANIFEST_TYPE.upper()]
)
@pytest_twisted.ensureDeferred
async def test_the_media_type_is_the_documents_where_the_header_says_little(
    registry: Served, content_type: str | None
) -> None:
    await registry.push_blob(b"{}")
    headers = {} if content_type is None else {"Content-Type": content_type}
    assert (await registry.ask("PUT", "/v2/box/manifests/v1", headers, image())).status == 201
    await pulled(registry, "v1", image(), MANIFEST_TYPE)


@pytest_twisted.ensureDeferred
async def test_every_kind_of_manifest_is_kept_as_what_it_is(registry: Served) -> None:
    oci = await registry.push_image("oci")
    docker = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": DOCKER_TYPE,
            "config": descriptor(b"{}", "application/vnd.docker.container.image.v1+json"),
            "layers": [],
        }
    ).encode()
    artifact = json.dumps(
        {"mediaType": ARTIFACT_TYPE, "artifactType": "text/example", "blobs": [descriptor(b"{}", "text/plain")]}
    ).encode()
    a_list = index(docker, media_type=DOCKER_LIST_TYPE, of=DOCKER_TYPE)
    an_index = index(oci)
    nested = index(an_index, a_list, of=INDEX_TYPE)
    for tag, content, media_type in (
        ("docker", docker, DOCKER_TYPE),
        ("list", a_list, DOCKER_LIST_TYPE),
        ("index", an_index, INDEX_TYPE),
        ("nested", nested, INDEX_TYPE),
        ("artifact", artifact, ARTIFACT_TYPE),
        ("empty-index", index(), INDEX_TYPE),
    ):
        assert (await registry.push(content, tag, media_type=media_type)).status == 201
        await pulled(registry, tag, content, media_type)


@pytest.mark.parametrize("reference", ["v1", "digest"])
@pytest_twisted.ensureDeferred
async def test_schema_1_is_refused_with_what_to_do(registry: Served, reference: str) -> None:
    document = {"schemaVersion": 1, "name": "box", "tag": "v1", "fsLayers": [], "history": [], "signatures": []}
    content = json.dumps(document).encode()
    target = f"/v2/box/manifests/{digest_of(content) if reference == 'digest' else reference}"
    for media_type in ("", "+prettyjws", "+json"):
        content_type = f"application/vnd.docker.distribution.manifest.v1{media_type}"
        answer = await registry.ask("PUT", target, {"Content-Type": content_type}, content)
        assert answer.error == (400, "MANIFEST_INVALID")
        assert "schema 1" in answer.json()["errors"][0]["message"]
        assert "skopeo" in answer.json()["errors"][0]["message"]


NO_MANIFESTS = [
    (b"", MANIFEST_TYPE),
    (b"{", MANIFEST_TYPE),
    (b"[]", MANIFEST_TYPE),
    (b"null", MANIFEST_TYPE),
    (b"\xff\xfe", MANIFEST_TYPE),
    (b"{}", MANIFEST_TYPE),
    (b"{}", "application/json"),
    (b"{}", "text/html"),
    (image(), INDEX_TYPE),
    (image(schemaVersion=3), MANIFEST_TYPE),
    (image(manifests=[]), MANIFEST_TYPE),
    (image(config={"digest": "x"}), MANIFEST_TYPE),
    (image(layers=[]).replace(b'"size": 2', b'"size": -2'), MANIFEST_TYPE),
    (b"[" * 100_000, MANIFEST_TYPE),
    (b'{"schemaVersion": 2' + b" " * 100_000, MANIFEST_TYPE),
]


@pytest_twisted.ensureDeferred
async def test_what_is_no_manifest_is_refused(registry: Served) -> None:
    await registry.push_blob(b"{}")
    for content, media_type in NO_MANIFESTS:
        assert (await registry.push(content, "v1", media_type=media_type)).error == (400, "MANIFEST_INVALID")
    assert (await registry.ask("GET", "/v2/box/manifests/v1")).error == (404, "MANIFEST_UNKNOWN")


@pytest_twisted.ensureDeferred
async def test_the_digest_has_to_be_that_of_the_content(registry: Served) -> None:
    await registry.push_blob(b"{}")
    for algorithm in ("sha256", "sha512"):
        answer = await registry.push(image(), digest_of(b"other", algorithm))
        assert answer.error == (400, "DIGEST_INVALID")


@pytest_twisted.ensureDeferred
async def test_the_list_of_missing_blobs_is_bounded(registry: Served) -> None:
    layers = [b"layer %d" % number for number in range(60)]
    answer = await registry.push(image(layers=layers), "v1")
    assert answer.error == (404, "MANIFEST_BLOB_UNKNOWN")
    (error,) = answer.json()["errors"]
    assert error["detail"]["digests"] == [digest_of(b"{}"), *(digest_of(layer) for layer in layers[:49])]
    assert error["detail"]["more"] == 11


@pytest_twisted.ensureDeferred
async def test_a_tag_that_is_named_twice(registry: Served) -> None:
    await registry.push_blob(b"{}")
    target = query(f"/v2/box/manifests/{digest_of(image())}", tag=["a", "b", "a"])
    answer = await registry.ask("PUT", target, {"Content-Type": MANIFEST_TYPE}, image())
    assert (answer.status, answer.headers["oci-tag"]) == (201, ["a", "b"])


@pytest_twisted.ensureDeferred
async def test_blobs_have_to_be_in_the_repository(registry: Served) -> None:
    await registry.push_blob(b"here", "box")
    await registry.push_blob(b"{}", "another")
    manifest = image(layers=[b"here", b"missing"])
    answer = await registry.push(manifest, "v1")
    assert answer.error == (404, "MANIFEST_BLOB_UNKNOWN")
    detail = answer.json()["errors"][0]["detail"]
    assert sorted(detail["digests"]) == sorted([digest_of(b"{}"), digest_of(b"missing")])
    for blob in (b"{}", b"missing"):
        await registry.push_blob(blob)
    assert (await registry.push(manifest, "v1")).status == 201


@pytest_twisted.ensureDeferred
async def test_a_descriptors_size_has_to_be_that_of_the_blob(registry: Served) -> None:
    await registry.push_blob(b"{}")
    answer = await registry.push(image().replace(b'"size": 2', b'"size": 3'), "v1")
    assert answer.error == (400, "SIZE_INVALID")


@pytest.mark.parametrize(
    "layer",
    [
        descriptor(b"windows", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
        descriptor(b"windows", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"),
        descriptor(b"windows", LAYER_TYPE, urls=["https://registry.test/layer"]),
    ],
)
@pytest_twisted.ensureDeferred
async def test_foreign_layers_may_be_missing(registry: Served, layer: dict[str, Any]) -> None:
    await registry.push_blob(b"{}")
    manifest = image(layers=[])
    manifest = manifest.replace(b'"layers": []', b'"layers": ' + json.dumps([layer]).encode())
    assert (await registry.push(manifest, "v1")).status == 201
    await pulled(registry, "v1", manifest, MANIFEST_TYPE)


@pytest_twisted.ensureDeferred
async def test_the_manifests_of_an_index_and_a_subject_may_be_missing(registry: Served) -> None:
    await registry.push_blob(b"{}")
    content = index(image(), subject=descriptor(b"not here", MANIFEST_TYPE))
    answer = await registry.push(content, "v1", media_type=INDEX_TYPE)
    assert (answer.status, answer["oci-subject"]) == (201, digest_of(b"not here"))


@pytest_twisted.ensureDeferred
async def test_a_manifest_that_is_too_long_is_refused_before_it_is_read(serve: Serve) -> None:
    registry = await serve(registry={"max_manifest_size": "10KB"})
    headers = {"Content-Type": MANIFEST_TYPE}
    connection = await registry.connect()
    connection.begin("PUT", "/v2/box/manifests/v1", headers | {"Content-Length": 10_001})
    assert (await connection.answer()).error == (413, "SIZE_INVALID")
    connection = await registry.connect()
    connection.begin("PUT", "/v2/box/manifests/v1", headers | {"Transfer-Encoding": "chunked"})
    connection.send(chunk(b"x" * 10_000))
    connection.send(chunk(b"x"))
    assert (await connection.answer()).error == (413, "SIZE_INVALID")
    await registry.push_blob(b"{}")
    fits = image() + b" " * (10_000 - len(image()))
    assert (await registry.push(fits, "v1")).status == 201
    await pulled(registry, "v1", fits, MANIFEST_TYPE)


@pytest_twisted.ensureDeferred
async def test_a_manifest_of_four_mebibytes_is_taken(registry: Served) -> None:
    await registry.push_blob(b"{}")
    manifest = image(annotations={"long": ""})
    manifest = manifest.replace(b'"long": "', b'"long": "' + b"x" * (4 * 1024 * 1024 - len(manifest)))
    assert len(manifest) == 4 * 1024 * 1024
    assert (await registry.push(manifest, "v1")).status == 201
    answer = await registry.ask("GET", "/v2/box/manifests/v1")
    assert answer.content == manifest
    assert (await registry.push(manifest + b" ", "v1")).error == (413, "SIZE_INVALID")


@pytest_twisted.ensureDeferred
async def test_one_push_by_digest_can_set_several_tags(registry: Served) -> None:
    await registry.push_blob(b"{}")
    digest = digest_of(image())
    tags = [f"tag-{number}" for number in range(12)]
    target = query(f"/v2/box/manifests/{digest}", tag=tags)
    answer = await registry.ask("PUT", target, {"Content-Type": MANIFEST_TYPE}, image())
    assert answer.status == 201
    assert answer.headers["oci-tag"] == tags
    assert answer["location"] == f"/v2/box/manifests/{digest}"
    for tag in tags:
        await pulled(registry, tag, image(), MANIFEST_TYPE)


@pytest_twisted.ensureDeferred
async def test_a_bad_tag_among_several_sets_none(registry: Served) -> None:
    await registry.push_blob(b"{}")
    target = query(f"/v2/box/manifests/{digest_of(image())}", tag=["good", ".bad"])
    answer = await registry.ask("PUT", target, {"Content-Type": MANIFEST_TYPE}, image())
    assert answer.error == (400, "TAG_INVALID")
    assert (await registry.ask("GET", "/v2/box/manifests/good")).error == (404, "MANIFEST_UNKNOWN")


@pytest.mark.parametrize(
    ("tags", "fits"),
    [
        ([f"{number}" for number in range(100)], True),
        ([f"{number}" for number in range(101)], False),
        ([f"{number:0100}" for number in range(27)], True),
        ([f"{number:0100}" for number in range(28)], False),
        (["same"] * 400, True),
    ],
)
@pytest_twisted.ensureDeferred
async def test_more_tags_than_the_answer_can_name_set_none(registry: Served, tags: list[str], fits: bool) -> None:
    await registry.push_blob(b"{}")
    for reference in (digest_of(image()), "other"):
        target = query(f"/v2/box/manifests/{reference}", tag=tags)
        answer = await registry.ask("PUT", target, {"Content-Type": MANIFEST_TYPE}, image())
        if fits:
            assert answer.status == 201
            assert sum(len(f"oci-tag: {tag}\r\n") for tag in answer.headers.get("oci-tag", [])) <= 3000
        else:
            assert answer.error == (414, "TAG_INVALID")
    listed = await registry.ask("GET", "/v2/box/tags/list")
    assert set(listed.json()["tags"]) == ({*tags, "other"} if fits else set())


@pytest_twisted.ensureDeferred
async def test_a_tag_moves_and_must_be_asked_for_again(registry: Served) -> None:
    first = await registry.push_image("v1", layers=[b"first"])
    answer = await registry.ask("GET", "/v2/box/manifests/v1")
    assert answer["cache-control"] == "no-cache"
    condition = {"If-None-Match": answer["etag"]}
    same = await registry.ask("GET", "/v2/box/manifests/v1", condition)
    assert (same.status, same.content) == (304, b"")
    second = await registry.push_image("v1", layers=[b"second"])
    moved = await registry.ask("GET", "/v2/box/manifests/v1", condition)
    assert (moved.status, moved.content) == (200, second)
    by_digest = await registry.ask("GET", f"/v2/box/manifests/{digest_of(first)}")
    assert by_digest.content == first
    assert "immutable" in by_digest["cache-control"]


@pytest_twisted.ensureDeferred
async def test_deleting_a_tag_leaves_the_manifest(registry: Served) -> None:
    manifest = await registry.push_image("v1")
    answer = await registry.ask("DELETE", "/v2/box/manifests/v1")
    assert (answer.status, answer.content) == (202, b"")
    assert (await registry.ask("GET", "/v2/box/manifests/v1")).error == (404, "MANIFEST_UNKNOWN")
    assert (await registry.ask("DELETE", "/v2/box/manifests/v1")).error == (404, "MANIFEST_UNKNOWN")
    await pulled(registry, digest_of(manifest), manifest, MANIFEST_TYPE)


@pytest_twisted.ensureDeferred
async def test_deleting_a_manifest_takes_its_tags_along(registry: Served) -> None:
    manifest = await registry.push_image("v1")
    await registry.push_image("v2")
    other = await registry.push_image("other", layers=[b"other"])
    assert (await registry.ask("DELETE", f"/v2/box/manifests/{digest_of(manifest)}")).status == 202
    for reference in ("v1", "v2", digest_of(manifest)):
        for method in ("GET", "DELETE"):
            answer = await registry.ask(method, f"/v2/box/manifests/{reference}")
            assert answer.error == (404, "MANIFEST_UNKNOWN")
        assert (await registry.ask("HEAD", f"/v2/box/manifests/{reference}")).status == 404
    await pulled(registry, "other", other, MANIFEST_TYPE)
    assert CONFIG_TYPE.encode() in other


@pytest_twisted.ensureDeferred
async def test_what_is_no_reference_is_refused(registry: Served) -> None:
    for reference in (".x", "-x", "x" * 129, "a%20b", "a%0Ab", "%C3%A4", "sha256:abc", "a:b"):
        target = f"/v2/box/manifests/{reference}"
        for method in ("DELETE", "PUT"):
            answer = await registry.ask(method, target, None, image() if method == "PUT" else None)
            assert answer.error == (400, "DIGEST_INVALID" if ":" in reference else "TAG_INVALID")
        assert (await registry.ask("GET", target)).error == (404, "MANIFEST_UNKNOWN")
        assert (await registry.ask("HEAD", target)).status == 404


@pytest_twisted.ensureDeferred
async def test_any_tag_of_the_grammar_is_taken(registry: Served) -> None:
    for tag in ("x" * 128, "_", "0", "A.b-C_d"):
        manifest = await registry.push_image(tag)
        await pulled(registry, tag, manifest, MANIFEST_TYPE)


@pytest.mark.parametrize("sent", [0, 3_900_000])
@pytest_twisted.ensureDeferred
async def test_who_announces_long_manifests_and_does_not_send_them_holds_nobody_up(
    registry: Served, sent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not FULL:  # one after the other is watched for so long
        monkeypatch.setattr(budget, "_LOOK_EVERY", 0.1)
        monkeypatch.setattr(budget, "_MEASURED_FOR", 0.3)
    await registry.push_blob(b"{}")
    silent = [await registry.connect() for _ in range(6)]
    for each in silent:
        each.begin("PUT", "/v2/box/manifests/v1", {"Content-Length": 4_000_000})
        each.send(b"x" * sent)
    await pause(0.3)
    manifest = image(annotations={"long": "x" * 1_000_000})
    connection = await registry.connect()
    connection.begin("PUT", "/v2/box/manifests/long", {"Content-Type": MANIFEST_TYPE, "Content-Length": len(manifest)})
    connection.send(manifest)
    assert (await connection.answer(30.0)).status == 201
    connection.begin("PUT", "/v2/box/manifests/long", {"Content-Type": MANIFEST_TYPE, "Transfer-Encoding": "chunked"})
    connection.send(chunk(manifest) + b"0\r\n\r\n")
    assert (await connection.answer(30.0)).status == 201
