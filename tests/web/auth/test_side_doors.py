"""Content that somebody may not pull cannot be had through anything else either, nor learned of."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from ipfsreg.flow.throttle import Turns
from ipfsreg.web.distribution import listings
from tests.web.client import query
from tests.web.served import MANIFEST_TYPE, Serve, digest_of, image

from .guarded import Guarded, basic, bearer, guarded

SECRET = b"a layer of secret/app, which reader and writer must not have"
READER, WRITER, OWNER = basic("reader"), basic("writer"), basic("owner")


async def _daemon(serve: Serve, directory: Path) -> Guarded:
    started = await guarded(serve, directory)
    await started.push_image("secret/app", "1", SECRET, OWNER)
    await started.push_image("team/app", "1", b"team's layer", WRITER)
    return started


@pytest_twisted.async_yield_fixture()
async def daemon(serve: Serve, tmp_path: Path) -> AsyncIterator[Guarded]:
    """With ``secret/app``, of which the owner knows, and ``team/app``."""
    yield await _daemon(serve, tmp_path)


@pytest_twisted.async_yield_fixture(scope="module")
async def shared(serve_all: Serve, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guarded]:
    """The same, for all tests that change nothing."""
    yield await _daemon(serve_all, tmp_path_factory.mktemp("guarded"))


async def cids(daemon: Guarded) -> list[str]:
    """The CIDs of the secret manifest and of its layer."""
    manifest = await daemon.ask("GET", "/v2/secret/app/manifests/1", OWNER)
    layer = await daemon.ask("HEAD", f"/v2/secret/app/blobs/{digest_of(SECRET)}", OWNER)
    return [manifest["x-ipfs-cid"], layer["x-ipfs-cid"]]


@pytest_twisted.ensureDeferred
async def test_an_unknown_and_a_forbidden_repository_look_the_same(daemon: Guarded) -> None:
    for who in ({}, READER, WRITER, basic("admin")):
        for path in ("tags/list", "manifests/1", f"blobs/{digest_of(SECRET)}", f"referrers/{digest_of(SECRET)}"):
            answers = [await daemon.ask("GET", f"/v2/{name}/{path}", who) for name in ("secret/app", "secret/none")]
            told = [(each.status, each.content.replace(b"secret/none", b"secret/app")) for each in answers]
            assert told[0] == told[1]
            assert told[0][0] == (403 if who else 401)


@pytest_twisted.ensureDeferred
async def test_the_catalog_shows_what_the_asker_may_pull(daemon: Guarded) -> None:
    await daemon.push_image("public/app", "1", b"x", basic("deleter"))
    for who, names in (("reader", ["public/app", "team/app"]), ("deleter", ["public/app", "secret/app", "team/app"])):
        answer = await daemon.ask("GET", "/v2/_catalog", basic(who))
        assert answer.json() == {"repositories": names}
    page = await daemon.ask("GET", "/v2/_catalog?n=1", READER)
    assert page.json() == {"repositories": ["public/app"]}
    assert "last=public" in page["link"]


@pytest.mark.parametrize("source", ["secret/app", None, "secret/none"])
@pytest_twisted.ensureDeferred
async def test_a_mount_needs_pull_on_its_source(daemon: Guarded, source: str | None) -> None:
    digest = digest_of(SECRET)
    target = query("/v2/team/app/blobs/uploads/", mount=digest, **({} if source is None else {"from": source}))
    answer = await daemon.ask("POST", target, WRITER, b"")
    assert (answer.status, "docker-content-digest" in answer) == (202, False)
    assert (await daemon.ask("HEAD", f"/v2/team/app/blobs/{digest}", WRITER)).status == 404
    # Who may pull it may mount it.
    assert (await daemon.ask("POST", target, basic("deleter"), b"")).status == (202 if source == "secret/none" else 201)


@pytest_twisted.ensureDeferred
async def test_a_token_for_one_repository_mounts_from_no_other(daemon: Guarded) -> None:
    digest = digest_of(SECRET)
    target = query("/v2/team/app/blobs/uploads/", mount=digest, **{"from": "secret/app"})
    narrow = await daemon.token("deleter", "repository:team/app:pull,push")
    assert (await daemon.ask("POST", target, bearer(narrow), b"")).status == 202
    wide = await daemon.token("deleter", "repository:team/app:pull,push", "repository:secret/app:pull")
    assert (await daemon.ask("POST", target, bearer(wide), b"")).status == 201


@pytest_twisted.ensureDeferred
async def test_a_manifest_names_nothing_of_another_repository(daemon: Guarded) -> None:
    manifest = image(layers=[SECRET])
    answer = await daemon.ask("PUT", "/v2/team/app/manifests/2", WRITER, manifest, Content_Type=MANIFEST_TYPE)
    assert (answer.status, answer.json()["errors"][0]["code"]) == (404, "MANIFEST_BLOB_UNKNOWN")


@pytest_twisted.ensureDeferred
async def test_nothing_of_it_is_had_by_cid(daemon: Guarded) -> None:
    manifest, layer = await cids(daemon)
    digest = digest_of(SECRET)
    for _ in range(2):  # the second time, what the owner's image lists is remembered
        for who in ({}, READER, WRITER):
            for cid in (manifest, layer):
                assert (await daemon.ask("GET", f"/ipfs/{cid}?format=raw", who)).status == 404
                assert (await daemon.ask("GET", f"/ipfs/{cid}?format=car", who)).status == 404
                records = await daemon.ask("GET", f"/routing/v1/providers/{cid}", who)
                assert records.json() == {"Providers": []}
            for path in ("manifests/latest", f"blobs/{digest}", "tags/list"):
                answer = await daemon.ask("GET", f"/v2/ipfs/{manifest}/{path}", who)
                assert answer.status == (404 if who in (READER, WRITER) else 401)
        # The owner may not pull ipfs/*, but who may pull everything may.
        assert (await daemon.ask("GET", f"/v2/ipfs/{manifest}/manifests/latest", basic("deleter"))).status == 200
        blob = await daemon.ask("GET", f"/v2/ipfs/{manifest}/blobs/{digest}", basic("deleter"))
        assert blob.content == SECRET
        found = await daemon.ask("GET", f"/ipfs/{layer}?format=raw", OWNER)
        assert (found.content, found["cache-control"].partition(",")[0]) == (SECRET, "private")


@pytest_twisted.ensureDeferred
async def test_an_image_by_cid_that_is_not_ones_own_looks_like_none_whoever_has_pulled_it(daemon: Guarded) -> None:
    """What it lists is remembered then, and nobody else may learn whether a layer is one of it."""
    manifest, _ = await cids(daemon)
    none = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
    paths = ["manifests/latest", "tags/list"]
    for content in (SECRET, b"{}", b"no such content"):
        paths += [f"manifests/{digest_of(content)}", f"blobs/{digest_of(content)}"]
    for path in paths:
        await daemon.ask("GET", f"/v2/ipfs/{manifest}/{path}", basic("deleter"))
        answers = [await daemon.ask("GET", f"/v2/ipfs/{cid}/{path}", READER) for cid in (manifest, none)]
        told = [(each.status, each.content.replace(none.encode(), manifest.encode())) for each in answers]
        assert told[0] == told[1]
        assert told[0][0] == 404


@pytest_twisted.ensureDeferred
async def test_what_is_shared_is_had_through_the_shared_repository(daemon: Guarded) -> None:
    """The same content in a repository that the reader may pull is the reader's, and no longer when it goes."""
    _, layer = await cids(daemon)
    digest = digest_of(SECRET)
    mount = query("/v2/team/app/blobs/uploads/", mount=digest, **{"from": "secret/app"})
    assert (await daemon.ask("POST", mount, basic("deleter"), b"")).status == 201
    assert (await daemon.ask("GET", f"/ipfs/{layer}?format=raw", READER)).content == SECRET
    assert (await daemon.ask("DELETE", f"/v2/team/app/blobs/{digest}", basic("deleter"))).status == 202
    assert (await daemon.ask("GET", f"/ipfs/{layer}?format=raw", READER)).status == 404
    assert (await daemon.ask("GET", f"/v2/team/app/blobs/{digest}", READER)).status == 404


