"""Reading manifests: what is valid is understood, and all else is `ManifestInvalid`."""

import json
from copy import deepcopy
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ipfsreg.registry.digest import Digest, parse_digest
from ipfsreg.registry.errors import ManifestInvalid
from ipfsreg.registry.manifest import (
    DOCKER_IMAGE,
    DOCKER_LIST,
    IMAGES,
    INDEXES,
    MEDIA_TYPES,
    OCI_ARTIFACT,
    OCI_IMAGE,
    OCI_INDEX,
    Manifest,
    parse_manifest,
)

from .test_names import digests

FOREIGN = [
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
annotations = st.dictionaries(st.text(max_size=10), st.text(max_size=10), max_size=3)
media_types = st.sampled_from(["application/vnd.oci.image.layer.v1.tar", "application/x-something", *FOREIGN])


def optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


descriptors = st.builds(
    lambda required, more: {**more, **required},
    st.fixed_dictionaries({"mediaType": media_types, "digest": digests, "size": st.integers(0, 2**40)}),
    optional(
        urls=st.lists(st.just("https://elsewhere.example/layer"), max_size=1),
        annotations=annotations,
        platform=st.just({"os": "linux", "architecture": "amd64"}),
        data=st.just("e30="),
        artifactType=st.text(max_size=5),
    ),
)
extras = optional(annotations=annotations, artifactType=st.text(min_size=1, max_size=9), subject=descriptors)


@st.composite
def documents(draw: st.DrawFn) -> tuple[dict[str, Any], str]:
    """A valid manifest and its media type."""
    media_type = draw(st.sampled_from(sorted(MEDIA_TYPES)))
    document = dict(draw(extras))
    if media_type in IMAGES:
        document |= {"schemaVersion": 2, "config": draw(descriptors), "layers": draw(st.lists(descriptors, max_size=4))}
    elif media_type in INDEXES:
        document |= {"schemaVersion": 2, "manifests": draw(st.lists(descriptors, max_size=4))}
    else:
        document |= draw(optional(blobs=st.lists(descriptors, max_size=3)))
    if draw(st.booleans()):
        document["x-unknown"] = draw(json_values)
    return document, media_type


def encoded(document: object) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")


def named(descriptor: dict[str, Any]) -> Digest:
    return parse_digest(descriptor["digest"])


@given(documents(), st.sampled_from(["header", "field", "both", "generic"]))
def test_what_is_valid_is_understood(given: tuple[dict[str, Any], str], how: str) -> None:
    document, media_type = given
    if how != "header":
        document = {**document, "mediaType": media_type}
    content_type = {"field": "", "generic": "application/json"}.get(how, media_type)
    manifest = parse_manifest(encoded(document), content_type)
    assert manifest.media_type == media_type
    assert manifest.subject == (named(document["subject"]) if "subject" in document else None)
    assert manifest.annotations == document.get("annotations")
    _check_parts(manifest, document)


def _check_parts(manifest: Manifest, document: dict[str, Any]) -> None:
    layers = document.get("layers", [])
    foreign = [each for each in layers if each.get("urls") or each["mediaType"] in FOREIGN]
    needed = [each for each in layers if each not in foreign]
    if "config" in document:
        needed.insert(0, document["config"])
        assert manifest.artifact_type == document.get("artifactType", document["config"]["mediaType"])
    else:
        assert manifest.artifact_type == document.get("artifactType")
    needed += document.get("blobs", [])
    listed = document.get("manifests", [])
    assert [(each, size) for each, size in manifest.blobs] == [(named(each), each["size"]) for each in needed]
    assert list(manifest.foreign) == [named(each) for each in foreign]
    assert list(manifest.manifests) == [named(each) for each in listed]
    # What it refers to is what the collector must keep: everything but the subject.
    assert manifest.references == {named(each) for each in (*needed, *foreign, *listed)}


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The place of everything in a document."""
    found = [path] if path else []
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        found += paths(each, (*path, key))
    return found


@given(documents(), st.data())
def test_a_change_of_anything_is_valid_or_invalid(given: tuple[dict[str, Any], str], data: st.DataObject) -> None:
    """Whatever stands where: never another exception, never a part that is not one of the document's."""
    document, media_type = deepcopy(given)  # what is generated is shared between examples
    places = paths(document)
    if places:
        *parents, last = data.draw(st.sampled_from(places))
        target: Any = document
        for key in parents:
            target = target[key]
        target[last] = data.draw(json_values)
    check_outcome(encoded(document), media_type)


@given(st.binary(max_size=60), st.sampled_from(["", "text/html", *sorted(MEDIA_TYPES)]))
def test_bytes(content: bytes, media_type: str) -> None:
    check_outcome(content, media_type)


@given(json_values, st.sampled_from(["", *sorted(MEDIA_TYPES)]))
def test_any_json(value: Any, media_type: str) -> None:
    check_outcome(encoded(value), media_type)


def check_outcome(content: bytes, media_type: str) -> None:
    try:
        manifest = parse_manifest(content, media_type)
    except ManifestInvalid as error:
        json.dumps([error.message, error.detail]).encode()  # it is sent as JSON
        return
    document = json.loads(content)
    assert isinstance(document, dict)
    assert manifest.media_type in MEDIA_TYPES
    text = {str(each) for each in manifest.references}
    everything = [document.get("config"), *(document.get(key) or [] for key in ("layers", "manifests", "blobs"))]
    known = {each["digest"] for part in everything if part for each in (part if isinstance(part, list) else [part])}
    assert text <= known
    for digest, size in manifest.blobs:
        assert isinstance(size, int)
        assert size >= 0
        assert str(digest) in known


DIGEST = f"sha256:{'0' * 64}"
CONFIG = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": DIGEST, "size": 2}
IMAGE = {"schemaVersion": 2, "config": CONFIG, "layers": []}
INDEX = {"schemaVersion": 2, "manifests": []}


@pytest.mark.parametrize(
    ("document", "media_type", "says"),
    [
        (IMAGE, "", "mediaType"),
        (IMAGE, "application/json", "mediaType"),
        (IMAGE, "text/html", "text/html"),
        ({**IMAGE, "mediaType": OCI_INDEX}, OCI_IMAGE, "mediaType"),
        ({**IMAGE, "mediaType": 5}, OCI_IMAGE, "mediaType"),
        ({"schemaVersion": 2, "layers": []}, OCI_IMAGE, "config"),
        ({**IMAGE, "layers": [{"digest": DIGEST, "size": 2}]}, OCI_IMAGE, "layers.0.mediaType"),
        ({**IMAGE, "annotations": {"a": None}}, OCI_IMAGE, "annotations"),
        ({**IMAGE, "schemaVersion": "2"}, OCI_IMAGE, "schemaVersion"),
        ({**IMAGE, "schemaVersion": 3}, OCI_IMAGE, "schemaVersion"),
        ({**IMAGE, "config": {**CONFIG, "size": "2"}}, OCI_IMAGE, "size"),
        ({**IMAGE, "config": {**CONFIG, "size": 2.5}}, OCI_IMAGE, "size"),
        ({**IMAGE, "config": {**CONFIG, "size": -1}}, OCI_IMAGE, "size"),
        ({**IMAGE, "config": {**CONFIG, "size": True}}, OCI_IMAGE, "size"),
        ({**IMAGE, "config": {**CONFIG, "digest": "sha256:0"}}, OCI_IMAGE, "hexadecimal"),
        ({**IMAGE, "config": {**CONFIG, "mediaType": ""}}, OCI_IMAGE, "mediaType"),
        ({**IMAGE, "config": {**CONFIG, "mediaType": 1}}, OCI_IMAGE, "mediaType"),
        ({**IMAGE, "layers": [None]}, OCI_IMAGE, "layers.0"),
        ({**IMAGE, "layers": {}}, OCI_IMAGE, "layers"),
        ({**IMAGE, "subject": {}}, OCI_IMAGE, "subject"),
        ({**IMAGE, "annotations": {"a": 1}}, OCI_IMAGE, "annotations"),
        ({**IMAGE, "manifests": []}, OCI_IMAGE, "manifests"),  # CVE-2021-41190
        ({**INDEX, "layers": []}, OCI_INDEX, "layers"),
        ({**INDEX, "config": CONFIG}, DOCKER_LIST, "config"),
        ({"schemaVersion": 2}, OCI_INDEX, "manifests"),
        ({"schemaVersion": 1, "fsLayers": []}, "", "schema 1"),
        ({}, "application/vnd.docker.distribution.manifest.v1+prettyjws", "schema 1"),
        ([], OCI_IMAGE, "."),
        ("text", OCI_IMAGE, "."),
    ],
)
def test_what_is_wrong_is_said(document: object, media_type: str, says: str) -> None:
    with pytest.raises(ManifestInvalid, match=says):
        parse_manifest(encoded(document), media_type)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"nul", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000, b"9" * 100_000]
)
def test_what_is_no_json(content: bytes) -> None:
    with pytest.raises(ManifestInvalid):
        parse_manifest(content, OCI_IMAGE)


