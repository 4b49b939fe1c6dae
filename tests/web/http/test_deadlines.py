"""Clients that are silent, slow, or gone: each is waited for, but not for ever."""

import itertools
import os
import time
from collections.abc import Iterable
from typing import Any

import pytest
import pytest_twisted

from ipfsreg.registry.uploads import upload
from tests.full import examples
from tests.web.client import Connection, chunk, pause, query, until
from tests.web.served import MANIFEST_TYPE, Serve, Served, descriptor, digest_of, image

QUICK = {"registry": {"idle_timeout": "300ms", "stall_timeout": "400ms", "body_timeout": "400ms"}}
MANY = examples(20, 100)
"""Requests whose answers are long and not read: together more than memory should be."""

AT_ONCE = 1.5
"""Seconds within which those time-outs must have been acted on, on a busy machine."""


async def trickle(connection: Connection, pieces: Iterable[bytes], seconds: float) -> float:
    """Send a piece every 50 ms until the server ends the connection; answers how long that took."""
    begin = time.monotonic()
    for piece in pieces:
        if connection.is_closed:
            break
        assert time.monotonic() - begin < seconds, "the server waits for ever"
        connection.send(piece)
        await pause(0.05)
    return time.monotonic() - begin


@pytest_twisted.ensureDeferred
async def test_a_silent_client_is_dropped(serve: Serve) -> None:
    registry = await serve(**QUICK)
    location = await registry.begin_upload()
    begin = time.monotonic()
    idle, kept_alive = await registry.connect(), await registry.connect()
    await kept_alive.ask("GET", "/v2/")
    silent_ones = [idle, kept_alive]
    for method, target in (("PATCH", location), ("PUT", "/v2/box/manifests/v1"), ("PATCH", "/v2/box/blobs/uploads/5")):
        silent = await registry.connect()
        silent.begin(method, target, {"Content-Length": 1000})
        silent.send(b"only this")
        silent_ones.append(silent)
    for each in silent_ones:
        await each.ended()
        assert 0.2 < time.monotonic() - begin < AT_ONCE
    await pause(0.05)
    assert (await registry.ask("GET", location))["range"] == "0-8"