@pytest_twisted.ensureDeferred
async def test_neither_while_it_is_pushed_nor_after_it_was_deleted(daemon: Guarded) -> None:
    content = b"a layer that comes in two parts, " * 1000
    digest = digest_of(content)
    begun = await daemon.ask("POST", "/v2/secret/app/blobs/uploads/", OWNER, b"")
    location = begun["location"]
    assert (await daemon.ask("PATCH", location, OWNER, content[:1000])).status == 202
    elsewhere = location.replace("secret/app", "team/app")
    for method in ("GET", "PATCH", "PUT", "DELETE"):
        for target, status in ((location, 403), (elsewhere, 404)):
            asked = query(target, digest=digest) if method == "PUT" else target
            assert (await daemon.ask(method, asked, WRITER, b"")).status == status
    assert (await daemon.ask("HEAD", f"/v2/team/app/blobs/{digest}", WRITER)).status == 404
    finished = await daemon.ask("PUT", query(location, digest=digest), OWNER, content[1000:])
    assert finished.status == 201
    cid = (await daemon.ask("HEAD", f"/v2/secret/app/blobs/{digest}", OWNER))["x-ipfs-cid"]
    assert (await daemon.ask("DELETE", f"/v2/secret/app/blobs/{digest}", basic("deleter"))).status == 202
    for who in ({}, READER, WRITER, OWNER):
        assert (await daemon.ask("GET", f"/ipfs/{cid}?format=raw", who)).status == 404
    mount = query("/v2/team/app/blobs/uploads/", mount=digest)
    assert (await daemon.ask("POST", mount, WRITER, b"")).status == 202


