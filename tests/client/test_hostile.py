"""Registries that lie, stall, never end, or lead elsewhere."""

import gzip
import json
from base64 import b64decode
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import ITransport
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.task import LoopingCall
from twisted.web.server import Site

from ipfsreg.client import referrers as referrers_module
from ipfsreg.client import session as session_module
from ipfsreg.client import transport as transport_module
from ipfsreg.client.address import parse_address
from ipfsreg.client.authorization import NO_SCOPE, Authorization, Scope
from ipfsreg.client.credentials import Credentials, Logins
from ipfsreg.client.errors import AccessDenied, Refused, RemoteError, Unreachable, Untrustworthy
from ipfsreg.client.registry import RegistryClient
from ipfsreg.client.session import PAUSE_MAX, Session
from ipfsreg.flow.gather import gather
from ipfsreg.registry.descriptor import Descriptor
from ipfsreg.registry.digest import digest_of
from ipfsreg.registry.manifest import OCI_IMAGE
from ipfsreg.registry.names import Repository, Tag
from tests.docs.certificates import make_certificate

from .scripted import Asked, Says, Scripted, client_of, scripted

BOX = Repository("box")
CONTENT = bytes(range(256)) * 1024
DIGEST = digest_of(CONTENT)
USER = Credentials("alice", "her password")


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "_FIRST_PAUSE", 0.001)


def document(value: object, **headers: str) -> Says:
    return Says(200, json.dumps(value).encode(), headers)


async def names(listed: AsyncGenerator[Any, None]) -> list[Any]:
    return [each async for each in listed]


async def noted(pieces: AsyncGenerator[bytes, None], came: list[bytes]) -> AsyncGenerator[bytes, None]:
    async for piece in pieces:
        came.append(piece)
        yield piece


