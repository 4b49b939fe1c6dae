"""Refusals come before the body is read, are seen by clients that still send, and keep the connection if they can."""

import os
import time
import uuid
from collections.abc import Mapping, Sequence

import pytest
import pytest_twisted
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from ipfsreg.web.http.body import BodyState
from ipfsreg.web.http.limits import DRAIN_MAX, LINGER_SECONDS
from tests.web.client import Connection, chunk, pause, query, until
from tests.web.served import MANIFEST_TYPE, Serve, Served, digest_of, image

GIGABYTE = 10**9
SESSION = f"/v2/box/blobs/uploads/{uuid.uuid4()}"
TOO_LONG = {"registry": {"max_blob_size": "1000"}}

REFUSED = [
    ("PUT", "/v2/box/manifests/latest", 413, "SIZE_INVALID"),
    ("PUT", "/v2/box/manifests/.bad", 400, "TAG_INVALID"),
    ("PUT", "/v2/box/manifests/sha256:bad", 400, "DIGEST_INVALID"),
    ("PUT", "/v2/Bad/manifests/latest", 400, "NAME_INVALID"),
    ("PUT", query("/v2/box/manifests/latest", tag=".bad"), 400, "TAG_INVALID"),
    ("POST", "/v2/Bad/blobs/uploads/", 400, "NAME_INVALID"),
    ("POST", query("/v2/box/blobs/uploads/", digest="bad"), 400, "DIGEST_INVALID"),
    ("POST", query("/v2/box/blobs/uploads/", digest=digest_of(b"")), 413, "SIZE_INVALID"),
    ("PATCH", SESSION, 404, "BLOB_UPLOAD_UNKNOWN"),
    ("PUT", query(SESSION, digest=digest_of(b"")), 404, "BLOB_UPLOAD_UNKNOWN"),
    ("PATCH", "location", 413, "SIZE_INVALID"),
    ("PUT", query("location", digest="bad"), 400, "DIGEST_INVALID"),
    ("PUT", "location", 400, "DIGEST_INVALID"),
    ("POST", "/v2/", 405, "UNSUPPORTED"),
    ("PUT", "/nowhere", 404, "UNSUPPORTED"),
]


@implementer(IPushProducer)
class Firehose:
    """Sends for as long as the connection takes it."""

    piece = chunk(b"x" * 65536)

    def __init__(self, connection: Connection) -> None:
        self.sent = 0
        self._connection = connection
        self._paused = True
        connection.wire.registerProducer(self, True)

    def resumeProducing(self) -> None:
        from twisted.internet import reactor

        self._paused = False
        reactor.callLater(0, self._send)

    def pauseProducing(self) -> None:
        self._paused = True

    def stopProducing(self) -> None:
        self._paused = True

    def _send(self) -> None:
        while not self._paused and not self._connection.is_closed:
            self.sent += len(self.piece)
            self._connection.send(self.piece)


@pytest.mark.parametrize("expect", [True, False])
@pytest_twisted.ensureDeferred
async def test_the_answer_is_there_before_the_body(serve: Serve, expect: bool) -> None:
    registry = await serve(**TOO_LONG)
    location = await registry.begin_upload()
    for method, target, status, code in REFUSED:
        for length in ({"Content-Length": GIGABYTE}, {"Content-Length": 5_000_000}):
            headers: dict[str, object] = {**length, **({"Expect": "100-continue"} if expect else {})}
            connection = await registry.connect()
            connection.begin(method, target.replace("location", location, 1), headers)
            answer = await connection.answer(2.0)
            assert (*answer.error, answer.informational) == (status, code, ())
            assert answer["connection"] == "close"
            connection.close()


@pytest.mark.parametrize("expect", [True, False])
@pytest_twisted.ensureDeferred
async def test_the_answer_does_not_wait_for_chunks(registry: Served, expect: bool) -> None:
    for method, target, status, code in REFUSED:
        if status == 413 or "location" in target:
            continue
        headers = {"Transfer-Encoding": "chunked", **({"Expect": "100-continue"} if expect else {})}
        connection = await registry.connect()
        connection.begin(method, target, headers)
        answer = await connection.answer(2.0)
        assert (*answer.error, answer["connection"]) == (status, code, "close")
        connection.close()