@pytest_twisted.ensureDeferred
async def test_denials_and_changes_are_in_the_audit_log(daemon: Guarded, tmp_path: Path) -> None:
    await daemon.ask("GET", "/v2/secret/app/manifests/1", READER)
    await daemon.ask("GET", "/v2/", basic("reader", "wrong password"))
    assert (await daemon.ask("DELETE", "/v2/team/app/manifests/1", basic("deleter"))).status == 202
    await daemon.served.stop()
    text = (tmp_path / "audit.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    told = [(line["event"], line["user"], line["verdict"], line.get("repository")) for line in lines]
    assert ("push", "owner", "allowed", "secret/app") in told
    pushed = [line["reference"] for line in lines if (line["event"], line.get("repository")) == ("push", "secret/app")]
    assert digest_of(SECRET) in pushed
    assert ("pull", "reader", "denied", "secret/app") in told
    assert ("login", "reader", "denied", None) in told
    assert ("delete", "deleter", "allowed", "team/app") in told
    assert "wrong password" not in text.replace("a wrong password for", "")


@pytest_twisted.ensureDeferred
async def test_a_token_for_the_catalog_lists_what_its_holder_may_pull(daemon: Guarded) -> None:
    """It is for no repository, and says nothing of what its holder may pull."""
    await daemon.push_image("public/app", "1", b"x", basic("deleter"))
    for who, names in (("reader", ["public/app", "team/app"]), ("admin", ["public/app"])):
        token = await daemon.token(who, "registry:catalog:*")
        answer = await daemon.ask("GET", "/v2/_catalog", bearer(token))
        assert (answer.status, answer.json()) == (200, {"repositories": names})
        # It opens nothing of what it lists.
        assert (await daemon.ask("GET", "/v2/public/app/tags/list", bearer(token))).status == 401


@pytest_twisted.ensureDeferred
async def test_to_look_for_what_one_may_see_lets_others_have_their_turn(
    daemon: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    await daemon.push_image("public/app", "1", b"x", basic("deleter"))
    turns: list[object] = []
    give = Turns.next

    def counted(self: Turns) -> "Deferred[None]":
        turns.append(self)
        return give(self)

    monkeypatch.setattr(Turns, "next", counted)
    monkeypatch.setattr(listings, "STEP_SECONDS", 0.0)
    for number, names in (("1000", ["public/app", "team/app"]), ("1", ["public/app"])):
        answer = await daemon.ask("GET", query("/v2/_catalog", n=number), READER)
        assert answer.json() == {"repositories": names}
    assert len(turns) >= 4


@pytest_twisted.ensureDeferred
async def test_pages_of_the_catalog_name_nothing_that_the_asker_may_not_pull(daemon: Guarded) -> None:
    await daemon.push_image("public/app", "1", b"x", basic("deleter"))
    for last in ("public/app", "secret", "secret/app", "secret/app/below", "secret/zzz", "s\u00e9cret", "%00"):
        for number in ("0", "1", "1000"):
            answer = await daemon.ask("GET", query("/v2/_catalog", last=last, n=number), READER)
            assert answer.status == 200
            assert b"secret" not in answer.content
            assert "secret" not in str(answer.headers.get("link"))


@pytest.mark.parametrize(
    "authorization",
    [
        "{good}, {bad}",
        "{bad}, {good}",
        "{good} {good}",
        "Negotiate {good}",
        "Basic",
        "Bearer",
        "Basic \u00ff",
        "",
        "Bearer a.b.c",
    ],
)
@pytest.mark.usefixtures("clean_log")
@pytest_twisted.ensureDeferred
async def test_credentials_that_cannot_be_read_are_nobodys(shared: Guarded, authorization: str) -> None:
    good, bad = (str(each["Authorization"]) for each in (OWNER, basic("owner", "wrong")))
    header = {"Authorization": authorization.format(good=good, bad=bad)}
    for target in ("/v2/", "/v2/secret/app/tags/list", "/v2/public/app/tags/list", "/ipfs/bafkqaaa?format=raw"):
        answer = await shared.ask("GET", target, header)
        assert answer.status == 401
        assert b"secret" not in answer.content


@pytest.mark.parametrize(
    "path",
    [
        "/v2/secret%2Fapp/tags/list",
        "/v2/secret/app/tags/list/",
        "/v2/team/../secret/app/tags/list",
        "/v2/team/app/../../secret/app/tags/list",
        "//v2/secret/app/tags/list",
        "/v2//secret/app/tags/list",
        "/v2/secret/app/tags/list%3Fx",
        "/%762/secret/app/tags/list",
        "/v2/SECRET/app/tags/list",
        "http://other.test/v2/secret/app/tags/list",
    ],
)
@pytest.mark.usefixtures("clean_log")
@pytest_twisted.ensureDeferred
async def test_no_way_to_write_a_path_leads_around_the_rules(shared: Guarded, path: str) -> None:
    for method in ("GET", "HEAD"):
        answer = await shared.ask(method, path, READER)
        assert answer.status in {400, 403, 404}
        assert "1" not in answer.content.decode().replace("v1", "")