@pytest.mark.parametrize(
    "says",
    [
        Says(200, CONTENT[:-1] + b"x"),
        Says(200, CONTENT[:-1]),
        Says(200, CONTENT + b"x"),
        Says(206, CONTENT[1:]),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_not_the_blob_is_never_given_whole(says: Says) -> None:
    async with scripted(lambda asked: says) as server, client_of(server.url) as client:
        came: list[bytes] = []
        with pytest.raises(Untrustworthy):
            await names(noted(client.blob(BOX, DIGEST, len(CONTENT)), came))
        assert len(b"".join(came)) < len(CONTENT)


@pytest_twisted.ensureDeferred
async def test_a_blob_that_is_cut_goes_on_where_it_was() -> None:
    def answer(asked: Asked) -> Says:
        if "range" not in asked.headers:
            return Says(200, CONTENT[:100_000], {"Content-Length": str(len(CONTENT))}, cut=True)
        begin = int(asked.headers["range"].removeprefix("bytes=").partition("-")[0])
        return Says(206, CONTENT[begin:])

    async with scripted(answer) as server, client_of(server.url) as client:
        assert b"".join(await names(client.blob(BOX, DIGEST, len(CONTENT)))) == CONTENT
        assert len(server.asked) == 2


@pytest.mark.parametrize(
    "content", [b"{}", b"[]", b"nothing", b"{" * 100_000, b'{"tags": 5}', b'{"tags": ["../up"]}', b'{"tags": [null]}']
)
@pytest_twisted.ensureDeferred
async def test_lists_that_are_none(content: bytes) -> None:
    async with scripted(lambda asked: Says(200, content)) as server, client_of(server.url) as client:
        if content == b"{}":
            assert await names(client.tags(BOX)) == []
            return
        with pytest.raises(Untrustworthy):
            await names(client.tags(BOX))


@pytest.mark.parametrize("link", ["</v2/box/tags/list?n={}>", "</v2/box/tags/list?n=1000>", "<?last={}>"])
@pytest_twisted.ensureDeferred
async def test_a_list_without_an_end(link: str) -> None:
    pages = iter(range(10_000))

    def answer(asked: Asked) -> Says:
        return document({"tags": ["a", "b"]}, Link=link.format(next(pages)) + '; rel="next"')

    async with scripted(answer) as server, client_of(server.url) as client:
        with pytest.raises(Untrustworthy, match="does not end"):
            await names(client.tags(BOX))
        assert len(server.asked) < 50


@pytest_twisted.ensureDeferred
async def test_referrers_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(referrers_module, "PAGES_MAX", 20)
    pages = iter(range(10_000))

    def answer(asked: Asked) -> Says:
        return document({"manifests": []}, Link=f'</v2/box/referrers/{DIGEST}?page={next(pages)}>; rel="next"')

    async with scripted(answer) as server, client_of(server.url) as client:
        with pytest.raises(Untrustworthy, match="does not end"):
            await client.referrers(BOX, DIGEST)


@pytest_twisted.ensureDeferred
async def test_more_referrers_than_memory_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(referrers_module, "REFERRERS_MAX", 1000)
    pages = iter(range(10_000))

    def answer(asked: Asked) -> Says:
        page = next(pages)
        listed = [Descriptor.of(OCI_IMAGE, f"{page} {each}".encode()).document for each in range(100)]
        return document({"manifests": listed}, Link=f'</v2/box/referrers/{DIGEST}?page={page}>; rel="next"')

    async with scripted(answer) as server, client_of(server.url) as client:
        with pytest.raises(Untrustworthy, match="does not end"):
            await client.referrers(BOX, DIGEST)
        assert len(server.asked) == 11


@pytest_twisted.ensureDeferred
async def test_a_next_page_elsewhere_is_not_asked_for() -> None:
    async with scripted(lambda asked: document({"tags": ["stolen"]})) as other:
        says = document({"tags": ["a"]}, Link=f'<{other.url}/v2/box/tags/list>; rel="next"')
        async with scripted(lambda asked: says) as server, client_of(server.url) as client:
            with pytest.raises(Untrustworthy, match="another server"):
                await names(client.tags(BOX))
        assert not other.asked


def basic(asked: Asked, then: Says) -> Says:
    return then if "authorization" in asked.headers else Says(401, headers={"WWW-Authenticate": 'Basic realm="x"'})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest_twisted.ensureDeferred
async def test_a_redirect_elsewhere_gets_no_password(status: int) -> None:
    async with scripted(lambda asked: Says(200, CONTENT)) as other:
        leads = Says(status, headers={"Location": f"{other.url}/storage?signed=1"})
        async with (
            scripted(lambda asked: basic(asked, leads)) as server,
            client_of(server.url, USER) as client,
        ):
            assert b"".join(await names(client.blob(BOX, DIGEST, len(CONTENT)))) == CONTENT
        (asked,) = other.asked
        assert "authorization" not in asked.headers


@pytest_twisted.ensureDeferred
async def test_an_upload_elsewhere_gets_no_password() -> None:
    async def source(offset: int) -> AsyncGenerator[bytes, None]:
        yield CONTENT

    async with scripted(lambda asked: Says(201)) as other:
        begun = Says(202, headers={"Location": f"{other.url}/session"})
        async with (
            scripted(lambda asked: basic(asked, begun)) as server,
            client_of(server.url, USER) as client,
        ):
            await client.upload(BOX, DIGEST, len(CONTENT), source)
        (asked,) = other.asked
        assert asked.content == CONTENT
        assert "authorization" not in asked.headers


@pytest_twisted.ensureDeferred
async def test_redirects_without_an_end() -> None:
    async with scripted(lambda asked: Says(302, headers={"Location": asked.target + "x"})) as server:
        async with client_of(server.url) as client:
            with pytest.raises(Refused):
                await names(client.tags(BOX))
        assert len(server.asked) < 10


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://elsewhere/", "", "http://[", "https://a b/", "//user\\@x:y/"]
)
@pytest_twisted.ensureDeferred
async def test_an_upload_to_nowhere(location: str) -> None:
    async def source(offset: int) -> AsyncGenerator[bytes, None]:
        raise AssertionError("nothing is sent")
        yield b""

    begun = Says(202, headers={"Location": location})
    async with scripted(lambda asked: begun) as server, client_of(server.url) as client:
        with pytest.raises(Untrustworthy, match="no URL"):
            await client.upload(BOX, DIGEST, len(CONTENT), source)
        assert [asked.method for asked in server.asked] == ["POST"]


@pytest_twisted.ensureDeferred
async def test_what_is_packed_is_not_unpacked() -> None:
    """A few KiB could become gigabytes. No packing is asked for, so it can be no manifest and no blob."""
    bomb = gzip.compress(bytes(50 * 1024**2))

    def answer(asked: Asked) -> Says:
        assert asked.headers["accept-encoding"] == "identity"
        return Says(200, bomb, {"Content-Encoding": "gzip"})

    async with scripted(answer) as server, client_of(server.url) as client:
        with pytest.raises(Untrustworthy):
            await client.manifest(BOX, DIGEST)
        with pytest.raises(Untrustworthy):
            await names(client.blob(BOX, DIGEST, len(CONTENT)))
        with pytest.raises(Untrustworthy):
            await names(client.tags(BOX))


@pytest.mark.parametrize(
    ("began", "more"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X-Header: %s\r\n" % (b"x" * 1000)),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n", b"X: y\r\n" * 1000),
        (b"", b"HTTP/1.1 200 " + b"x" * 1000),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_head_without_an_end(began: bytes, more: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "TRIES", 1)
    sent = 0

    class Endless(Protocol):
        def connectionMade(self) -> None:
            cast(ITransport, self.transport).write(began)
            self.calls = LoopingCall(self.go_on)
            self.calls.start(0)

        def go_on(self) -> None:
            nonlocal sent
            sent += 20 * len(more)
            cast(ITransport, self.transport).write(more * 20)

        def connectionLost(self, reason: object = None) -> None:
            self.calls.stop()
            gone.callback(None)

    from twisted.internet import reactor

    gone: Deferred[None] = Deferred()
    endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
    port: Any = await endpoint.listen(Factory.forProtocol(Endless))
    async with client_of(f"http://127.0.0.1:{port.getHost().port}") as client:
        with pytest.raises(Unreachable):
            await client.ping()
    await gone
    await port.stopListening()
    assert sent < 64 * 1024**2


@pytest.mark.parametrize("location", ["ftp://elsewhere/", "", "http://", "http://[", "javascript:x"])
@pytest_twisted.ensureDeferred
async def test_a_redirect_to_nowhere(location: str) -> None:
    says = Says(307, headers={"Location": location})
    async with scripted(lambda asked: says) as server, client_of(server.url) as client:
        with pytest.raises(RemoteError):
            await names(client.tags(BOX))


@pytest.mark.parametrize(
    "challenge",
    ['Bearer realm="http://elsewhere.example/token"', 'Bearer realm="x"', "Bearer", "Negotiate", "", 'Bearer realm="'],
)
@pytest_twisted.ensureDeferred
async def test_token_servers_that_are_not_asked(challenge: str) -> None:
    async with scripted(lambda asked: Says(401, headers={"WWW-Authenticate": challenge})) as server:
        async with client_of(server.url, USER) as client:
            with pytest.raises((Untrustworthy, AccessDenied)):
                await client.ping()
        assert all("authorization" not in asked.headers for asked in server.asked)


@pytest.mark.parametrize("challenge", ['Bearer realm="https://elsewhere.example/token"', "Basic"])
@pytest_twisted.ensureDeferred
async def test_no_password_for_what_is_said_over_http_by_another_machine(challenge: str) -> None:
    """Whoever is on the way may have named the token server."""

    async def credentials(scope: Scope) -> Credentials:
        return USER

    async def fetch(scope: Scope, url: str, headers: Mapping[str, str], content: bytes | None) -> bytes:
        raise AssertionError(url)

    authorization = Authorization(parse_address("http://registry.example"), credentials, fetch, lambda: 0.0)
    with pytest.raises(AccessDenied, match="not sent over http"):
        await authorization.challenged([challenge], NO_SCOPE, None)
    assert await authorization.header(NO_SCOPE) is None


@pytest_twisted.ensureDeferred
async def test_credentials_of_the_repository_that_is_asked() -> None:
    def answer(asked: Asked) -> Says:
        user = b64decode(asked.headers.get("authorization", "").removeprefix("Basic ")).decode()
        return basic(asked, document({"tags": [user.partition(":")[0]]}))

    from twisted.internet import reactor

    logins = Logins([{"": USER, "team": Credentials("team", "x")}])
    async with scripted(answer) as server:
        client = RegistryClient(reactor, parse_address(server.url), find=lambda name: logins)
        found = await gather(lambda name: names(client.tags(Repository(name))), ["box", "team/app", "teams"])
        await client.close()
    assert found == [["alice"], ["team"], ["alice"]]


@pytest.mark.parametrize("token", [b"{}", b'{"token": 5}', b'{"token": "a\\nb"}', b"x", b'{"token": "' + b"a" * 60_000])
@pytest_twisted.ensureDeferred
async def test_token_servers_that_answer_no_token(token: bytes) -> None:
    def answer(asked: Asked) -> Says:
        if asked.target.startswith("/token"):
            return Says(200, token)
        return Says(401, headers={"WWW-Authenticate": f'Bearer realm="{server.url}/token",service="s"'})

    async with scripted(answer) as server, client_of(server.url, USER) as client:
        with pytest.raises(Untrustworthy, match="no token"):
            await client.ping()


@pytest_twisted.ensureDeferred
async def test_tokens_are_kept_and_renewed() -> None:
    tokens = iter(range(100))
    good: set[str] = set()

    def answer(asked: Asked) -> Says:
        if asked.target.startswith("/token"):
            assert "scope=repository%3Abox%3Apull" in asked.target
            token = f"t{next(tokens)}"
            good.add(f"Bearer {token}")
            return document({"access_token": token, "expires_in": 300})
        if asked.headers.get("authorization") in good:
            return document({"tags": ["a"]})
        return Says(401, headers={"WWW-Authenticate": f'Bearer realm="{server.url}/token",service="s"'})

    async with scripted(answer) as server, client_of(server.url, USER) as client:
        for _ in range(3):
            assert await names(client.tags(BOX)) == ["a"]
        assert next(tokens) == 1
        good.clear()  # as after a change of the server's key
        assert await names(client.tags(BOX)) == ["a"]
        assert next(tokens) == 3


@pytest_twisted.ensureDeferred
async def test_an_identity_token_takes_the_place_of_a_password() -> None:
    def answer(asked: Asked) -> Says:
        if asked.target.startswith("/token"):
            assert (asked.method, b"refresh_token=long-lived" in asked.content) == ("POST", True)
            return document({"access_token": "short-lived"})
        if asked.headers.get("authorization") == "Bearer short-lived":
            return Says()
        return Says(401, headers={"WWW-Authenticate": f'Bearer realm="{server.url}/token"'})

    async with scripted(answer) as server, client_of(server.url, Credentials("", "", "long-lived")) as client:
        await client.ping()


@pytest.mark.parametrize("status", [429, 502, 503, 504])
@pytest_twisted.ensureDeferred
async def test_a_busy_registry_is_asked_again_but_not_for_ever(status: int) -> None:
    async with scripted(lambda asked: Says(status)) as server, client_of(server.url) as client:
        with pytest.raises(Unreachable, match="cannot do it now"):
            await names(client.tags(BOX))
        assert len(server.asked) == session_module.TRIES
        server.answer = lambda asked: document({"tags": []}) if len(server.asked) > 7 else Says(status)
        assert await names(client.tags(BOX)) == []


@pytest.mark.parametrize(
    ("said", "seconds"),
    [(None, 0), ("7", 7), ("999999999999", 999999), ("-1", 0), ("x", 0), ("Fri, 31 Dec 1999 23:59:59 GMT", -1)],
)
def test_retry_after(said: str | None, seconds: float) -> None:
    found = session_module.seconds_of(said)
    assert found == seconds if seconds >= 0 else found < 0
    assert PAUSE_MAX <= 60


@pytest_twisted.ensureDeferred
async def test_a_registry_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "ANSWER_SECONDS", 0.05)
    async with scripted(lambda asked: Says(never=True)) as server, client_of(server.url) as client:
        with pytest.raises(Unreachable, match="does not answer"):
            await client.ping()


@pytest_twisted.ensureDeferred
async def test_an_answer_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "DOCUMENT_SECONDS", 0.05)
    monkeypatch.setattr(transport_module, "STALL_SECONDS", 0.05)
    says = Says(200, b'{"tags"', {"Content-Length": "100"}, stall=True)
    async with scripted(lambda asked: says) as server, client_of(server.url) as client:
        with pytest.raises(Unreachable):
            await names(client.tags(BOX))
        with pytest.raises(Unreachable, match="sends no more"):
            await names(client.blob_range(BOX, DIGEST, 0, 100))


