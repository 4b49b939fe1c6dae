"""Paths, names and methods: what is an endpoint, and what is told about what is none."""

from pathlib import Path

import pytest
import pytest_twisted

from tests.web.client import query
from tests.web.served import Served, digest_of, image

DIGEST = "sha256:" + "0" * 64
ALLOWED = {
    "/v2/": {"GET", "HEAD"},
    "/v2/_catalog": {"GET", "HEAD"},
    "/v2/box/tags/list": {"GET", "HEAD"},
    f"/v2/box/referrers/{DIGEST}": {"GET", "HEAD"},
    f"/v2/box/blobs/{DIGEST}": {"GET", "HEAD", "DELETE"},
    "/v2/box/blobs/uploads/": {"POST"},
    "/v2/box/blobs/uploads/5": {"GET", "HEAD", "PATCH", "PUT", "DELETE"},
    "/v2/box/manifests/latest": {"GET", "HEAD", "PUT", "DELETE"},
}
NAMES = [
    "a",
    "a/b/c/d/e/f/g",
    "blobs",
    "manifests",
    "tags",
    "tags/list",
    "uploads",
    "referrers",
    "v2",
    "blobs/uploads",
    "manifests/latest",
    "a/blobs/uploads/b",
    "a/manifests/b",
    "a/tags/list/b",
    "blobs/blobs/blobs",
    "a.b/c_d/e__f/g-h/i---j/0",
    "x" * 255,
    "/".join(["x"] * 128),
]
NO_NAMES = ["A", "a..b", "a__", "-a", "a//b", "a___b", "a/-b", "%C3%A4", "a%20b", "a%0Ab", "a%00b", "x" * 256, "a%2F"]


@pytest.mark.parametrize("target", ALLOWED)
@pytest_twisted.ensureDeferred
async def test_405_says_what_is_allowed(registry: Served, target: str) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"):
        answer = await registry.ask(method, target)
        if method in ALLOWED[target]:
            assert answer.status != 405
            continue
        assert answer.status == 405
        assert set(answer["allow"].split(", ")) == ALLOWED[target]
        if method != "HEAD":
            assert answer.error == (405, "UNSUPPORTED")


@pytest_twisted.ensureDeferred
async def test_every_name_of_the_grammar_has_every_endpoint(registry: Served) -> None:
    for name in NAMES:
        await use_every_endpoint(registry, name)
    assert (await registry.ask("GET", "/v2/_catalog")).json() == {"repositories": sorted(NAMES)}


async def use_every_endpoint(registry: Served, name: str) -> None:
    manifest = await registry.push_image("latest", name, layers=[b"layer"])
    assert (await registry.ask("GET", f"/v2/{name}/manifests/latest")).content == manifest
    assert (await registry.ask("GET", f"/v2/{name}/blobs/{digest_of(b'layer')}")).content == b"layer"
    assert (await registry.ask("GET", f"/v2/{name}/tags/list")).json() == {"name": name, "tags": ["latest"]}
    assert (await registry.ask("GET", f"/v2/{name}/referrers/{DIGEST}")).json()["manifests"] == []
    location = await registry.begin_upload(name)
    assert location.startswith(f"/v2/{name}/blobs/uploads/")
    assert (await registry.ask("PATCH", location, None, b"x")).status == 202
    assert (await registry.ask("PUT", query(location, digest=digest_of(b"x")), None, b"")).status == 201


@pytest_twisted.ensureDeferred
async def test_a_name_outside_of_the_grammar_is_refused(registry: Served) -> None:
    connection = await registry.connect()
    for name in NO_NAMES:
        for method, target, content in (
            ("PUT", f"/v2/{name}/manifests/latest", image()),
            ("DELETE", f"/v2/{name}/manifests/latest", None),
            ("GET", f"/v2/{name}/referrers/{DIGEST}", None),
            ("POST", f"/v2/{name}/blobs/uploads/", b""),
        ):
            assert (await connection.ask(method, target, None, content)).error == (400, "NAME_INVALID")