@pytest.mark.parametrize("headers", [{"Content-Length": GIGABYTE}, {"Transfer-Encoding": "chunked"}])
@pytest_twisted.ensureDeferred
async def test_a_client_that_goes_on_sending_sees_the_answer(
    registry: Served, headers: Mapping[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that closes with bytes unread has the answer overtaken by a reset."""
    monkeypatch.setattr("ipfsreg.web.http.patience.LINGER_SECONDS", 0.5)
    connection = await registry.connect()
    connection.begin("PATCH", SESSION, headers)
    firehose = Firehose(connection)
    firehose.resumeProducing()
    answer = await connection.answer()
    assert (*answer.error, answer["connection"]) == (404, "BLOB_UPLOAD_UNKNOWN", "close")
    assert await connection.ended() < 2.0
    assert firehose.sent > 10 * DRAIN_MAX
    assert LINGER_SECONDS <= 10


@pytest_twisted.ensureDeferred
async def test_a_client_that_waits_for_100_is_told_to_send(registry: Served) -> None:
    location = await registry.begin_upload()
    await registry.push_blob(b"{}")
    connection = await registry.connect()
    for method, target, headers, content, status in (
        ("PATCH", location, {}, b"some", 202),
        ("PUT", query(location, digest=digest_of(b"some more")), {}, b" more", 201),
        ("POST", query("/v2/box/blobs/uploads/", digest=digest_of(b"new")), {}, b"new", 201),
        ("PUT", "/v2/box/manifests/v1", {"Content-Type": MANIFEST_TYPE}, image(), 201),
    ):
        headers |= {"Content-Length": str(len(content)), "Expect": "100-Continue"}
        connection.begin(method, target, headers)
        assert (await connection.read()) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.send(content)
        assert (await connection.answer()).status == status


@pytest_twisted.ensureDeferred
async def test_a_client_that_does_not_wait_for_100_is_not_held_up(registry: Served) -> None:
    location = await registry.begin_upload()
    connection = await registry.connect()
    connection.begin("PATCH", location, {"Content-Length": 4, "Expect": "100-continue"})
    connection.send(b"some")
    assert (await connection.answer()).status == 202


@pytest_twisted.ensureDeferred
async def test_a_client_of_http_1_0_gets_no_100(registry: Served) -> None:
    location = await registry.begin_upload()
    connection = await registry.connect()
    connection.begin("PATCH", location, {"Content-Length": 4, "Expect": "100-continue"}, version="1.0")
    await pause(0.05)
    connection.send(b"some")
    answer = await connection.answer()
    assert (answer.status, answer.informational) == (202, ())


@pytest_twisted.ensureDeferred
async def test_a_refused_client_that_waited_for_100_is_not_waited_for(registry: Served) -> None:
    """It may send the body or leave it out: what follows could be either, so the connection ends."""
    connection = await registry.connect()
    connection.begin("PATCH", SESSION, {"Content-Length": 10, "Expect": "100-continue"})
    answer = await connection.answer()
    assert (*answer.error, answer["connection"]) == (404, "BLOB_UPLOAD_UNKNOWN", "close")


@pytest.mark.parametrize("length", [0, 1, 1000, DRAIN_MAX])
@pytest_twisted.ensureDeferred
async def test_a_connection_survives_refusals_with_small_bodies(registry: Served, length: int) -> None:
    connection = await registry.connect()
    for method, target, status, code in REFUSED:
        if status in (413, 405) or "location" in target:
            continue
        connection.begin(method, target, {"Content-Length": length})
        connection.send(b"x" * length)
        answer = await connection.answer()
        assert answer.error == (status, code)
        assert "connection" not in answer
    assert (await connection.ask("GET", "/v2/")).status == 200


@pytest_twisted.ensureDeferred
async def test_a_small_body_may_come_after_the_refusal(registry: Served) -> None:
    connection = await registry.connect()
    for _ in range(3):
        connection.begin("PATCH", SESSION, {"Content-Length": 2000})
        assert (await connection.answer()).error == (404, "BLOB_UPLOAD_UNKNOWN")
        connection.send(b"x" * 1000)
        connection.send(b"GET /v2/ " + b"x" * 991)
    assert (await connection.ask("GET", "/v2/")).status == 200


@pytest_twisted.ensureDeferred
async def test_a_body_that_nobody_wants_is_thrown_away(registry: Served) -> None:
    connection = await registry.connect()
    for method, target, status in (
        ("GET", "/v2/", 200),
        ("POST", "/v2/box/blobs/uploads/", 202),
        ("DELETE", SESSION, 404),
        ("GET", "/v2/_catalog", 200),
    ):
        answer = await connection.ask(method, target, None, b"unasked" * 100)
        assert answer.status == status
    assert (await connection.ask("GET", "/v2/", None, [b"unasked"] * 9)).status == 200


@pytest_twisted.ensureDeferred
async def test_a_body_that_is_held_back_stays_so_when_the_client_has_read(
    registry: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transport knows one reason to pause only, and resumes when that one is gone."""
    from twisted.internet import reactor

    write = os.writev

    def slow_disk(descriptor: int, buffers: Sequence[memoryview]) -> int:
        time.sleep(0.1)
        return write(descriptor, buffers)

    monkeypatch.setattr(os, "writev", slow_disk)
    location = await registry.begin_upload()
    await until(lambda: not registry.daemon.site.connections)
    connection = await registry.connect()
    content = b"x" * 6_000_000
    connection.begin("PATCH", location, {"Content-Length": len(content)})
    connection.send(content)
    await until(lambda: registry.daemon.site.busy == 1)
    (held,) = registry.daemon.site.connections
    request = held.request
    assert request is not None
    await until(lambda: request.body.state is BodyState.FULL and request.body.received > 1_000_000)
    assert held.transport not in reactor.getReaders()
    await until(lambda: request.body.state is BodyState.FULL)
    held.write((b"HTTP/1.1 102 Processing\r\nX: " + b"x" * 8000 + b"\r\n\r\n") * 1700)
    assert held.output.congested
    await until(lambda: not held.output.congested and request.body.state is BodyState.FULL)
    assert held.transport not in reactor.getReaders()
    assert (await connection.answer())["range"] == f"0-{len(content) - 1}"


@pytest_twisted.ensureDeferred
async def test_pipelined_requests_are_answered_in_order(registry: Served) -> None:
    blob = b"y" * 300_000
    await registry.push_blob(blob)
    location = await registry.begin_upload()
    connection = await registry.connect()
    for _ in range(20):
        connection.begin("GET", "/v2/")
        connection.begin("GET", f"/v2/box/blobs/{digest_of(blob)}")
        connection.begin("PATCH", location, {"Content-Length": 10})
        connection.send(b"0123456789")
        connection.begin("PATCH", SESSION, {"Content-Length": 10})
        connection.send(b"0123456789")
        connection.begin("PATCH", location, {"Transfer-Encoding": "chunked"})
        connection.send(chunk(b"ab") + chunk(b"c") + b"0\r\n\r\n")
        connection.begin("HEAD", f"/v2/box/blobs/{digest_of(blob)}")
    for _ in range(20):
        assert (await connection.answer()).content == b"{}"
        assert (await connection.answer()).content == blob
        assert (await connection.answer()).status == 202
        assert (await connection.answer()).status == 404
        assert (await connection.answer()).status == 202
        assert (await connection.answer())["content-length"] == str(len(blob))
    content = b"0123456789abc" * 20
    answer = await registry.ask("PUT", query(location, digest=digest_of(content)), None, b"")
    assert answer.status == 201


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest_twisted.ensureDeferred
async def test_a_client_can_ask_for_the_end_of_the_connection(registry: Served, version: str) -> None:
    blob = b"y" * 300_000
    await registry.push_blob(blob)
    connection = await registry.connect()
    headers = {"Connection": "close"} if version == "1.1" else {}
    connection.begin("GET", f"/v2/box/blobs/{digest_of(blob)}", headers, version=version)
    assert (await connection.answer()).content == blob
    await connection.ended()
