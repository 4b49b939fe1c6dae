"""``/v2/``, tags, ``_catalog`` and referrers (distribution-spec, "Content Discovery"; Docker's ``_catalog``)."""

import itertools
import json
import re
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_twisted

from ipfsreg.web.distribution import listings
from tests.web.client import Answer, query
from tests.web.served import CONFIG_TYPE, INDEX_TYPE, MANIFEST_TYPE, Served, descriptor, digest_of, image

TAGS = ["1.0", "1.10", "1.2", "Beta", "alpha", "beta", "Zeta", "_x", "latest"]
IN_ORDER = ["1.0", "1.10", "1.2", "_x", "alpha", "Beta", "beta", "latest", "Zeta"]
"""Lexical order, "i.e. case-insensitive alphanumeric order"."""


def following(answer: Answer) -> str | None:
    """The target of the next page."""
    if "link" not in answer:
        return None
    match = re.fullmatch(r'<([^>]+)>; rel="next"', answer["link"])
    assert match is not None
    assert match[1].startswith("/v2/")
    return match[1]


async def all_pages(registry: Served, target: str, field: str) -> list[list[Any]]:
    pages = []
    following_target: str | None = target
    while following_target is not None:
        answer = await registry.ask("GET", following_target)
        assert answer.status == 200
        pages.append(answer.json()[field])
        following_target = following(answer)
    return pages


def joined(pages: list[list[Any]]) -> list[Any]:
    return list(itertools.chain.from_iterable(pages))


async def push_tags(registry: Served, repository: str = "some/box") -> None:
    await registry.push_image(TAGS[0], repository)
    for tag in TAGS[1:]:
        assert (await registry.push(image(), tag, repository)).status == 201


