"""Other endpoints than plain TCP: TLS, where nothing goes by `sendfile`, and Unix sockets, where it does."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.logger import LogEvent, formatEvent

from tests.docs.certificates import make_certificate
from tests.web.client import Connection, connect, pause, query, until
from tests.web.served import Serve, Served, digest_of

Open = Callable[[], Awaitable[Connection]]
CONTENT = os.urandom(3_000_000)


async def tls(serve: Serve, directory: Path, **options: object) -> tuple[Served, Open]:
    """A daemon that speaks TLS, and how to connect to it."""
    from twisted.internet import reactor

    key, certificate = make_certificate(directory)
    listen = f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
    registry = await serve(registry={"listen": listen, **options})
    trusted = trustRootFromCertificates([Certificate.loadPEM(certificate.read_bytes())])

    async def open_connection() -> Connection:
        context = optionsForClientTLS("127.0.0.1", trustRoot=trusted)
        endpoint: Any = wrapClientTLS(context, TCP4ClientEndpoint(reactor, "127.0.0.1", registry.port))
        return await connect(endpoint)

    return registry, open_connection


async def unix(serve: Serve, directory: Path, **options: object) -> tuple[Served, Open]:
    """A daemon on a Unix socket, and how to connect to it."""
    from twisted.internet import reactor

    name = str(directory / "registry.sock")
    registry = await serve(registry={"listen": f"unix:{name}", **options})

    async def open_connection() -> Connection:
        return await connect(UNIXClientEndpoint(reactor, name))

    return registry, open_connection


endpoints = pytest.mark.parametrize("endpoint", [tls, unix])


@endpoints
@pytest_twisted.ensureDeferred
async def test_layers_go_in_and_out(serve: Serve, tmp_path: Path, endpoint: Any) -> None:
    _, open_connection = await endpoint(serve, tmp_path)
    connection = await open_connection()
    begun = await connection.ask("POST", "/v2/box/blobs/uploads/", None, b"")
    middle = 1_234_567
    first = await connection.ask("PATCH", begun["location"], None, CONTENT[:middle])
    assert (first.status, first["range"]) == (202, f"0-{middle - 1}")
    pieces = [CONTENT[begin : begin + 100_000] for begin in range(middle, len(CONTENT), 100_000)]
    second = await connection.ask("PATCH", begun["location"], None, pieces)
    assert (second.status, second["range"]) == (202, f"0-{len(CONTENT) - 1}")
    done = await connection.ask("PUT", query(begun["location"], digest=digest_of(CONTENT)), None, b"")
    assert done.status == 201
    target = f"/v2/box/blobs/{digest_of(CONTENT)}"
    assert (await connection.ask("GET", target)).content == CONTENT
    part = await connection.ask("GET", target, {"Range": "bytes=77777-2888888"})
    assert (part.status, part.content) == (206, CONTENT[77777:2888889])
    assert (await connection.ask("GET", "/v2/")).content == b"{}"
    connection.close()


@endpoints
@pytest_twisted.ensureDeferred
async def test_refusals_come_early(serve: Serve, tmp_path: Path, endpoint: Any) -> None:
    _, open_connection = await endpoint(serve, tmp_path)
    for expect in ({}, {"Expect": "100-continue"}):
        connection = await open_connection()
        connection.begin("PATCH", "/v2/box/blobs/uploads/unknown", {"Content-Length": 10**9, **expect})
        answer = await connection.answer(2.0)
        assert (*answer.error, answer["connection"]) == (404, "BLOB_UPLOAD_UNKNOWN", "close")
        connection.close()


@endpoints
@pytest_twisted.ensureDeferred
async def test_a_client_that_reads_nothing_is_dropped(serve: Serve, tmp_path: Path, endpoint: Any) -> None:
    registry, open_connection = await endpoint(serve, tmp_path, stall_timeout="300ms")
    connection = await open_connection()
    content = CONTENT * 4
    answer = await connection.ask("POST", query("/v2/box/blobs/uploads/", digest=digest_of(content)), None, content)
    assert answer.status == 201
    connection.wire.pauseProducing()
    connection.begin("GET", f"/v2/box/blobs/{digest_of(content)}")
    await until(lambda: registry.daemon.site.busy == 1)
    await until(lambda: not registry.daemon.site.connections)
    connection.close()


@endpoints
@pytest_twisted.ensureDeferred
async def test_a_client_may_vanish_and_go_on(serve: Serve, tmp_path: Path, endpoint: Any) -> None:
    registry, open_connection = await endpoint(serve, tmp_path)
    connection = await open_connection()
    location = (await connection.ask("POST", "/v2/box/blobs/uploads/", None, b""))["location"]
    connection.begin("PATCH", location, {"Content-Length": len(CONTENT)})
    connection.send(CONTENT[:1_000_000])
    await pause(0.1)
    connection.close()
    await until(lambda: not registry.daemon.site.connections)
    connection = await open_connection()
    status = await connection.ask("GET", location)
    received = int(status["range"].partition("-")[2]) + 1
    assert 0 < received <= 1_000_000
    done = await connection.ask("PUT", query(location, digest=digest_of(CONTENT)), None, CONTENT[received:])
    assert done.status == 201
    connection.close()


@pytest_twisted.ensureDeferred
async def test_the_ready_line_names_each_endpoint(serve: Serve, tmp_path: Path, log: list[LogEvent]) -> None:
    key, certificate = make_certificate(tmp_path)
    ssl = f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
    registry = await serve(registry={"listen": f"unix:{tmp_path}/x.sock, {ssl}\ntcp:0:interface=127.0.0.1"})
    tls_port, tcp_port = (port.getHost().port for port in registry.daemon.ports[1:])
    (line,) = [formatEvent(event) for event in log if "Ready" in formatEvent(event)]
    assert f"unix:{tmp_path}/x.sock, https://127.0.0.1:{tls_port}/v2/, http://127.0.0.1:{tcp_port}/v2/ on" in line
    assert f"docker push 127.0.0.1:{tls_port}/busybox" in line
