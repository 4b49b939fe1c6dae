"""Docker's token flow, as clients speak it."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import pytest_twisted

from ipfsreg.app import assembly
from ipfsreg.app.configuration import make_backend
from tests.access.helpers import PASSWORD
from tests.web.client import Answer, query
from tests.web.served import Serve

from .guarded import Guarded, basic, bearer, guarded

FORM = "application/x-www-form-urlencoded"


@pytest_twisted.async_yield_fixture()
async def daemon(serve: Serve, tmp_path: Path) -> AsyncIterator[Guarded]:
    started = await guarded(serve, tmp_path)
    await started.push_image("team/app", "1", b"layer", basic("writer"))
    await started.push_image("public/app", "1", b"layer", basic("deleter"))
    yield started


@pytest_twisted.async_yield_fixture(scope="module")
async def empty(serve_all: Serve, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guarded]:
    """One without images, for all tests that change nothing."""
    yield await guarded(serve_all, tmp_path_factory.mktemp("guarded"))


def challenge(answer: Answer) -> dict[str, str]:
    assert answer.status == 401
    kind, _, rest = answer["www-authenticate"].partition(" ")
    return {"": kind, **dict(re.findall(r'(\w+)="([^"]*)"', rest))}


async def post(daemon: Guarded, **fields: str) -> Answer:
    return await daemon.ask("POST", "/auth/token", None, urlencode(fields).encode(), Content_Type=FORM)


@pytest_twisted.ensureDeferred
async def test_from_the_challenge_to_the_manifest(daemon: Guarded) -> None:
    target = "/v2/team/app/manifests/1"
    asked = challenge(await daemon.ask("GET", target))
    assert asked == {
        "": "Bearer",
        "realm": "http://registry.test/auth/token",
        "service": "ipfsreg",
        "scope": "repository:team/app:pull",
    }
    got = await daemon.ask("GET", query("/auth/token", service=asked["service"], scope=asked["scope"]), basic("reader"))
    document = got.json()
    assert (got.status, got["cache-control"]) == (200, "no-store")
    assert document["token"] == document["access_token"]
    assert document["expires_in"] == 300
    assert (await daemon.ask("GET", target, bearer(document["token"]))).status == 200
    # It is for that and nothing else, and says so in a way that makes the client ask for another one.
    other = challenge(await daemon.ask("GET", "/v2/public/app/manifests/1", bearer(document["token"])))
    assert (other["error"], other["scope"]) == ("insufficient_scope", "repository:public/app:pull")
    # What its holder may not do at all is another matter.
    assert (await daemon.ask("DELETE", target, bearer(document["token"]))).status == 403


@pytest_twisted.ensureDeferred
async def test_anybody_has_a_token_for_what_anybody_may(daemon: Guarded) -> None:
    scope = "repository:public/app:pull,push"
    token = (await daemon.ask("GET", query("/auth/token", scope=scope))).json()["token"]
    assert (await daemon.ask("GET", "/v2/", bearer(token))).status == 200
    assert (await daemon.ask("GET", "/v2/public/app/manifests/1", bearer(token))).status == 200
    assert (await daemon.ask("POST", "/v2/public/app/blobs/uploads/", bearer(token), b"")).status == 401
    assert (await daemon.ask("GET", "/v2/team/app/manifests/1", bearer(token))).status == 401


@pytest_twisted.ensureDeferred
async def test_an_offline_token_gets_others(daemon: Guarded) -> None:
    asked = query("/auth/token", service="ipfsreg", offline_token="true", account="writer", client_id="docker")
    kept = (await daemon.ask("GET", asked, basic("writer"))).json()["refresh_token"]
    assert (await daemon.ask("GET", "/v2/", bearer(kept))).status == 401
    scope = "repository:team/app:pull,push"
    answer = await post(daemon, grant_type="refresh_token", refresh_token=kept, scope=scope, service="ipfsreg")
    token = answer.json()["access_token"]
    assert (await daemon.ask("POST", "/v2/team/app/blobs/uploads/", bearer(token), b"")).status == 202
    assert (await post(daemon, grant_type="refresh_token", refresh_token=token)).status == 401


@pytest_twisted.ensureDeferred
async def test_a_password_in_a_form(daemon: Guarded) -> None:
    fields = {"grant_type": "password", "username": "reader", "scope": "repository:team/app:pull"}
    answer = await post(daemon, **fields, password=PASSWORD, access_type="offline")
    assert answer.status == 200
    assert answer.json()["refresh_token"]
    token = answer.json()["access_token"]
    assert (await daemon.ask("GET", "/v2/team/app/tags/list", bearer(token))).status == 200
    assert (await post(daemon, **fields, password="no")).status == 401


@pytest.mark.parametrize(
    ("target", "fields", "status"),
    [
        ("/auth/token?service=other", None, 400),
        ("/auth/token?scope=nonsense", None, 400),
        ("/auth/token?" + "&".join("scope=repository:a:pull" for _ in range(100)), None, 400),
        ("/auth/token", b"grant_type=magic", 400),
        ("/auth/token", b"\xff=\xfe", 400),
        ("/auth/token", b"grant_type=refresh_token&refresh_token=" + b"a" * 5000, 401),
        ("/auth/token", b"x" * 70_000, 413),
    ],
)
@pytest.mark.usefixtures("clean_log")
@pytest_twisted.ensureDeferred
async def test_mistakes(empty: Guarded, target: str, fields: bytes | None, status: int) -> None:
    if fields is None:
        answer = await empty.ask("GET", target, basic("reader"))
    else:
        answer = await empty.ask("POST", target, None, fields, Content_Type=FORM)
    assert answer.status == status
    assert answer.json()["errors"][0]["message"]


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic !!!",
        "Basic bm9jb2xvbg==",
        "Basic /////w==",
        "Digest x",
        "Bearer",
        "Bearer a.b.c",
        "Bearer \xff",
        "x" * 5000,
    ],
)
@pytest.mark.usefixtures("clean_log")
@pytest_twisted.ensureDeferred
async def test_credentials_that_cannot_be_read_are_refused(empty: Guarded, header: str) -> None:
    answer = await empty.ask("GET", "/v2/", {"Authorization": header.encode("latin-1")})
    assert challenge(answer)["error"] == "invalid_token"


@pytest_twisted.ensureDeferred
async def test_who_guesses_has_to_wait_and_others_do_not(daemon: Guarded) -> None:
    statuses = []
    for _ in range(8):
        answer = await daemon.served.ask("GET", "/v2/", {"X-Forwarded-For": "10.9.9.9", **basic("reader", "guess")})
        statuses.append(answer.status)
    assert statuses[0] == 401
    assert statuses[-1] == 429
    assert int(answer["retry-after"]) >= 1
    assert (await daemon.ask("GET", "/v2/", basic("reader"))).status == 200


@pytest_twisted.ensureDeferred
async def test_basic_alone_and_a_url_of_ones_own(serve: Serve, tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], dict[str, str]]] = [
        ({"challenge": "basic"}, {"": "Basic", "realm": "ipfsreg", "charset": "UTF-8"}),
        ({"url": "https://registry.example.org/"}, {"realm": "https://registry.example.org/auth/token"}),
    ]
    for number, (options, wanted) in enumerate(cases):
        directory = tmp_path / f"d{number}"
        directory.mkdir()
        started: Any = await guarded(serve, directory, **options)
        asked = challenge(await started.ask("GET", "/v2/"))
        assert {name: asked[name] for name in wanted} == wanted


@pytest_twisted.ensureDeferred
async def test_behind_a_proxy_with_tls(daemon: Guarded) -> None:
    asked = challenge(await daemon.ask("GET", "/v2/", None, None, X_Forwarded_Proto="https", Host="r.example.org"))
    assert asked["realm"] == "https://r.example.org/auth/token"


@pytest_twisted.ensureDeferred
async def test_a_refused_login_says_so_in_dockers_words_too(daemon: Guarded) -> None:
    """Without `details`, docker goes on to plain HTTP at a registry on its own machine, and says that this failed."""
    got = await daemon.ask("GET", "/auth/token", basic("reader", "no"))
    posted = await post(daemon, grant_type="password", username="reader", password="no")
    for answer in (got, posted):
        assert (answer.status, answer["content-type"]) == (401, "application/json")
        assert "www-authenticate" not in answer.headers
        assert answer.json() == {
            "errors": [{"code": "UNAUTHORIZED", "message": "incorrect username or password"}],
            "details": "incorrect username or password",
        }


@pytest_twisted.ensureDeferred
async def test_a_mirror_hands_out_tokens_by_post_too(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of a mirror can be changed, and `docker login` has left a token there that is exchanged by POST."""

    def read_only(*arguments: Any) -> Any:
        return replace(make_backend(*arguments), read_only="a mirror")

    monkeypatch.setattr(assembly, "make_backend", read_only)
    daemon = await guarded(serve, tmp_path)
    answer = await post(daemon, grant_type="password", username="reader", password=PASSWORD, access_type="offline")
    assert answer.status == 200
    answer = await post(daemon, grant_type="refresh_token", refresh_token=answer.json()["refresh_token"])
    assert answer.status == 200
    assert (await daemon.ask("GET", "/v2/", bearer(answer.json()["token"]))).status == 200
    for target in ("/v2/team/app/blobs/uploads/", "/auth/tokens", "/auth/token/x"):
        assert (await daemon.ask("POST", target, basic("writer"), b"")).status == 405
