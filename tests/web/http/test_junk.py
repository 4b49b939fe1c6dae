"""What is no HTTP, or no sensible HTTP: one answer or a closed connection, and never a traceback in the log."""

import json

import pytest
import pytest_twisted
from twisted.logger import LogEvent, LogLevel, formatEvent

from tests.web.client import pause, until
from tests.web.served import Served, digest_of

CLIENT_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(194)


@pytest.mark.parametrize(
    "junk",
    [
        b"junk\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /v2/\r\n\r\n",
        b"GET /v2/ HTTP/1.1 more\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nNo colon\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nNo colon\r\nHost: registry.test\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nBad name: x\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nContent-Length: x\r\nHost: a\r\n\r\nmore",
        b"GET /v2/ HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"PUT /v2/ HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\nHost: a\r\n\r\nmore",
        b"PUT /v2/ HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"PUT /v2/ HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"PUT /v2/ HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"PUT /v2/box/manifests/v1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nno number\r\n",
        b"GET /v2/ HTTP/1.1\r\n" + b"X: y\r\n" * 600 + b"\r\n",
        b"GET /v2/ HTTP/1.1\r\nX: " + b"y" * 40_000 + b"\r\n\r\n",
        b"GET /" + b"y" * 40_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /v2/\xff/manifests/v1 HTTP/1.1\r\n\r\n",
        b"\xff\xfe /v2/ HTTP/1.1\r\n\r\n",
        b"G\x00T /v2/ HTTP/1.1\r\n\r\n",
        b"{} /v2/ HTTP/1.1\r\n\r\n",
        b"\x00" * 100 + b"\r\n\r\n",
        CLIENT_HELLO,
        CLIENT_HELLO[:1],
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
@pytest_twisted.ensureDeferred
async def test_junk_is_answered_with_an_error_document_and_the_end(registry: Served, junk: bytes) -> None:
    connection = await registry.connect()
    connection.send(junk)
    head, _, content = (await connection.read()).partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 414 ", b"HTTP/1.1 431 "))
    assert b"Content-Length: %d" % len(content) in head
    assert json.loads(content)["errors"][0]["code"] in {"UNSUPPORTED", "NAME_INVALID"}
    assert await connection.ended() < 2.0
    await until(lambda: not registry.daemon.site.connections)


@pytest_twisted.ensureDeferred
async def test_a_tls_hello_on_the_plain_port_is_answered(registry: Served) -> None:
    """A client that tries TLS first takes any answer for "no TLS here"; a mere reset makes some give up."""
    connection = await registry.connect()
    connection.send(CLIENT_HELLO)
    answer = await connection.read()
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"without TLS" in answer
    await connection.ended()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /v2/ HTTP/1.1\r\n" + b"X: y\r\n" * 600 + b"\r\n", 431),
        (b"GET /v2/ HTTP/1.1\r\nX: " + b"y" * 40_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"y" * 40_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET /v2/ HTTP/1.1\r\n\r\n", 400),
        (b"GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET http://anywhere/v2/ HTTP/1.1\r\nHost: anywhere\r\n\r\n", 200),
        (b"GET HTTPS://anywhere HTTP/1.1\r\nHost: anywhere\r\n\r\n", 200),
    ],
)
@pytest_twisted.ensureDeferred
async def test_each_refusal_has_its_status(registry: Served, sent: bytes, status: int) -> None:
    connection = await registry.connect()
    connection.send(sent)
    assert (await connection.read()).startswith(b"HTTP/1.1 %d " % status)


@pytest_twisted.ensureDeferred
async def test_junk_after_an_early_answer_does_not_make_a_second_one(registry: Served) -> None:
    connection = await registry.connect()
    connection.send(
        b"PATCH /v2/box/blobs/uploads/none HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nno number\r\n"
    )
    answer = await connection.read()
    await connection.ended()
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET /v2/%ff/manifests/v1 HTTP/1.1",
        b"GET /v2/box/manifests/%C3 HTTP/1.1",
        b"GET /%80 HTTP/1.1",
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_path_that_is_no_text_is_refused(registry: Served, request_line: bytes) -> None:
    connection = await registry.connect()
    for _ in range(2):
        connection.send(request_line + b"\r\nHost: registry.test\r\n\r\n", "GET")
        assert (await connection.answer()).error == (400, "NAME_INVALID")


@pytest.mark.parametrize(("method", "status"), [(b"get", 400), (b"G-T", 400), (b"GETT", 405), (b"PRI", 405)])
@pytest_twisted.ensureDeferred
async def test_a_method_that_is_none_is_refused(registry: Served, method: bytes, status: int) -> None:
    connection = await registry.connect()
    connection.send(method + b" /v2/ HTTP/1.1\r\nHost: registry.test\r\n\r\n", "GET")
    assert (await connection.answer()).error == (status, "UNSUPPORTED")


@pytest_twisted.ensureDeferred
async def test_the_host_header_does_not_matter(registry: Served) -> None:
    connection = await registry.connect()
    for host in (
        b"",
        b"\xff",
        b"a..b",
        b"." * 100,
        b"x" * 300,
        b"[::1]:x",
        b"registry.test:99999",
        b"a b",
        "ä".encode(),
    ):
        connection.send(b"GET /v2/ HTTP/1.1\r\nHost: " + host + b"\r\n\r\n", "GET")
        assert (await connection.answer()).status == 200
    connection.send(b"GET /v2/ HTTP/1.0\r\n\r\n", "GET")
    assert (await connection.answer()).status == 200


@pytest_twisted.ensureDeferred
async def test_the_server_as_a_whole_has_options(registry: Served) -> None:
    assert (await registry.ask("OPTIONS", "*")).status == 200
    assert (await registry.ask("GET", "*"))["allow"] == "OPTIONS"


@pytest_twisted.ensureDeferred
async def test_a_client_may_vanish_within_its_headers(registry: Served) -> None:
    """The log is looked at when the test ends."""
    for sent in (b"", b"GE", b"GET /v2/ HTTP/1.1\r\nHost:", b"PUT /v2/box/manifests/v1 HTTP/1.1\r\n"):
        connection = await registry.connect()
        connection.send(sent)
        await pause(0.02)
        connection.close()
    await until(lambda: not registry.daemon.site.connections)


@pytest_twisted.ensureDeferred
async def test_junk_in_the_middle_of_a_body_ends_the_request_and_keeps_the_session(registry: Served) -> None:
    location = await registry.begin_upload()
    connection = await registry.connect()
    connection.begin("PATCH", location, {"Transfer-Encoding": "chunked"})
    connection.send(b"5\r\nhello\r\n")
    await pause(0.05)
    connection.send(b"this is no chunk\r\n")
    assert (await connection.read()).startswith(b"HTTP/1.1 400 Bad Request\r\n")
    await connection.ended()
    await pause(0.05)
    answer = await registry.ask("GET", location)
    assert (answer.status, answer["range"]) == (204, "0-4")
    answer = await registry.ask("PUT", f"{location}?digest={digest_of(b'hello')}", None, b"")
    assert answer.status == 201


@pytest_twisted.ensureDeferred
async def test_junk_in_a_query_does_no_harm(registry: Served) -> None:
    for parameters, status in (
        ("%ff", 200),
        ("n=%ff", 400),
        ("last=%00%ff", 200),
        ("&&&", 200),
        ("=", 200),
        ("n", 200),
        ("n=", 400),
        ("n=1&n=x", 200),
        ("%6E=1", 200),
        ("a=" + "b" * 5000, 200),
    ):
        assert (await registry.ask("GET", f"/v2/_catalog?{parameters}")).status == status


RAW = [b"\xff", b"\x8f\xc3", b"x\xff;y=\xfe", b'"\xff"', b"bytes=\xb2-3", b"W/\xff, \xfe", b"\xe9" * 3000]
HEADERS = [
    "Accept",
    "Content-Type",
    "Content-Range",
    "Range",
    "If-None-Match",
    "If-Range",
    "Cookie",
    "User-Agent",
    "Via",
]


@pytest.mark.parametrize("name", HEADERS)
@pytest_twisted.ensureDeferred
async def test_any_byte_may_be_in_a_header(registry: Served, log: list[LogEvent], name: str) -> None:
    """It is ignored or refused, and nothing for the operator to read."""
    await registry.push_image("v1", layers=[b"layer"])
    location = await registry.begin_upload()
    cid = (await registry.ask("HEAD", f"/v2/box/blobs/{digest_of(b'layer')}"))["x-ipfs-cid"]
    connection = await registry.connect()
    asked = [
        ("GET", "/v2/", b""),
        ("GET", "/v2/box/manifests/v1", b""),
        ("PUT", "/v2/box/manifests/v2", b"{}"),
        ("GET", f"/v2/box/blobs/{digest_of(b'layer')}", b""),
        ("PATCH", location, b"x"),
        ("GET", f"/ipfs/{cid}?format=raw", b""),
        ("GET", f"/ipfs/{cid}", b""),
        ("GET", f"/routing/v1/providers/{cid}", b""),
        ("GET", f"/v2/ipfs/{cid}/tags/list", b""),
    ]
    log.clear()
    for value in RAW:
        for method, target, body in asked:
            head = f"{method} {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n{name}: "
            connection.send(head.encode() + value + b"\r\n\r\n" + body, method)
            answer = await connection.answer()
            assert answer.status < 500, (method, target, value)
    assert said(log) == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "POST", "DELETE"])