@pytest_twisted.ensureDeferred
async def test_a_list_of_many_tags_is_whole(registry: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it is listed or the index has it, and with a number that is larger than an answer may be."""
    await registry.push_image("v0", "some/box")
    tags = [f"v{number:04}" for number in range(2500)]
    directory = registry.store / "bucket" / "repositories" / "some" / "box" / "_tags"
    for tag in tags:
        (directory / tag).write_bytes((directory / "v0").read_bytes())
    for is_known in (False, True):
        answer = await registry.ask("GET", "/v2/some/box/tags/list")
        assert answer.json() == {"name": "some/box", "tags": ["v0", *tags]}
        assert answer["content-type"] == "application/json"
        assert (await registry.ask("GET", query("/v2/some/box/tags/list", last="v1499"))).json()["tags"] == tags[1500:]
        if not is_known:
            await registry.daemon.registry.cid_refresh.learn()
            for file in directory.iterdir():
                file.unlink()
    monkeypatch.setattr(listings, "PAGE_MAX", 1000)
    pages = await all_pages(registry, query("/v2/some/box/tags/list", n=999_999_999), "tags")
    assert [len(page) for page in pages] == [1000, 1000, 501]
    assert joined(pages) == ["v0", *tags]


@pytest.mark.parametrize("target", ["/v2/", "/v2"])
@pytest_twisted.ensureDeferred
async def test_it_says_that_it_is_a_registry(registry: Served, target: str) -> None:
    for method in ("GET", "HEAD"):
        answer = await registry.ask(method, target)
        assert answer.status == 200
        assert answer["docker-distribution-api-version"] == "registry/2.0"
        assert answer["content-type"] == "application/json"
        assert answer.content == (b"{}" if method == "GET" else b"")


@pytest_twisted.ensureDeferred
async def test_tags_are_listed_in_lexical_order(registry: Served) -> None:
    await push_tags(registry)
    answer = await registry.ask("GET", "/v2/some/box/tags/list")
    assert answer["content-type"] == "application/json"
    assert answer.json() == {"name": "some/box", "tags": IN_ORDER}
    assert "link" not in answer


@pytest_twisted.ensureDeferred
async def test_tags_come_in_pages(registry: Served) -> None:
    await push_tags(registry)
    for number in (1, 2, 4, 8):
        pages = await all_pages(registry, query("/v2/some/box/tags/list", n=number), "tags")
        assert [len(page) for page in pages[:-1]] == [number] * (len(pages) - 1)
        assert joined(pages) == IN_ORDER
    for number in (len(TAGS), 1000, 10**30):
        assert await all_pages(registry, query("/v2/some/box/tags/list", n=number), "tags") == [IN_ORDER]


@pytest_twisted.ensureDeferred
async def test_no_results_are_an_empty_list_without_a_link(registry: Served) -> None:
    await push_tags(registry)
    assert await all_pages(registry, query("/v2/some/box/tags/list", n=0), "tags") == [[]]
    assert await all_pages(registry, query("/v2/_catalog", n=0), "repositories") == [[]]


@pytest_twisted.ensureDeferred
async def test_tags_go_on_after_the_last_one(registry: Served) -> None:
    await push_tags(registry)
    for last in (*IN_ORDER, "", "0", "zzzz", "between", "ä", "%00"):
        after = [tag for tag in IN_ORDER if (tag.lower(), tag) > (last.lower(), last)]
        answer = await registry.ask("GET", query("/v2/some/box/tags/list", last=last))
        assert answer.json()["tags"] == after
        assert await all_pages(registry, query("/v2/some/box/tags/list", last=last, n=2), "tags") == [
            after[begin : begin + 2] for begin in range(0, max(len(after), 1), 2)
        ]


@pytest_twisted.ensureDeferred
async def test_what_is_no_number_of_results_is_refused(registry: Served) -> None:
    await push_tags(registry)
    for target in ("/v2/some/box/tags/list", "/v2/_catalog"):
        for number in ("-1", "x", "1.5", "", "+1", " 1", "\u0661"):
            answer = await registry.ask("GET", query(target, n=number))
            assert answer.error == (400, "PAGINATION_NUMBER_INVALID")


@pytest_twisted.ensureDeferred
async def test_an_unknown_repository_has_no_tags(registry: Served) -> None:
    assert (await registry.ask("GET", "/v2/box/tags/list")).error == (404, "NAME_UNKNOWN")
    await registry.push_image("v1")
    await registry.ask("DELETE", "/v2/box/manifests/v1")
    answer = await registry.ask("GET", "/v2/box/tags/list")
    assert (answer.status, answer.json()) == (200, {"name": "box", "tags": []})


@pytest_twisted.ensureDeferred
async def test_a_repository_without_manifests_has_no_tags_as_long_as_it_has_blobs(registry: Served) -> None:
    manifest = await registry.push_image("v1")
    await registry.ask("DELETE", f"/v2/box/manifests/{digest_of(manifest)}")
    for _ in range(2):
        answer = await registry.ask("GET", "/v2/box/tags/list")
        assert (answer.status, answer.json()) == (200, {"name": "box", "tags": []})
    await registry.ask("DELETE", f"/v2/box/blobs/{digest_of(b'{}')}")
    assert (await registry.ask("GET", "/v2/box/tags/list")).error == (404, "NAME_UNKNOWN")


@pytest_twisted.ensureDeferred
async def test_the_catalog_lists_the_repositories_in_pages(registry: Served) -> None:
    assert (await registry.ask("GET", "/v2/_catalog")).json() == {"repositories": []}
    names = ["a", "a/b", "a/b/c", "a-b", "ab", "z/tags", "z/tags/list", "0"]
    for name in names:
        await registry.push_image("v1", name)
    await registry.push_blob(b"no image", "only-a-blob")
    assert await all_pages(registry, "/v2/_catalog", "repositories") == [sorted(names)]
    for number in (1, 3, 8, 9):
        pages = await all_pages(registry, query("/v2/_catalog", n=number), "repositories")
        assert joined(pages) == sorted(names)
        assert {len(page) for page in pages[:-1]} <= {number}
    answer = await registry.ask("GET", query("/v2/_catalog", last="a/b"))
    assert answer.json()["repositories"] == [name for name in sorted(names) if name > "a/b"]


def referrer(subject: bytes, number: int, artifact_type: str | None = None, padding: int = 0) -> bytes:
    more: dict[str, Any] = {"annotations": {"number": str(number), "padding": "x" * padding}}
    if artifact_type is not None:
        more["artifactType"] = artifact_type
    return image(subject=descriptor(subject, MANIFEST_TYPE), **more)


@pytest_twisted.ensureDeferred
async def test_referrers_are_listed_as_an_index(registry: Served) -> None:
    subject = await registry.push_image("v1")
    target = f"/v2/box/referrers/{digest_of(subject)}"
    empty = await registry.ask("GET", target)
    assert empty["content-type"] == INDEX_TYPE
    assert empty.json() == {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": []}
    expected = []
    for number, artifact_type in enumerate([None, "text/sbom", "text/signature"]):
        content = referrer(subject, number, artifact_type)
        answer = await registry.push(content, digest_of(content))
        assert (answer.status, answer["oci-subject"]) == (201, digest_of(subject))
        annotations = json.loads(content)["annotations"]
        expected.append(
            descriptor(content, MANIFEST_TYPE, artifactType=artifact_type or CONFIG_TYPE, annotations=annotations)
        )
    answer = await registry.ask("GET", target)
    assert "oci-filters-applied" not in answer
    assert sorted(answer.json()["manifests"], key=lambda each: each["annotations"]["number"]) == expected
    filtered = await registry.ask("GET", query(target, artifactType="text/sbom"))
    assert filtered["oci-filters-applied"] == "artifactType"
    assert filtered.json()["manifests"] == expected[1:2]
    nothing = await registry.ask("GET", query(target, artifactType="text/other"))
    assert nothing["oci-filters-applied"] == "artifactType"
    assert nothing.json()["manifests"] == []
    unfiltered = await registry.ask("GET", query(target, artifactType=""))
    assert "oci-filters-applied" not in unfiltered
    assert len(unfiltered.json()["manifests"]) == 3


@pytest_twisted.ensureDeferred
async def test_a_deleted_manifest_refers_no_more(registry: Served) -> None:
    await registry.push_blob(b"{}")
    content = referrer(b"not here", 0)
    await registry.push(content, "v1")
    target = f"/v2/box/referrers/{digest_of(b'not here')}"
    assert len((await registry.ask("GET", target)).json()["manifests"]) == 1
    await registry.ask("DELETE", f"/v2/box/manifests/{digest_of(content)}")
    assert (await registry.ask("GET", target)).json()["manifests"] == []


@pytest_twisted.ensureDeferred
async def test_many_referrers_come_in_pages(registry: Served) -> None:
    subject = await registry.push_image("v1")
    for number in range(8):
        content = referrer(subject, number, "text/even" if number % 2 == 0 else "text/odd", 400_000)
        assert (await registry.push(content, digest_of(content))).status == 201
    target = f"/v2/box/referrers/{digest_of(subject)}"
    pages = await all_pages(registry, target, "manifests")
    assert len(pages) > 1
    assert sorted(each["annotations"]["number"] for each in joined(pages)) == [str(number) for number in range(8)]
    filtered = query(target, artifactType="text/odd")
    first = await registry.ask("GET", filtered)
    assert "artifactType=text%2Fodd" in urlsplit(following(first) or "").query
    pages = await all_pages(registry, filtered, "manifests")
    assert sorted(each["annotations"]["number"] for each in joined(pages)) == ["1", "3", "5", "7"]


@pytest.mark.parametrize("target", ["latest", "sha256:abc", query("sha256:" + "0" * 64, last="junk")])
@pytest_twisted.ensureDeferred
async def test_referrers_of_what_is_no_digest_are_refused(registry: Served, target: str) -> None:
    answer = await registry.ask("GET", f"/v2/box/referrers/{target}")
    assert answer.error == (400, "DIGEST_INVALID")


@pytest_twisted.ensureDeferred
async def test_nobody_refers_to_what_was_never_pushed(registry: Served) -> None:
    answer = await registry.ask("GET", f"/v2/never/referrers/{digest_of(b'')}")
    assert (answer.status, answer.json()["manifests"]) == (200, [])
