"""Who sees which page, and signing in and out."""

from pathlib import Path

import pytest
import pytest_twisted

from ipfsreg.access import watched
from tests.access.helpers import HASH, PASSWORD
from tests.web.auth.guarded import Guarded, basic, guarded, routes_of
from tests.web.client import Answer
from tests.web.served import Serve, digest_of

from .visiting import Visitor, hidden_fields, text_of

WHO = ("anonymous", "reader", "writer", "deleter", "admin", "owner", "robot")
COOKIE = "ipfsreg-session"


async def with_image(serve: Serve, directory: Path) -> tuple[Guarded, str]:
    """A daemon with an image in ``team/app``, ``secret/app`` and ``public/app``; answers its digest too."""
    daemon = await guarded(serve, directory)
    for repository in ("team/app", "public/app"):
        manifest = await daemon.push_image(repository, "v1", b"a layer", basic("deleter"))
    await daemon.push_image("secret/app", "v1", b"a secret layer", basic("owner"))
    return daemon, digest_of(manifest)


async def signed_in(daemon: Guarded, name: str) -> Visitor:
    """A visitor who has signed in, if it is not the anonymous one. Each comes from an address of its own."""
    visitor = Visitor(daemon.served, f"10.9.0.{WHO.index(name) + 1}")
    if name != "anonymous":
        login = "robot+ci" if name == "robot" else name
        answer = await visitor.sign_in(login, daemon.robot if name == "robot" else PASSWORD)
        assert (answer.status, answer["location"]) == (303, "/")
    return visitor


def matrix(digest: str) -> list[tuple[str, str, str]]:
    """Pages, and the status of each of `WHO`. 303 leads to the sign-in page."""
    return [
        #                                              anon read writ dele admi owne robo
        ("home", "/", "                                200  200  200  200  200  200  200"),
        ("page-open", "/repositories?name=x", "        303  303  303  303  303  303  303"),
        ("page-tags", "/repositories/team/app", "      303  200  200  200  403  403  200"),
        ("page-tags", "/repositories/team/none", "     303  404  404  404  403  403  404"),
        ("page-tags", "/repositories/secret/app", "    303  403  403  200  403  200  403"),
        ("page-tags", "/repositories/secret/none", "   303  403  403  404  403  404  403"),
        ("page-tags", "/repositories/public/app", "    200  200  200  200  200  200  403"),
        ("page-tag", "/repositories/team/app:v1", "    303  200  200  200  403  403  200"),
        ("page-tag", "/repositories/secret/app:v1", "  303  403  403  200  403  200  403"),
        ("page-tag", "/repositories/secret/app:no", "  303  403  403  404  403  404  403"),
        ("page-digest", f"/repositories/team/app@{digest}", "303 200 200 200 403 403 200"),
        ("page-digest", f"/repositories/secret/app@{digest}", "303 403 403 404 403 404 403"),
        ("page-delete", "/repositories/team/app:v1/delete", "303 403 403 200 403 403 403"),
        ("page-delete-post", "POST /repositories/team/app:v1/delete", "303 403 403 403 403 403 403"),
        ("page-sign-in", "/sign-in", "                 200  200  200  200  200  200  200"),
        ("page-sign-in-post", "POST /sign-in", "       403  403  403  403  403  403  403"),
        ("page-sign-out", "POST /sign-out", "          403  403  403  403  403  403  403"),
        ("page-status", "/status", "                   303  403  403  403  200  403  403"),
        ("page-asset", "/assets/style.css", "          200  200  200  200  200  200  200"),
    ]


@pytest_twisted.ensureDeferred
async def test_every_page_and_everybody(serve: Serve, tmp_path: Path) -> None:
    daemon, digest = await with_image(serve, tmp_path)
    visitors = [await signed_in(daemon, name) for name in WHO]
    found, wanted = [], []
    for route, target, statuses in matrix(digest):
        for who, visitor, status in zip(WHO, visitors, statuses.split(), strict=True):
            method, _, path = target.rpartition(" ")
            answer = await (visitor.post(path, {}) if method else visitor.get(path))
            found.append((route, target, who, answer.status))
            wanted.append((route, target, who, int(status)))
            if status == "303" and route != "page-open":
                assert answer["location"].startswith("/sign-in")
                assert "www-authenticate" not in answer
    assert found == wanted


@pytest_twisted.ensureDeferred
async def test_no_page_is_missing(serve: Serve, tmp_path: Path) -> None:
    routes = routes_of(await guarded(serve, tmp_path))
    there = {name for name in routes.needs if name.startswith("page-")}
    assert {route for route, _, _ in matrix("sha256:0")} == there | {"home"}


