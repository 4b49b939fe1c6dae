"""Pages over HTTP: what is answered to whom, and that nothing of strangers becomes markup."""

import errno
import json
import re
import threading
from collections.abc import AsyncIterator
from html import escape, unescape
from urllib.parse import quote

import pytest
import pytest_twisted

from ipfsreg.registry.uploads.uploads import Uploads
from ipfsreg.web.pages import rendering, repositories
from tests.web.client import pause, query
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

from .visiting import Visitor, hidden_fields, text_of

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u202e\x00{{ 7919*7907 }}"
POLICY = {
    "default-src 'none'",
    "style-src 'self'",
    "script-src 'self'",
    "img-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
}


@pytest_twisted.async_yield_fixture(scope="module")
async def one_image(serve_all: Serve) -> AsyncIterator[Served]:
    """A daemon with ``team/app:v1``, for tests that change nothing."""
    served = await serve_all()
    await served.push_image("v1", "team/app")
    yield served


async def push_hostile(registry: Served, repository: str = "box") -> tuple[str, bytes]:
    """An image all of whose texts are hostile, and something that refers to it; answers its digest and the index."""
    config = json.dumps(
        {
            "os": EVIL,
            "architecture": EVIL,
            "created": EVIL,
            "author": EVIL,
            "config": {
                "Env": [EVIL, 7, None],
                "Cmd": [EVIL],
                "Labels": {EVIL: EVIL, "n": None},
                "ExposedPorts": {EVIL: {}},
                "User": {"not": "text"},
                "Volumes": 3,
            },
            "history": [{"created_by": EVIL, "comment": EVIL, "created": 10**30}, None, "x", {"created_by": [EVIL]}],
        }
    ).encode()
    layer = b"a layer"
    for blob in (config, layer, b"{}"):
        await registry.push_blob(blob, repository)
    described = descriptor(layer, LAYER_TYPE, annotations={"org.opencontainers.image.title": EVIL})
    document = json.loads(image(config=descriptor(config, CONFIG_TYPE), annotations={EVIL: EVIL, "l": "x" * 100_000}))
    manifest = json.dumps({**document, "layers": [described]}).encode()
    assert (await registry.push(manifest, "evil", repository)).status == 201
    subject = descriptor(manifest, MANIFEST_TYPE)
    referrer = image(artifactType=f"text/{EVIL}", subject=subject, annotations={"org.opencontainers.image.title": EVIL})
    assert (await registry.push(referrer, digest_of(referrer), repository)).status == 201
    listed = {**subject, "platform": {"os": EVIL, "architecture": ["x"], "variant": EVIL}, "artifactType": EVIL}
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [listed]}).encode()
    assert (await registry.push(index, "index", repository, INDEX_TYPE)).status == 201
    return digest_of(manifest), index


@pytest_twisted.ensureDeferred
async def test_who_is_answered_at_the_root(registry: Served) -> None:
    page = await Visitor(registry).get("/")
    assert (page.status, page["content-type"]) == (200, "text/html; charset=utf-8")
    assert {part.strip() for part in page["content-security-policy"].split(";")} == POLICY
    assert page["cache-control"] == "no-store"
    assert "Accept" in page["vary"]
    assert page["x-content-type-options"] == "nosniff"
    assert "Nothing has been pushed yet" in text_of(page)
    for accept in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}, {"Accept": "text/plain, text/html;q=0.1"}):
        answer = await registry.ask("GET", "/", accept)
        assert (answer.status, answer["content-type"]) == (200, "text/plain; charset=utf-8")
    head = await Visitor(registry).get("/", "HEAD")
    assert (head.status, head.content, head["content-type"]) == (200, b"", "text/html; charset=utf-8")


@pytest_twisted.ensureDeferred
async def test_pages_can_be_switched_off(serve: Serve) -> None:
    registry = await serve(pages={"enabled": "no"})
    visitor = Visitor(registry)
    page = await visitor.get("/")
    assert (page.status, page["content-type"]) == (200, "text/plain; charset=utf-8")
    assert (await visitor.get("/repositories/box")).error == (404, "UNSUPPORTED")
    assert (await visitor.get("/status")).error == (404, "UNSUPPORTED")