@pytest_twisted.ensureDeferred
async def test_nothing_is_there_under_a_name_outside_of_the_grammar(registry: Served) -> None:
    connection = await registry.connect()
    for name in NO_NAMES:
        for target in (
            f"/v2/{name}/manifests/latest",
            f"/v2/{name}/manifests/{DIGEST}",
            f"/v2/{name}/blobs/{DIGEST}",
            f"/v2/{name}/blobs/uploads/x",
            f"/v2/{name}/tags/list",
        ):
            assert (await connection.ask("GET", target)).error == (404, "NAME_UNKNOWN")
        for target in (f"/v2/{name}/manifests/latest", f"/v2/{name}/blobs/{DIGEST}"):
            assert (await connection.ask("HEAD", target)).status == 404


@pytest_twisted.ensureDeferred
async def test_percent_encoding_means_the_same(registry: Served) -> None:
    manifest = await registry.push_image("v1.0", "some/box", layers=[b"layer"])
    digest = digest_of(b"layer")
    for target, content in (
        ("/v2/some%2Fbox/manifests/v1.0", manifest),
        ("/v2/s%6fme/box/manifests/v1%2E0", manifest),
        (f"/v2/some/box/manifests/{digest_of(manifest).replace(':', '%3A')}", manifest),
        (f"/v2/some/box/blobs/{digest.replace(':', '%3a')}", b"layer"),
    ):
        assert (await registry.ask("GET", target)).content == content
    parameter = query("/v2/other/blobs/uploads/", mount=digest, **{"from": "some/box"})
    assert "%2F" in parameter
    assert (await registry.ask("POST", parameter, None, b"")).status == 201


NOWHERE = [
    "/livez/more",
    "/v1/",
    "/v2/box",
    "/v2/box/",
    "/v2/box/manifests",
    "/v2/box/manifests/",
    "/v2/box/blobs/",
    "/v2/box/tags",
    "/v2/box/tags/other",
    "/v2/_catalog/more",
    "/v2/%3F/manifests",
    "/favicon.ico",
    "/v2/../etc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/..%2f..%2fetc/passwd",
    "http://registry.test/v2/box",
    "v2",
]


@pytest_twisted.ensureDeferred
async def test_what_is_no_endpoint_is_not_found(registry: Served) -> None:
    connection = await registry.connect()
    for target in NOWHERE:
        assert (await connection.ask("GET", target)).error == (404, "UNSUPPORTED")
        assert (await connection.ask("PUT", target, None, b"")).error == (404, "UNSUPPORTED")


@pytest_twisted.ensureDeferred
async def test_nobody_gets_out_of_the_bucket(registry: Served) -> None:
    """Neither to read a file of this disk nor to write one."""
    before = files_below(registry.directory)
    for up in ("..", "%2e%2e", ".%2E", "..%2f..%2f..", "%2e%2e%2f%2e%2e", "...", "."):
        await try_to_get_out(registry, up)
    assert files_below(registry.directory) == before


def files_below(directory: Path) -> set[Path]:
    return {path for path in directory.rglob("*") if "uploads" not in path.parts}


async def try_to_get_out(registry: Served, up: str) -> None:
    for method, target, content in (
        ("GET", f"/v2/{up}/manifests/latest", None),
        ("GET", f"/v2/box/{up}/{up}/{up}/manifests/layout-version", None),
        ("PUT", f"/v2/{up}/box/manifests/latest", image()),
        ("PUT", f"/v2/box/manifests/{up}", image()),
        ("GET", f"/v2/box/blobs/{up}/{up}/layout-version", None),
        ("GET", f"/v2/box/blobs/sha256:{up}", None),
        ("POST", f"/v2/box/{up}/blobs/uploads/", b""),
        ("GET", f"/v2/box/blobs/uploads/{up}", None),
        ("DELETE", f"/v2/box/blobs/uploads/{up}", None),
        ("DELETE", f"/v2/box/manifests/{up}", None),
        ("GET", f"/v2/{up}/tags/list", None),
    ):
        answer = await registry.ask(method, target, None, content)
        assert answer.error[0] in (400, 404)