def test_a_large_index() -> None:
    """Four MiB of descriptors are read, each of them."""
    listed = [{"mediaType": OCI_IMAGE, "digest": f"sha256:{number:064x}", "size": number} for number in range(25_000)]
    manifest = parse_manifest(encoded({"schemaVersion": 2, "manifests": listed}), OCI_INDEX)
    assert [str(each) for each in manifest.manifests] == [each["digest"] for each in listed]


def test_an_artifact_of_the_former_draft() -> None:
    manifest = parse_manifest(encoded({"blobs": [CONFIG], "artifactType": "a/b", "subject": CONFIG}), OCI_ARTIFACT)
    assert (len(manifest.blobs), manifest.artifact_type, str(manifest.subject)) == (1, "a/b", DIGEST)
    assert parse_manifest(encoded(IMAGE), DOCKER_IMAGE).media_type == DOCKER_IMAGE


@pytest.mark.parametrize(
    ("document", "media_type"),
    [
        ({**IMAGE, "layers": None}, OCI_IMAGE),
        ({"schemaVersion": 2, "config": CONFIG}, OCI_IMAGE),
        ({"schemaVersion": 2, "config": CONFIG}, DOCKER_IMAGE),
        ({**IMAGE, "layers": None, "mediaType": None, "artifactType": None}, DOCKER_IMAGE),
        ({**IMAGE, "subject": None, "annotations": None}, OCI_IMAGE),
        ({**IMAGE, "config": {**CONFIG, "urls": None, "annotations": None}}, OCI_IMAGE),
        ({**INDEX, "manifests": None}, OCI_INDEX),
        ({**INDEX, "manifests": None, "mediaType": None}, DOCKER_LIST),
        ({"blobs": None, "mediaType": None}, OCI_ARTIFACT),
    ],
)
def test_null_is_nothing(document: object, media_type: str) -> None:
    """Go writes it for an empty slice, map or pointer, and reads it as one."""
    manifest = parse_manifest(encoded(document), media_type)
    assert (manifest.media_type, manifest.subject, manifest.annotations) == (media_type, None, None)
    assert (len(manifest.blobs), manifest.manifests) == (int(media_type in IMAGES), ())