@pytest_twisted.ensureDeferred
async def test_any_byte_may_be_in_a_target(registry: Served, log: list[LogEvent], method: str) -> None:
    log.clear()
    for raw in (b"\xff", b"\x8f", b"\xc3\xa4", b"%8f", b"%ff%00", b"%c3%a4", b"%", b"%zz"):
        for target in (
            b"/v2/a/%b/manifests/b" % raw,
            b"/v2/a%b/manifests/b" % raw,
            b"/v2/a/manifests/%b" % raw,
            b"/v2/a/blobs/%b" % raw,
            b"/v2/a/blobs/uploads/%b" % raw,
            b"/v2/a/blobs/uploads/?digest=%b&mount=%b&from=%b" % (raw, raw, raw),
            b"/v2/_catalog?n=%b&last=%b" % (raw, raw),
            b"/ipfs/%b" % raw,
            b"/v2/ipfs/%b/manifests/latest" % raw,
            b"/%b" % raw,
        ):
            connection = await registry.connect()
            connection.send(method.encode() + b" " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n", method)
            assert (await connection.answer()).status < 500, (method, target)
            connection.close()
    assert said(log) == []


def said(log: list[LogEvent]) -> list[str | None]:
    """What an operator would read of a log beside that connections come and go."""
    return [formatEvent(event) for event in log if event.get("log_level", LogLevel.debug) > LogLevel.info]