@pytest_twisted.ensureDeferred
async def test_a_document_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scripted(lambda asked: Says(404, b"x" * 1_000_000)) as server, client_of(server.url) as client:
        with pytest.raises(Refused) as refused:
            await client.manifest(BOX, Tag("1"))
        assert len(str(refused.value)) < 300


@pytest_twisted.ensureDeferred
async def test_what_a_registry_says_cannot_steer_a_terminal() -> None:
    said = {"errors": [{"code": "DENIED", "message": "\x1b[2J\x07 no\r\n" + "x" * 10_000}]}
    async with scripted(lambda asked: Says(403, json.dumps(said).encode())) as server:
        async with client_of(server.url) as client:
            with pytest.raises(AccessDenied) as denied:
                await client.manifest(BOX, Tag("1"))
        assert str(denied.value).isprintable()
        assert len(str(denied.value)) < 400


@pytest_twisted.ensureDeferred
async def test_a_manifest_that_is_another_one() -> None:
    says = Says(200, b"{}", {"Docker-Content-Digest": str(DIGEST), "Content-Type": OCI_IMAGE})
    async with scripted(lambda asked: says) as server, client_of(server.url) as client:
        for reference in (DIGEST, Tag("1")):
            with pytest.raises(Untrustworthy, match="is said to be"):
                await client.manifest(BOX, reference)