@pytest_twisted.ensureDeferred
async def test_every_page(registry: Served) -> None:
    await registry.push_image("v1", "team/app", [b"one layer", b"another"])
    manifest = await registry.push_image("v2", "team/app", [b"one layer"])
    digest = digest_of(manifest)
    visitor = Visitor(registry)
    pages = {
        "/": ("team/", "app", "2"),
        "/?q=APP": ("app",),
        "/?q=zebra": ("No repository matches “zebra”",),
        "/repositories/team/app": ("v1", "v2", digest[:19], "Delete"),
        "/repositories/team/app?q=2": ("v2",),
        "/repositories/team/app?q=zebra": ("No tag matches",),
        "/repositories/team/app:v2": (digest, "docker pull 127.0.0.1:5000/team/app:v2", "/ipfs/bafkrei", "Layers"),
        f"/repositories/team/app@{digest}": (f"podman pull --tls-verify=false 127.0.0.1:5000/team/app@{digest}",),
        "/repositories/team/app:v2/delete": ("Delete the tag v2?",),
        "/status": ("The storage answers.", "local directory", "repository"),
        "/sign-in": ("no access control",),
    }
    for target, words in pages.items():
        page = await visitor.get(target)
        assert page.status == 200, target
        assert {part.strip() for part in page["content-security-policy"].split(";")} == POLICY
        for word in words:
            assert word in text_of(page), (target, word)
        assert (await visitor.get(target, "HEAD")).content == b""
    assert "v1" not in text_of(await visitor.get("/repositories/team/app?q=2"))


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("team/app:v1", "/repositories/team/app:v1"),
        ("registry.example.org:5000/team/app:v1", "/repositories/team/app:v1"),
        (f"team/app@{digest_of(b'x')}", f"/repositories/team/app@{digest_of(b'x')}"),
        ("127.0.0.1:5000/app", None),
        ("app:", None),
        ("//evil.example/:x", None),
        ("javascript:alert(1)", None),
        ("a:b\r\nSet-Cookie: x=y", None),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_search_for_an_image_by_its_name_leads_there(registry: Served, name: str, target: str | None) -> None:
    answer = await Visitor(registry).get(query("/", q=name))
    assert (answer.status, answer.headers.get("location")) == ((303, [target]) if target else (200, None))


@pytest_twisted.ensureDeferred
async def test_what_is_attached_is_told_with_each_tag(registry: Served) -> None:
    manifest = await registry.push_image("v1", "team/app")
    subject = descriptor(manifest, MANIFEST_TYPE)
    for artifact_type in ("application/vnd.dev.sigstore.bundle.v0.3+json", "application/spdx+json"):
        referrer = image(artifactType=artifact_type, subject=subject)
        assert (await registry.push(referrer, digest_of(referrer), "team/app")).status == 201
    await registry.push_image("v2", "team/app", [b"more"])
    rows = (await Visitor(registry).get("/repositories/team/app")).content.decode().split('<li class="row tag">')[1:]
    assert ['class="chip has"' in row for row in rows] == [False, True]
    assert ">signature</li>" in rows[1]
    assert ">SBOM</li>" in rows[1]
    assert 'data-copy="docker pull 127.0.0.1:5000/team/app:v1"' in rows[1]


@pytest_twisted.ensureDeferred
async def test_what_is_attached_to_the_images_of_an_index_is_in_its_tree(registry: Served) -> None:
    await registry.push_blob(b"{}")
    images = [image(annotations={"for": name}) for name in ("amd64", "arm64")]
    attestation = image(annotations={"in-toto": "x"})
    for manifest in (*images, attestation):
        assert (await registry.push(manifest, digest_of(manifest))).status == 201
    sbom = image(artifactType="application/spdx+json", subject=descriptor(images[0], MANIFEST_TYPE))
    assert (await registry.push(sbom, digest_of(sbom))).status == 201
    listed = [
        descriptor(manifest, MANIFEST_TYPE, platform={"os": "linux", "architecture": name})
        for manifest, name in zip(images, ("amd64", "arm64"), strict=True)
    ]
    attests = {"vnd.docker.reference.digest": digest_of(images[0])}
    listed.append(descriptor(attestation, MANIFEST_TYPE, annotations=attests))
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": listed}).encode()
    assert (await registry.push(index, "v1", media_type=INDEX_TYPE)).status == 201
    page = (await Visitor(registry).get("/repositories/box:v1")).content.decode()
    markup = page.partition('id="attached"')[2].partition("</section>")[0]
    tree = " ".join(unescape(re.sub("<[^>]*>", " ", markup)).split())
    short = [digest_of(each)[:19] for each in (images[0], sbom, attestation)]
    assert tree.endswith(f"more linux/amd64 {short[0]} SPDX SBOM {short[1]} build attestation {short[2]}")


