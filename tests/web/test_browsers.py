"""Pages in a browser: what they may ask of a daemon that knows no passwords."""

import pytest
import pytest_twisted

from tests.web.served import MANIFEST_TYPE, Serve, Served, digest_of, image

HERE = "127.0.0.1:5000"
FIREFOX = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
PUSH = ("POST", "/v2/box/blobs/uploads/")
READ = ("GET", "/v2/_catalog")


def fetched(site: str, mode: str = "cors", to: str = "empty") -> dict[str, str]:
    return FIREFOX | {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": to}


REFUSED = {
    "a form of another site": (
        PUSH,
        fetched("cross-site", "navigate", "document") | {"Origin": "https://evil.example"},
    ),
    "plain text of another site": (PUSH, fetched("cross-site", "no-cors") | {"Origin": "https://evil.example"}),
    "another port": (PUSH, fetched("same-site") | {"Origin": "http://127.0.0.1:8080"}),
    "a file": (PUSH, FIREFOX | {"Origin": "null"}),
    "no metadata": (PUSH, FIREFOX | {"Origin": "http://evil.example"}),
    "reading": (READ, fetched("cross-site") | {"Origin": "https://evil.example"}),
    "a picture": (READ, fetched("cross-site", "no-cors", "image")),
    "a frame": (READ, fetched("cross-site", "navigate", "iframe")),
    "rebound, and pushes": (PUSH, FIREFOX | {"Host": "evil.example:5000", "Origin": "http://evil.example:5000"}),
    "rebound, and reads": (READ, FIREFOX | {"Host": "evil.example:5000"}),
    "rebound, with metadata": (READ, fetched("same-origin") | {"Host": "evil.example:5000"}),
    "rebound, and like an address": (READ, FIREFOX | {"Host": "127.0.0.1.evil.example"}),
    "rebound, and like localhost": (READ, FIREFOX | {"Host": "localhost.evil.example"}),
}

ANSWERED = {
    "typed": (READ, fetched("none", "navigate", "document") | {"Host": "registry.example.org"}),
    "a link": (READ, fetched("cross-site", "navigate", "document")),
    "its own page": (READ, fetched("same-origin")),
    "its own page pushes": (PUSH, fetched("same-origin") | {"Origin": f"http://{HERE}"}),
    "its own page in an old browser": (PUSH, FIREFOX | {"Origin": f"http://{HERE}"}),
    "no metadata": (READ, FIREFOX),
    "localhost": (READ, FIREFOX | {"Host": "localhost:5000"}),
    "below localhost": (READ, FIREFOX | {"Host": "App.localhost:5000"}),
    "IPv6": (READ, FIREFOX | {"Host": "[::1]:5000"}),
    "a name of the configuration": (READ, FIREFOX | {"Host": "Allowed.example.org:5000"}),
    "a proxy before it": (PUSH, fetched("same-origin") | {"Origin": "https://registry.example.org"}),
    "a program": (PUSH, {"Host": "localhost.docker:5000", "User-Agent": "docker/28.0 go/go1.24"}),
    "a program without a name": (PUSH, {"Host": "registry.example.org"}),
    "node's fetch": (READ, {"Host": "registry.example.org", "Sec-Fetch-Mode": "cors", "User-Agent": "node"}),
}


@pytest.mark.parametrize("case", [*REFUSED])
@pytest_twisted.ensureDeferred
async def test_a_page_that_may_not_ask(serve: Serve, case: str) -> None:
    registry = await serve(registry={"allowed_hosts": "allowed.example.org"})
    (method, target), headers = REFUSED[case]
    answer = await registry.ask(method, target, {"Host": HERE} | headers, b"" if method == "POST" else None)
    assert answer.error == (403, "DENIED")
    assert "access-control-allow-origin" not in answer


@pytest.mark.parametrize("case", [*ANSWERED])
@pytest_twisted.ensureDeferred
async def test_who_is_answered(serve: Serve, case: str) -> None:
    registry = await serve(registry={"allowed_hosts": "allowed.example.org, other.example.org"})
    (method, target), headers = ANSWERED[case]
    answer = await registry.ask(method, target, {"Host": HERE} | headers, b"" if method == "POST" else None)
    assert answer.status in (200, 202)


@pytest_twisted.ensureDeferred
async def test_pages_of_an_origin_that_may_read(serve: Serve) -> None:
    registry = await serve(registry={"cors_origins": "https://ui.example.org, http://10.0.0.1:8080"})
    await registry.push_image("v1")
    page = fetched("cross-site") | {"Host": "registry.example.org", "Origin": "https://ui.example.org"}
    for target in ("/v2/_catalog", "/v2/box/tags/list", "/v2/box/manifests/v1", "/v2/box/manifests/unknown"):
        answer = await registry.ask("GET", target, page)
        assert answer.status == (404 if target.endswith("unknown") else 200)
        assert answer["access-control-allow-origin"] == "https://ui.example.org"
        assert "Docker-Content-Digest" in answer["access-control-expose-headers"]
        assert "Origin" in answer.headers["vary"]
    for method, target in (("DELETE", "/v2/box/manifests/v1"), PUSH):
        content = b"" if method == "POST" else None
        assert (await registry.ask(method, target, page, content)).error == (403, "DENIED")
    other = page | {"Origin": "https://ui.example.org.evil.example"}
    assert (await registry.ask("GET", "/v2/_catalog", other)).error == (403, "DENIED")
    program = await registry.ask("GET", "/v2/_catalog")
    assert "access-control-allow-origin" not in program
    assert program["vary"] == "Origin"


@pytest_twisted.ensureDeferred
async def test_a_browser_asks_ahead(serve: Serve) -> None:
    """The preflight request of CORS (fetch.spec.whatwg.org, 3.3.7)."""
    registry = await serve(registry={"cors_origins": "https://ui.example.org"})
    page = fetched("cross-site") | {"Origin": "https://ui.example.org"}
    for wanted in ("GET", "HEAD"):
        asked = page | {"Access-Control-Request-Method": wanted, "Access-Control-Request-Headers": "accept"}
        answer = await registry.ask("OPTIONS", "/v2/box/manifests/v1", asked)
        assert (answer.status, answer.content) == (204, b"")
        assert answer["access-control-allow-origin"] == "https://ui.example.org"
        assert answer["access-control-allow-methods"] == "GET, HEAD"
        assert "Accept" in answer["access-control-allow-headers"]
        assert int(answer["access-control-max-age"]) > 0
    for refused in (
        page | {"Access-Control-Request-Method": "DELETE"},
        page | {"Access-Control-Request-Method": "GET", "Origin": "https://evil.example"},
    ):
        answer = await registry.ask("OPTIONS", "/v2/box/manifests/v1", refused)
        assert answer.error == (403, "DENIED")
        assert "access-control-allow-origin" not in answer


@pytest_twisted.ensureDeferred
async def test_every_page_may_read_where_it_says_so(serve: Serve) -> None:
    registry = await serve(registry={"cors_origins": "*"})
    page = fetched("cross-site") | {"Host": "registry.example.org", "Origin": "https://any.example"}
    answer = await registry.ask("GET", "/v2/", page)
    assert (answer.status, answer["access-control-allow-origin"]) == (200, "https://any.example")
    assert (await registry.ask(*PUSH, page, b"")).error == (403, "DENIED")


@pytest_twisted.ensureDeferred
async def test_a_refused_push_changes_nothing(registry: Served) -> None:
    await registry.push_blob(b"{}")
    page = FIREFOX | {"Host": HERE, "Origin": "https://evil.example", "Content-Type": MANIFEST_TYPE}
    target = f"/v2/box/manifests/{digest_of(image())}"
    assert (await registry.ask("PUT", target, page, image())).error == (403, "DENIED")
    assert (await registry.ask("GET", target)).status == 404