@pytest_twisted.ensureDeferred
async def test_an_upload_goes_on_where_it_was_cut() -> None:
    """The registry had taken a part when the connection ended, and tells how much."""
    offsets: list[int] = []

    async def source(offset: int) -> AsyncGenerator[bytes, None]:
        offsets.append(offset)
        yield CONTENT[offset:]

    def answer(asked: Asked) -> Says:
        if asked.method == "POST":
            return Says(202, headers={"Location": "/session?state=1"})
        if asked.method == "GET":
            return Says(204, headers={"Location": "/session?state=2", "Range": "0-99999"})
        if "content-range" not in asked.headers:
            return Says(503)
        assert asked.target == f"/session?state=2&digest={str(DIGEST).replace(':', '%3A')}"
        assert asked.headers["content-range"] == f"100000-{len(CONTENT) - 1}"
        assert asked.content == CONTENT[100_000:]
        return Says(201)

    async with scripted(answer) as server, client_of(server.url) as client:
        await client.upload(BOX, DIGEST, len(CONTENT), source)
    assert offsets == [0, 100_000]


@pytest_twisted.ensureDeferred
async def test_what_the_source_of_an_upload_fails_with_is_what_one_sees() -> None:
    async def source(offset: int) -> AsyncGenerator[bytes, None]:
        yield CONTENT[:100]
        raise Untrustworthy("the source is damaged")

    def answer(asked: Asked) -> Says:
        return Says(202, headers={"Location": "/session"})

    async with scripted(answer) as server, client_of(server.url) as client:
        with pytest.raises(Untrustworthy, match="the source is damaged"):
            await client.upload(BOX, DIGEST, len(CONTENT), source)