@pytest_twisted.ensureDeferred
async def test_addresses_of_pages_are_links_and_nothing_else_is(registry: Served) -> None:
    there = "https://git.example.org/a?b=c&d=%20"
    others = (
        "javascript:alert(1)",
        "data:text/html,x",
        "https://a b",
        'https://a"onclick="x',
        "//evil.example",
        "https",
    )
    annotations = {"source": there, **{str(number): text for number, text in enumerate(others)}}
    await registry.push_blob(b"{}")
    assert (await registry.push(image(annotations=annotations), "v1")).status == 201
    page = (await Visitor(registry).get("/repositories/box:v1")).content.decode()
    assert f'<a href="{escape(there)}" rel="noopener noreferrer nofollow">' in page
    assert page.count('rel="noopener') == 1


@pytest_twisted.ensureDeferred
async def test_what_a_collection_would_free(serve: Serve) -> None:
    registry = await serve(gc={"grace": "0s", "untagged": "0s"})
    status = text_of(await Visitor(registry).get("/status"))
    assert "It has not run since the daemon started" in status
    assert "0 bytes would be freed by a run now" in " ".join(status.split())
    await registry.push_blob(b"x" * 5000)
    await pause(0.02)
    assert "5.00 kB would be freed by a run now" in " ".join(text_of(await Visitor(registry).get("/status")).split())
    await registry.daemon.registry.collector.run()
    status = " ".join(text_of(await Visitor(registry).get("/status")).split())
    assert "0 bytes would be freed by a run now" in status
    assert "freed 5.00 kB" in status
    assert "free of" in status
    assert "0 unfinished uploads" in status


@pytest.mark.parametrize(
    ("target", "status", "word"),
    [
        ("/repositories/none", 404, "Repository name not known"),
        ("/repositories/team/app:none", 404, "Manifest unknown"),
        (f"/repositories/team/app@{digest_of(b'none')}", 404, "Manifest unknown"),
        ("/repositories/team/app:none/delete", 404, "Manifest unknown"),
        ("/repositories/team/app:none/other", 404, "There is nothing at this address"),
        ("/repositories/UPPER", 400, "lower-case"),
        ("/repositories/team/app:.x", 400, "A tag is"),
        ("/repositories/team/app@sha256:abc", 400, "hexadecimal digits"),
        ("/repositories/%3Cscript%3E", 400, "lower-case"),
        ("/repositories/%ff", 400, "not UTF-8"),
        ("/status/x", 404, "There is nothing at this address"),
        ("/none", 404, "There is nothing at this address"),
        ("/wp-admin/<script>?x=<script>", 404, "There is nothing at this address"),
        ("//elsewhere.example/", 404, "There is nothing at this address"),
        ("/%ff", 400, "not UTF-8"),
    ],
)
@pytest.mark.usefixtures("clean_log")
@pytest_twisted.ensureDeferred
async def test_what_is_not_there_is_a_page(one_image: Served, target: str, status: int, word: str) -> None:
    page = await Visitor(one_image).get(target)
    assert (page.status, page["content-type"]) == (status, "text/html; charset=utf-8")
    assert word in text_of(page)
    assert "content-security-policy" in page
    assert b"<script>" not in page.content


@pytest_twisted.ensureDeferred
async def test_what_is_not_a_page_is_answered_as_ever(registry: Served) -> None:
    visitor = Visitor(registry)
    assert (await visitor.get("/v2/none/tags/list")).error == (404, "NAME_UNKNOWN")
    for target in ("/v2/none", "/v2", "/ipfs/none", "/routing/v1/none", "/auth/none", "/metrics"):
        assert (await visitor.get(target))["content-type"] == "application/json"
    assert (await registry.ask("GET", "/none")).error == (404, "UNSUPPORTED")
    assert (await registry.ask("GET", "/none", {"Accept": "application/json"})).error == (404, "UNSUPPORTED")
    for accept in ("application/json, text/html;q=0.1", "text/html;q=0.1, application/json", "text/plain, text/html"):
        assert (await registry.ask("GET", "/none", {"Accept": accept})).error == (404, "UNSUPPORTED")
    for accept in ("text/html", "text/html, application/json;q=0.9", "application/json;q=0.1, text/html;q=0.2"):
        page = await registry.ask("GET", "/none", {"Accept": accept})
        assert (page.status, page["content-type"]) == (404, "text/html; charset=utf-8")
    page = await visitor.get("/repositories/box", "PUT")
    assert (page.status, page["allow"]) == (405, "GET, HEAD")
    assert "That cannot be done here" in text_of(page)
    assert (await visitor.get("/assets/none.css")).status == 404
    assert (await registry.ask("GET", "/repositories/a%20b")).error == (400, "NAME_INVALID")
    assert (await registry.ask("PUT", "/repositories/box", None, b"")).error == (405, "UNSUPPORTED")