@pytest.mark.parametrize("missing", [{}, {"mediaType": None}, {"mediaType": ""}])
def test_a_layer_of_docker_needs_no_media_type(missing: dict[str, object]) -> None:
    """Docker's registry and olareg take it, and only OCI's specification has a rule. See `descriptor`."""
    layers = [{**missing, "digest": DIGEST, "size": 5}]
    manifest = parse_manifest(encoded({**IMAGE, "layers": layers}), DOCKER_IMAGE)
    assert [(str(digest), size) for digest, size in manifest.blobs] == [(DIGEST, 2), (DIGEST, 5)]
    with pytest.raises(ManifestInvalid, match=r"layers\.0\.mediaType"):
        parse_manifest(encoded({**IMAGE, "layers": layers}), OCI_IMAGE)
    with pytest.raises(ManifestInvalid, match=r"layers\.0\.mediaType"):
        parse_manifest(encoded({**IMAGE, "layers": [{**layers[0], "mediaType": 1}]}), DOCKER_IMAGE)


@pytest.mark.parametrize(("document", "media_type"), [(IMAGE, DOCKER_IMAGE), (INDEX, DOCKER_LIST)])
def test_an_annotation_of_docker_may_be_null(document: dict[str, object], media_type: str) -> None:
    """Docker's registry and olareg read it as one without text, and only OCI's specification has a rule."""
    annotated = {**document, "annotations": {"a": None, "b": "c"}}
    assert parse_manifest(encoded(annotated), media_type).annotations == {"a": "", "b": "c"}
    with pytest.raises(ManifestInvalid, match="annotations"):
        parse_manifest(encoded({**document, "annotations": {"a": 1}}), media_type)


def test_an_annotation_of_a_layer_of_docker_may_be_null() -> None:
    layers = [{**CONFIG, "annotations": {"a": None}}]
    assert len(parse_manifest(encoded({**IMAGE, "layers": layers}), DOCKER_IMAGE).blobs) == 2
    with pytest.raises(ManifestInvalid, match=r"layers\.0\.annotations"):
        parse_manifest(encoded({**IMAGE, "layers": layers}), OCI_IMAGE)


@pytest.mark.parametrize(
    ("document", "media_type", "says"),
    [
        ({**IMAGE, "config": None}, OCI_IMAGE, "config"),
        ({**IMAGE, "manifests": None}, OCI_IMAGE, "manifests"),  # clients count its bytes
        ({**INDEX, "layers": None}, OCI_INDEX, "layers"),
        ({**IMAGE, "mediaType": None}, "", "mediaType"),
        ({**IMAGE, "config": {**CONFIG, "digest": None}}, OCI_IMAGE, "digest"),
        ({**IMAGE, "schemaVersion": None}, OCI_IMAGE, "schemaVersion"),
    ],
)
def test_but_not_everywhere(document: object, media_type: str, says: str) -> None:
    with pytest.raises(ManifestInvalid, match=says):
        parse_manifest(encoded(document), media_type)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", '[{"a": ["\\"", NaN]}]'])
def test_numbers_that_json_does_not_have(value: str) -> None:
    content = encoded(IMAGE)[:-1] + f', "x": {value}}}'.encode()
    with pytest.raises(ManifestInvalid, match="NaN"):
        parse_manifest(content, OCI_IMAGE)


@pytest.mark.parametrize("text", ["NaN", "to Infinity", 'a "NaN" in it', "\\", "NaN\\"])
def test_but_text_that_looks_like_them(text: str) -> None:
    manifest = parse_manifest(encoded({**IMAGE, "annotations": {"Infinity": text}}), OCI_IMAGE)
    assert manifest.annotations == {"Infinity": text}