@pytest_twisted.ensureDeferred
async def test_what_is_not_said_to_be_there(serve: Serve, tmp_path: Path) -> None:
    """A repository that one may not pull, and one that there is not, look the same; lists have neither."""
    daemon, _ = await with_image(serve, tmp_path)
    reader = await signed_in(daemon, "reader")
    home = text_of(await reader.get("/"))
    assert "team/" in home
    assert "secret/" not in home
    assert "of 3" not in home
    assert "No repository matches" in text_of(await reader.get("/?q=secret"))
    there, none = await reader.get("/repositories/secret/app"), await reader.get("/repositories/secret/xyz")
    assert text_of(there).replace("app", "xyz") == text_of(none).replace("app", "xyz")
    assert "Delete" not in text_of(await reader.get("/repositories/team/app"))
    assert "Delete" in text_of(await (await signed_in(daemon, "deleter")).get("/repositories/team/app"))
    for name, words in (("anonymous", "You cannot list the repositories"), ("writer", "Your account may not")):
        assert words in text_of(await (await signed_in(daemon, name)).get("/"))
    assert "Status" not in home
    assert "Status" in text_of(await (await signed_in(daemon, "admin")).get("/"))


@pytest.mark.parametrize("path", ["/none", "/repositories/team/app:v1/none", "/status/x"])
@pytest_twisted.ensureDeferred
async def test_who_asks_for_what_is_not_there_stays_who_he_is(serve: Serve, tmp_path: Path, path: str) -> None:
    daemon, _ = await with_image(serve, tmp_path)
    admin = await (await signed_in(daemon, "admin")).get(path)
    said = text_of(admin).split()
    assert (admin.status, "admin" in said, "Status" in said) == (404, True, True)
    visitor = Visitor(daemon.served)
    for name, password, known in (("reader", PASSWORD, True), ("reader", "wrong", False)):
        answer = await visitor.get(path, Authorization=basic(name, password)["Authorization"])
        said = text_of(answer).split()
        assert (answer.status, "reader" in said, "Status" in said) == (404, known, False)
        assert "www-authenticate" not in answer
    assert "Sign in" in text_of(await visitor.get(path))


@pytest_twisted.ensureDeferred
async def test_signing_in_and_out(serve: Serve, tmp_path: Path) -> None:
    daemon, _ = await with_image(serve, tmp_path)
    visitor = Visitor(daemon.served)
    asked = await visitor.get("/repositories/team/app?q=v")
    assert (asked.status, asked["location"]) == (303, "/sign-in?then=%2Frepositories%2Fteam%2Fapp%3Fq%3Dv")
    answer = await visitor.form(asked["location"], name="reader", password=PASSWORD)
    assert (answer.status, answer["location"]) == (303, "/repositories/team/app?q=v")
    (cookie,) = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=43200"} <= {part.strip() for part in cookie.split(";")}
    page = await visitor.get(answer["location"])
    assert "reader" in text_of(page)
    secret = visitor.cookies[COOKIE]
    token = page.content.decode().split('action="/sign-out"')[1].split('name="token" value="')[1].split('"')[0]
    assert (await visitor.post("/sign-out", {"token": token}))["location"] == "/"
    assert visitor.cookies[COOKIE] == ""
    visitor.cookies[COOKIE] = secret
    assert (await visitor.get("/repositories/team/app")).status == 303
    audit = (tmp_path / "audit.jsonl").read_text() if (tmp_path / "audit.jsonl").exists() else ""
    assert secret not in audit