@pytest_twisted.ensureDeferred
async def test_assets(registry: Served) -> None:
    page = (await Visitor(registry).get("/")).content.decode()
    for name, media_type in (
        ("style.css", "text/css; charset=utf-8"),
        ("pages.js", "text/javascript; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    ):
        target = f"/assets/{name}?v={page.partition(f'/assets/{name}?v=')[2][:12]}"
        assert target in page
        answer = await registry.ask("GET", target)
        assert (answer.status, answer["content-type"]) == (200, media_type)
        assert "immutable" in answer["cache-control"]
        assert (await registry.ask("GET", f"/assets/{name}?v=older"))["cache-control"] == "no-cache"
    for name in ("..%2fpages.py", "%2e%2e/pages.py", "base.html", ""):
        assert (await registry.ask("GET", f"/assets/{name}")).status == 404


@pytest_twisted.ensureDeferred
async def test_nothing_of_strangers_becomes_markup(registry: Served) -> None:
    digest, index = await push_hostile(registry)
    visitor = Visitor(registry)
    for target in (
        "/repositories/box",
        "/repositories/box:evil",
        f"/repositories/box@{digest}",
        "/repositories/box:index",
        f"/repositories/box@{digest_of(index)}",
        f"/?q={quote(EVIL)}",
        f"/?after={quote(EVIL)}",
        f"/repositories/box?q={quote(EVIL)}&deleted={quote(EVIL)}&after={quote(EVIL)}&order={quote(EVIL)}",
        f"/sign-in?then={quote(EVIL)}",
    ):
        page = await visitor.get(target)
        assert page.status == 200, target
        content = page.content.decode()
        assert "<script>" not in content
        assert "<img src=x" not in content
        assert "\u202e" not in content
        assert "\x00" not in content
        assert str(7919 * 7907) not in content
        assert len(content) < 150_000
    # What could be passed to an attribute is one text in it.
    assert 'onerror="' not in (await visitor.get("/repositories/box:evil")).content.decode()


@pytest_twisted.ensureDeferred
async def test_the_status_page_reads_no_uploads_in_a_thread(registry: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions begin and end meanwhile: a count of them from another thread fails."""
    threads = []

    def received(uploads: Uploads) -> int:
        threads.append(threading.current_thread())
        return 5

    monkeypatch.setattr(Uploads, "received", property(received))
    assert (await registry.ask("POST", "/v2/box/blobs/uploads/")).status == 202
    page = await Visitor(registry).get("/status")
    assert "unfinished upload with 5" in text_of(page)
    assert set(threads) == {threading.main_thread()}


@pytest.mark.parametrize("host", ['"><script>', "evil.example", "a b", "x" * 5000])
@pytest.mark.usefixtures("clean_log")
@pytest_twisted.ensureDeferred
async def test_a_hostile_host_header(one_image: Served, host: str) -> None:
    answer = await one_image.ask("GET", "/repositories/team/app:v1", {"Host": host, "Accept": "text/html"})
    assert answer.status in (200, 400)
    assert b"<script>" not in answer.content


@pytest_twisted.ensureDeferred
async def test_documents_that_are_not_what_they_should_be(registry: Served) -> None:
    for number, config in enumerate((b"[]", b"not JSON", b'{"config": [], "history": {}, "os": 3}', b"x" * 2_000_000)):
        await registry.push_blob(config)
        manifest = image(config=descriptor(config, CONFIG_TYPE), annotations=None)
        assert (await registry.push(manifest, f"n{number}")).status == 201
        assert (await Visitor(registry).get(f"/repositories/box:n{number}")).status == 200
    lost = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": INDEX_TYPE,
            "manifests": [
                {"mediaType": MANIFEST_TYPE, "digest": digest_of(b"not here"), "size": size} for size in (500, 10**25)
            ],
        }
    ).encode()
    assert (await registry.push(lost, "lost", media_type=INDEX_TYPE)).status == 201
    assert "not here" in text_of(await Visitor(registry).get("/repositories/box:lost"))
    assert (await Visitor(registry).get("/repositories/box")).status == 200


@pytest_twisted.ensureDeferred
async def test_a_manifest_with_very_many_layers(registry: Served) -> None:
    await registry.push_blob(b"{}")
    await registry.push_blob(b"layer")
    manifest = image(layers=[b"layer"] * 5000)
    assert (await registry.push(manifest, "many")).status == 201
    page = await Visitor(registry).get("/repositories/box:many")
    assert "5,000, together" in text_of(page)
    assert "the first 200 are shown" in text_of(page)
    assert len(page.content) < 300_000


@pytest_twisted.ensureDeferred
async def test_manifests_that_refer_to_each_other(registry: Served) -> None:
    """Each is the other's subject, by a digest of another algorithm that was known before; and one refers to itself."""
    await registry.push_image("v1")
    subject: dict[str, object] = descriptor(await registry.push_image("v1"), MANIFEST_TYPE)
    for depth in range(8):
        referrer = image(artifactType=f"text/depth-{depth}", subject=subject)
        assert (await registry.push(referrer, digest_of(referrer))).status == 201
        subject = descriptor(referrer, MANIFEST_TYPE)
    page = text_of(await Visitor(registry).get("/repositories/box:v1"))
    assert "text/depth-3" in page
    assert "text/depth-4" not in page


@pytest_twisted.ensureDeferred
async def test_more_referrers_than_a_page_shows(registry: Served) -> None:
    subject = descriptor(await registry.push_image("v1"), MANIFEST_TYPE)
    for number in range(105):
        referrer = image(artifactType="application/spdx+json", subject=subject, annotations={"n": str(number)})
        assert (await registry.push(referrer, digest_of(referrer))).status == 201
    page = text_of(await Visitor(registry).get("/repositories/box:v1"))
    assert page.count("SPDX SBOM") == 100
    assert "There are more" in page


@pytest_twisted.ensureDeferred
async def test_signatures_by_tag(registry: Served) -> None:
    digest = digest_of(await registry.push_image("v1"))
    await registry.push_image(f"{digest.replace(':', '-')}.sig", layers=[b"a signature"])
    page = text_of(await Visitor(registry).get("/repositories/box:v1"))
    assert "cosign signature" in page
    assert "by its tag" in page


@pytest_twisted.ensureDeferred
async def test_long_lists_have_pages(registry: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repositories, "TAGS_PAGE", 2)
    monkeypatch.setattr(repositories, "REPOSITORIES_PAGE", 2)
    for tag in ("v1", "v2", "v3", "v4", "v5"):
        await registry.push_image(tag)
    for name in ("a", "b", "c", "d"):
        await registry.push_image("v1", name)
    visitor = Visitor(registry)
    shown = []
    for target, words in (
        ("/repositories/box", ("v5", "v4")),
        ("/repositories/box?after=v4", ("v3", "v2")),
        ("/repositories/box?after=v2", ("v1",)),
        ("/repositories/box?order=a", ("v1", "v2")),
        ("/repositories/box?order=a&after=v2", ("v3", "v4")),
    ):
        page = await visitor.get(target)
        assert "5 tags" in text_of(page)
        shown.append([word for word in ("v1", "v2", "v3", "v4", "v5") if f':{word}">' in page.content.decode()])
        assert sorted(words) == shown[-1]
    assert b'href="/repositories/box?after=v4" rel="next"' in (await visitor.get("/repositories/box")).content
    last = (await visitor.get("/repositories/box?after=v2")).content
    assert b'href="/repositories/box?after=v4" rel="prev"' in last
    assert b'rel="next"' not in last
    assert "1\N{EN DASH}2 of 5 repositories" in text_of(await visitor.get("/"))
    assert "5\N{EN DASH}5 of 5 repositories" in text_of(await visitor.get("/?after=c"))


@pytest_twisted.ensureDeferred
async def test_deleting_a_tag(registry: Served) -> None:
    manifest = await registry.push_image("v1")
    await registry.push(manifest, "v2")
    visitor = Visitor(registry)
    answer = await visitor.form("/repositories/box:v1/delete")
    assert (answer.status, answer["location"]) == (303, "/repositories/box?deleted=v1")
    assert "v1 was deleted" in " ".join(text_of(await visitor.get(answer["location"])).split())
    assert (await registry.ask("GET", "/v2/box/manifests/v1")).status == 404
    assert (await registry.ask("GET", "/v2/box/manifests/v2")).status == 200


@pytest_twisted.ensureDeferred
async def test_a_tag_that_moved_is_not_deleted(registry: Served) -> None:
    await registry.push_image("v1")
    visitor = Visitor(registry)
    fields = hidden_fields(await visitor.get("/repositories/box:v1/delete"))
    await registry.push_image("v1", layers=[b"another"])
    answer = await visitor.post("/repositories/box:v1/delete", fields)
    assert answer.status == 409
    assert "pushed anew" in text_of(answer)
    assert (await registry.ask("GET", "/v2/box/manifests/v1")).status == 200


@pytest_twisted.ensureDeferred
async def test_forged_forms(registry: Served) -> None:
    await registry.push_image("v1")
    visitor, other = Visitor(registry), Visitor(registry)
    target = "/repositories/box:v1/delete"
    fields = hidden_fields(await visitor.get(target))
    theirs = hidden_fields(await other.get(target))
    for wrong in (
        {"digest": fields["digest"]},
        {**fields, "token": ""},
        {**fields, "token": theirs["token"]},
        {**fields, "token": fields["token"][:-1] + "g"},
        {**fields, "token": "\udcff".encode("utf-8", "surrogatepass").decode("latin-1")},
    ):
        answer = await visitor.post(target, wrong)
        assert answer.status == 403
        assert "is not from this registry" in text_of(answer)
    visitor.cookies.clear()
    assert (await visitor.post(target, fields)).status == 403
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"},
    ):
        fields = hidden_fields(await visitor.get(target))
        assert (await visitor.post(target, fields, **headers)).status == 403
    assert (await visitor.post(target, fields, Content_Type="text/plain")).status == 415
    assert (await registry.ask("GET", "/v2/box/manifests/v1")).status == 200
    cookie = (await Visitor(registry).get("/"))["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}


@pytest_twisted.ensureDeferred
async def test_a_name_that_a_browser_may_not_use(serve: Serve) -> None:
    registry = await serve(registry={"allowed_hosts": "known.example"}, auth={"url": "https://own.example/"})
    for host, status in (("known.example:5000", 200), ("own.example", 200), ("evil.example", 403)):
        page = await Visitor(registry, host=host).get("/", Sec_Fetch_Site="none")
        assert (page.status, page["content-type"]) == (status, "text/html; charset=utf-8")
        assert ("allowed_hosts" in text_of(page)) == (status == 403)
        # Each link would lead to the same answer.
        assert (b'href="/"' in page.content, b"<form" in page.content) == (status == 200, status == 200)
    program = {"Host": "evil.example", "Accept": "text/html", "User-Agent": "curl/8"}
    assert (await registry.ask("GET", "/", program)).status == 200


@pytest_twisted.ensureDeferred
async def test_a_storage_that_does_not_answer(registry: Served) -> None:
    await registry.push_image("v1")
    bucket = registry.store / "bucket"
    bucket.rename(registry.store / "elsewhere")
    bucket.write_text("a file")
    page = await Visitor(registry).get(query("/repositories/other"))
    assert page.status == 503
    assert page["content-type"] == "text/html; charset=utf-8"
    assert "retry-after" in page
    status = await Visitor(registry).get("/status")
    assert status.status == 200
    assert "The storage does not answer" in text_of(status)
    bucket.unlink()
    (registry.store / "elsewhere").rename(bucket)


@pytest_twisted.ensureDeferred
async def test_pages_that_cannot_be_loaded_are_an_outage(registry: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise OSError(errno.EMFILE, "Too many open files", "a template")

    monkeypatch.setattr(rendering, "_load", fails)
    for _ in range(2):
        answer = await Visitor(registry).get("/")
        assert answer.error == (503, "UNAVAILABLE")
        assert answer["retry-after"] == "10"
    monkeypatch.undo()
    assert (await Visitor(registry).get("/")).status == 200