@pytest_twisted.ensureDeferred
async def test_where_there_is_no_api_for_referrers_a_tag_lists_them() -> None:
    stored: dict[str, bytes] = {}

    def answer(asked: Asked) -> Says:
        if asked.target.startswith("/v2/box/manifests/"):
            if asked.method == "PUT":
                stored[asked.target] = asked.content
                return Says(201)
            if asked.target in stored:
                return Says(200, stored[asked.target])
        return Says(404, b"404 page not found")

    first, second = (Descriptor.of(OCI_IMAGE, content) for content in (b"1", b"2"))
    async with scripted(answer) as server, client_of(server.url) as client:
        assert await client.referrers(BOX, DIGEST) == []
        for each in (first, second, first):
            await client.note_referrer(BOX, DIGEST, each)
        assert await client.referrers(BOX, DIGEST) == [first, second]
        assert list(stored) == [f"/v2/box/manifests/sha256-{DIGEST.hex}"]
        assert sum("/referrers/" in asked.target for asked in server.asked) == 1


@pytest.mark.parametrize(
    ("host", "trusted", "line"),
    [
        ("127.0.0.1", True, None),
        ("127.0.0.1", False, "shows a certificate that is not trusted"),
        ("localhost", True, "shows a certificate that is not for this name"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_certificates(host: str, trusted: bool, line: str | None, tmp_path: Path) -> None:
    from twisted.internet import reactor

    key, certificate = make_certificate(tmp_path)
    context = PrivateCertificate.loadPEM(key.read_bytes() + certificate.read_bytes()).options()
    resource = Scripted(lambda asked: Says())
    port: Any = await SSL4ServerEndpoint(reactor, 0, context, interface="127.0.0.1").listen(Site(resource))
    url = f"https://{host}:{port.getHost().port}"
    async with client_of(url, authorities=certificate if trusted else None) as client:
        if line is None:
            await client.ping()
        else:
            with pytest.raises(Unreachable, match=line):
                await client.ping()
    assert len(resource.asked) == (line is None)
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_what_does_not_speak_tls() -> None:
    from twisted.internet import reactor

    class Plain(Protocol):
        def dataReceived(self, data: bytes) -> None:
            cast(ITransport, self.transport).write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
    port: Any = await endpoint.listen(Factory.forProtocol(Plain))
    async with client_of(f"https://127.0.0.1:{port.getHost().port}") as client:
        with pytest.raises(Unreachable, match="does not speak TLS"):
            await client.ping()
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_who_never_answered_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistyped address is told at once."""

    async def no_pause(*_: object) -> None:
        raise AssertionError("asked again")

    monkeypatch.setattr(Session, "_pause", no_pause)
    async with scripted(lambda asked: Says()) as server:
        gone = server.url
    async with client_of(gone) as client:
        with pytest.raises(Unreachable, match="cannot be reached"):
            await names(client.tags(BOX))