@pytest.mark.parametrize("chunked", [True, False])
@pytest_twisted.ensureDeferred
async def test_a_layer_that_pauses_is_waited_for_and_in_the_end_answered(serve: Serve, chunked: bool) -> None:
    """RFC 9110, 15.5.9."""
    registry = await serve(registry={"idle_timeout": "100ms", "stall_timeout": "100ms", "body_timeout": "900ms"})
    location = await registry.begin_upload()
    connection = await registry.connect()
    connection.begin("PATCH", location, {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": 1000})
    for _ in range(2):
        connection.send(chunk(b"part") if chunked else b"part")
        await pause(0.4)
    assert not connection.is_closed
    answer = await connection.answer()
    assert answer.error == (408, "UNSUPPORTED")
    assert answer["connection"] == "close"
    assert (await registry.ask("GET", location))["range"] == "0-7"


@pytest_twisted.ensureDeferred
async def test_another_request_goes_on_where_a_layer_pauses(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "SILENT_SECONDS", 0.2)
    registry = await serve()
    location = await registry.begin_upload()
    connection = await registry.connect()
    connection.begin("PATCH", location, {"Content-Length": 1000})
    connection.send(b"part")
    await pause(0.4)
    answer = await registry.ask("PATCH", location, {"Content-Range": "4-7"}, b"rest")
    assert (answer.status, answer["range"]) == (202, "0-7")
    assert (await connection.answer()).error == (409, "BLOB_UPLOAD_INVALID")


@pytest_twisted.ensureDeferred
async def test_headers_that_trickle_are_not_waited_for(serve: Serve) -> None:
    registry = await serve(**QUICK)
    first = await registry.connect()
    first.send(b"GET /v2/ HTTP/1.1\r\n")
    assert await trickle(first, itertools.repeat(b"X: y\r\n"), 5.0) < AT_ONCE
    second = await registry.connect()
    await second.ask("GET", "/v2/")
    second.send(b"GET /v2/ HTTP/1.1\r\nX: ")
    assert await trickle(second, itertools.repeat(b"y"), 5.0) < AT_ONCE


@pytest.mark.parametrize("target", ["/v2/box/manifests/v1", "location", "/v2/box/blobs/uploads/unknown"])
@pytest.mark.parametrize("chunked", [True, False])
@pytest_twisted.ensureDeferred
async def test_a_body_that_trickles_is_not_waited_for(serve: Serve, target: str, chunked: bool) -> None:
    registry = await serve(**QUICK)
    target = target.replace("location", query(await registry.begin_upload(), digest=digest_of(b"")))
    connection = await registry.connect()
    connection.begin("PUT", target, {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": 100_000})
    piece = chunk(b"x") if chunked else b"x"
    assert await trickle(connection, itertools.repeat(piece), 5.0) < AT_ONCE


@pytest_twisted.ensureDeferred
async def test_a_slow_client_that_gets_on_is_waited_for(serve: Serve) -> None:
    registry = await serve(**QUICK)
    location = await registry.begin_upload()
    connection = await registry.connect()
    content = b"x" * 72_000
    connection.begin("PATCH", location, {"Content-Length": len(content)})
    for begin in range(0, len(content), 6000):
        connection.send(content[begin : begin + 6000])
        await pause(0.05)
    assert (await connection.answer()).status == 202


@pytest_twisted.ensureDeferred
async def test_a_client_is_not_idle_while_it_waits_for_a_slow_disk(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither when it has sent everything, nor when it is held back in the middle."""
    registry = await serve(**QUICK)
    location = await registry.begin_upload()
    write = os.writev

    def slowly(descriptor: int, buffers: Any) -> int:
        time.sleep(0.4)
        return write(descriptor, buffers)

    monkeypatch.setattr(os, "writev", slowly)
    content = os.urandom(1_800_000)
    answer = await registry.ask("PATCH", location, None, content)
    assert (answer.status, answer["range"]) == (202, f"0-{len(content) - 1}")
    answer = await registry.ask("PUT", query(location, digest=digest_of(content)), None, b"")
    assert answer.status == 201


@pytest.mark.parametrize("what", ["blob", "range", "manifest", "listing"])
@pytest_twisted.ensureDeferred
async def test_a_client_that_reads_nothing_is_dropped(serve: Serve, what: str) -> None:
    registry = await serve(**QUICK)
    content = b"z" * 16_000_000
    target = f"/v2/box/blobs/{digest_of(content)}"
    headers = {"Range": "bytes=5-"} if what == "range" else {}
    requests = 1
    if what in ("blob", "range"):
        await registry.push_blob(content)
    else:
        await registry.push_blob(b"{}")
        manifest = image(annotations={"long": "x" * 3_900_000}, subject=descriptor(b"", MANIFEST_TYPE))
        assert (await registry.push(manifest, "v1")).status == 201
        target = "/v2/box/manifests/v1" if what == "manifest" else f"/v2/box/referrers/{digest_of(b'')}"
        requests = 5  # more than the kernel's buffers take
    await until(lambda: not registry.daemon.site.connections)
    connection = await registry.connect()
    connection.wire.pauseProducing()
    await until(lambda: bool(registry.daemon.site.connections))
    for _ in range(requests):
        connection.begin("GET", target, headers)
    begin = time.monotonic()
    await until(lambda: not registry.daemon.site.connections)
    assert time.monotonic() - begin > 0.2


@pytest_twisted.ensureDeferred
async def test_a_slow_reader_gets_everything(serve: Serve) -> None:
    registry = await serve(**QUICK)
    content = os.urandom(12_000_000)
    await registry.push_blob(content)
    connection = await registry.connect()
    connection.begin("GET", f"/v2/box/blobs/{digest_of(content)}")
    for _ in range(6):
        connection.wire.pauseProducing()
        await pause(0.1)
        connection.wire.resumeProducing()
        await pause(0.002)
    assert (await connection.answer()).content == content


@pytest_twisted.ensureDeferred
async def test_pipelined_answers_are_not_piled_up(registry: Served) -> None:
    """A client that asks for much and reads nothing has one answer in memory, not all of them."""
    await registry.push_blob(b"{}")
    manifest = image(annotations={"long": "x" * 3_000_000})
    assert (await registry.push(manifest, "v1")).status == 201
    await until(lambda: not registry.daemon.site.connections)
    connection = await registry.connect()
    connection.wire.pauseProducing()
    for _ in range(MANY):
        connection.begin("GET", "/v2/box/manifests/v1")
    await pause(0.3)
    (channel,) = registry.daemon.site.connections
    transport: Any = channel.transport
    waiting = len(transport.dataBuffer) + sum(len(piece) for piece in transport._tempDataBuffer)
    assert waiting < 2 * len(manifest)
    connection.wire.resumeProducing()
    for _ in range(MANY):
        assert (await connection.answer()).content == manifest


@pytest_twisted.ensureDeferred
async def test_a_client_that_only_asks_is_held_back(registry: Served) -> None:
    """Requests without end, whose answers nobody reads, are not kept in memory either."""
    connection = await registry.connect()
    connection.wire.pauseProducing()
    asked = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n" * 50_000
    connection.wire.write(asked * 8)
    await until(lambda: any(each.output.congested for each in registry.daemon.site.connections))
    await pause(0.3)  # for more to pile up, if it did
    (channel,) = [each for each in registry.daemon.site.connections if each.output.congested]
    assert len(channel.incoming) < 1_000_000
    connection.wire.abortConnection()