@pytest_twisted.ensureDeferred
async def test_over_tls_the_cookie_is_for_tls_alone(serve: Serve, tmp_path: Path) -> None:
    daemon, _ = await with_image(serve, tmp_path)
    visitor = Visitor(daemon.served, host="127.0.0.1")
    form = hidden_fields(await visitor.get("/sign-in", X_Forwarded_Proto="https"))
    answer = await visitor.post("/sign-in", form | {"name": "reader", "password": PASSWORD}, X_Forwarded_Proto="https")
    (cookie,) = answer.headers["set-cookie"]
    assert cookie.startswith(f"__Host-{COOKIE}=")
    assert {"Secure", "HttpOnly", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert (await visitor.get("/repositories/team/app", X_Forwarded_Proto="https")).status == 200
    assert (await visitor.get("/repositories/team/app")).status == 303


@pytest_twisted.ensureDeferred
async def test_wrong_passwords_are_throttled_as_everywhere(serve: Serve, tmp_path: Path) -> None:
    daemon, _ = await with_image(serve, tmp_path)
    visitor = Visitor(daemon.served)
    statuses = []
    answer: Answer | None = None
    for _ in range(7):
        answer = await visitor.sign_in("reader", "wrong")
        statuses.append(answer.status)
        if answer.status == 403:
            assert "Name or password is wrong" in text_of(answer)
            assert COOKIE not in visitor.cookies
    assert statuses[:5] == [403] * 5
    assert statuses[-1] == 429
    assert answer is not None
    assert int(answer["retry-after"]) > 0
    assert "Too many attempts" in text_of(answer)
    assert (await Visitor(daemon.served, "10.77.0.1").sign_in("reader", PASSWORD)).status == 303


@pytest_twisted.ensureDeferred
async def test_a_session_is_no_key_to_the_api(serve: Serve, tmp_path: Path) -> None:
    daemon, _ = await with_image(serve, tmp_path)
    deleter = await signed_in(daemon, "deleter")
    assert (await deleter.get("/v2/team/app/tags/list")).status == 401
    assert (await deleter.get("/v2/team/app/manifests/v1", "DELETE")).status == 401


@pytest_twisted.ensureDeferred
async def test_a_session_ends_with_the_password(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched, "LOOK_SECONDS", 0.0)
    daemon, _ = await with_image(serve, tmp_path)
    reader, writer = await signed_in(daemon, "reader"), await signed_in(daemon, "writer")
    users = tmp_path / "htpasswd"
    other = HASH.replace("$2y$04$V4Ql9", "$2y$04$V4Ql8")
    users.write_text(users.read_text().replace(f"reader:{HASH}", f"reader:{other}"))
    assert (await reader.get("/repositories/team/app")).status == 303
    assert (await writer.get("/repositories/team/app")).status == 200


@pytest_twisted.ensureDeferred
async def test_rules_that_change_count_for_sessions(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "LOOK_SECONDS", 0.0)
    daemon, _ = await with_image(serve, tmp_path)
    reader = await signed_in(daemon, "reader")
    assert (await reader.get("/repositories/team/app")).status == 200
    file = daemon.served.directory / "ipfsreg.ini"
    file.write_text(file.read_text().replace("allow @staff", "allow writer"))
    assert (await reader.get("/repositories/team/app")).status == 403


@pytest_twisted.ensureDeferred
async def test_a_restart_ends_no_session_and_no_form(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "LOOK_SECONDS", 0.0)
    daemon, _ = await with_image(serve, tmp_path)
    deleter, gone, reader = [await signed_in(daemon, name) for name in ("deleter", "writer", "reader")]
    form = hidden_fields(await deleter.get("/repositories/team/app:v1/delete"))
    leaving = dict(gone.cookies)
    page = (await gone.get("/repositories/team/app")).content.decode()
    token = page.split('action="/sign-out"')[1].split('name="token" value="')[1].split('"')[0]
    assert (await gone.post("/sign-out", {"token": token})).status == 303
    await daemon.served.stop()
    users = tmp_path / "htpasswd"
    users.write_text(users.read_text().replace(f"reader:{HASH}\n", ""))
    again = await guarded(serve, tmp_path, more={"local": {"path": daemon.served.store}}, again=True)
    for visitor in (deleter, gone, reader):
        visitor.served = again.served
    assert (await deleter.post("/repositories/team/app:v1/delete", form)).status == 303
    assert "deleter" in text_of(await deleter.get("/repositories/team/app"))
    gone.cookies = leaving
    for visitor in (gone, reader):
        assert (await visitor.get("/repositories/team/app"))["location"].startswith("/sign-in")


@pytest_twisted.ensureDeferred
async def test_a_sign_in_page_of_before_a_restart_is_shown_again(serve: Serve, tmp_path: Path) -> None:
    daemon, _ = await with_image(serve, tmp_path)
    visitor = Visitor(daemon.served)
    form = hidden_fields(await visitor.get("/sign-in?then=/status"))
    old = form | {"token": "x", "name": "admin", "password": PASSWORD}
    answer = await visitor.post("/sign-in", old)
    assert answer.status == 403
    assert "too old" in text_of(answer)
    assert COOKIE not in visitor.cookies
    again = hidden_fields(answer) | {"name": "admin", "password": PASSWORD}
    assert (await visitor.post("/sign-in", again))["location"] == "/status"


@pytest_twisted.ensureDeferred
async def test_deleting_is_in_the_audit_log(serve: Serve, tmp_path: Path) -> None:
    daemon, _ = await with_image(serve, tmp_path)
    deleter = await signed_in(daemon, "deleter")
    assert (await deleter.form("/repositories/team/app:v1/delete")).status == 303
    await daemon.served.stop()
    events = (tmp_path / "audit.jsonl").read_text()
    assert '"delete"' in events
    assert '"login"' in events


@pytest_twisted.ensureDeferred
async def test_credentials_of_a_request_count_too(serve: Serve, tmp_path: Path) -> None:
    daemon, _ = await with_image(serve, tmp_path)
    headers = {"Accept": "text/html", **basic("reader")}
    assert (await daemon.ask("GET", "/repositories/team/app", headers)).status == 200
    wrong = await daemon.ask("GET", "/repositories/team/app", {"Accept": "text/html", **basic("reader", "wrong")})
    assert (wrong.status, wrong["location"].partition("?")[0]) == (303, "/sign-in")


@pytest_twisted.ensureDeferred
async def test_a_session_is_nobody_elses_at_the_same_address(serve: Serve, tmp_path: Path) -> None:
    """What is remembered of requests is by their credentials, and a session's are in a cookie."""
    daemon, digest = await with_image(serve, tmp_path)
    reader = await signed_in(daemon, "reader")
    other = Visitor(daemon.served, "10.9.0.2")  # where the reader is
    for _ in range(2):
        assert (await reader.get("/repositories/team/app")).status == 200
        assert (await other.get("/repositories/team/app")).status == 303
        api = {"X-Forwarded-For": "10.9.0.2"}
        assert (await daemon.served.ask("GET", f"/v2/team/app/manifests/{digest}", api)).status == 401
