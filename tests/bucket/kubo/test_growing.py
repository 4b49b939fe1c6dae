"""The body of a file that grows: the same bytes, by whichever way they go out."""

import http.client
import os
import re
import socket
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor as default_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from ipfsreg.bucket.errors import Unavailable
from ipfsreg.bucket.kubo.rpc.address import Address
from ipfsreg.bucket.kubo.rpc.bulk import BulkCall
from ipfsreg.bucket.kubo.rpc.client import Rpc
from ipfsreg.bucket.kubo.rpc.growing import SENT_PIECE, GrowingBody, GrowingFile
from ipfsreg.flow.workers import Workers
from tests.bucket.running import pause

reactor: Any = default_reactor
ANSWER = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    b"2\r\nal\r\n3\r\nl o\r\n1\r\nf\r\n0\r\n\r\n"
)


@pytest_twisted.async_yield_fixture()
async def workers() -> AsyncIterator[Workers]:
    workers = Workers(reactor, 4)
    workers.startService()
    yield workers
    workers.stopService()


def chunked(body: bytes) -> bytes:
    """What chunks hold, by another reader than ours."""

    class Received:
        def makefile(self, _: str) -> BytesIO:
            return BytesIO(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)

    answer = http.client.HTTPResponse(cast(socket.socket, Received()))
    answer.begin()
    return answer.read()


def file_in(form: bytes, content_type: bytes) -> bytes:
    """The one file of a form."""
    boundary = content_type.partition(b"boundary=")[2]
    match = re.fullmatch(rb"--%b\r\n[^\0]*?\r\n\r\n(.*)\r\n--%b--\r\n" % (boundary, boundary), form, re.DOTALL)
    assert match is not None
    return match[1]


class Peer:
    """A server of one connection, which reads the whole request, not faster than it is told to, and answers."""

    def __init__(self, pause_after: int | None = None) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.received = bytearray()
        self._limit = pause_after

    def serve(self) -> None:
        connection, _ = self._server.accept()
        with connection, self._server:
            while not self.received.endswith(b"\r\n0\r\n\r\n"):
                data = connection.recv(65536)
                self.received += data
                if not data or (self._limit is not None and len(self.received) >= self._limit):
                    return
            connection.sendall(ANSWER)


def grow(path: Path, file: GrowingFile, content: bytes, sizes: list[int]) -> None:
    """Write the content, telling of each of the sizes, and at last that it is whole."""
    with path.open("ab", buffering=0) as out:
        written = 0
        for size in sizes:
            out.write(content[written:size])
            written = size
            file.grow(size)
        out.write(content[written:])
    file.grow(len(content), whole=True)


@pytest.mark.parametrize("length", [0, 1, SENT_PIECE, 9 * SENT_PIECE + 5])
@pytest_twisted.ensureDeferred
async def test_by_sendfile(workers: Workers, tmp_path: Path, length: int) -> None:
    content, path = os.urandom(length), tmp_path / "data"
    path.touch()
    file = GrowingFile(path, workers)
    body = GrowingBody(file, reactor)
    peer = Peer()
    served = deferToThread(peer.serve)
    call = BulkCall(b"/add", [(b"Host", b"node")], body)
    await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", peer.port), call)
    grow(path, file, content, [size for size in (1000, SENT_PIECE, 3 * SENT_PIECE, 8 * SENT_PIECE) if size < length])
    await call.answered
    pieces: list[bytes] = []
    call.take(pieces.append)
    await call.ended
    await served
    head, _, rest = bytes(peer.received).partition(b"\r\n\r\n")
    assert head.startswith(b"POST /add HTTP/1.1\r\nHost: node\r\n")
    assert file_in(chunked(rest), body.content_type) == content
    assert call.whole
    assert b"".join(pieces) == b"all of"


@pytest_twisted.ensureDeferred
async def test_a_connection_that_breaks_leaves_nothing_open(workers: Workers, tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(os.urandom(20 * SENT_PIECE))
    before = set(os.listdir("/proc/self/fd"))
    for size, whole in (
        (20 * SENT_PIECE, True),
        (3 * SENT_PIECE, False),
    ):  # in the middle of sending, and of waiting for more
        file = GrowingFile(path, workers)
        peer = Peer(pause_after=2 * SENT_PIECE)
        served = deferToThread(peer.serve)
        call = BulkCall(b"/add", [], GrowingBody(file, reactor))
        await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", peer.port), call)
        file.grow(size, whole=whole)
        with pytest.raises(Exception, match="onnection"):
            await call.answered
        await served
    while {name for name in set(os.listdir("/proc/self/fd")) - before if os.path.exists(f"/proc/self/fd/{name}")}:
        await pause(0.01)


class SlowConsumer:
    """As a connection with TLS: it pauses its producer at every write."""

    def __init__(self, body: GrowingBody) -> None:
        self.written = b""
        self._body = body

    def registerProducer(self, producer: object, streaming: bool) -> None:
        assert streaming
        assert producer is self._body

    def unregisterProducer(self) -> None:
        pass

    def write(self, data: bytes) -> None:
        self.written += data
        self._body.pauseProducing()
        reactor.callLater(0, self._body.resumeProducing)


@pytest_twisted.ensureDeferred
async def test_through_a_transport_that_is_no_socket(workers: Workers, tmp_path: Path) -> None:
    content, path = os.urandom(5 * SENT_PIECE + 7), tmp_path / "data"
    path.touch()
    file = GrowingFile(path, workers)
    body = GrowingBody(file, reactor)
    consumer = SlowConsumer(body)
    sent: Deferred[None] = body.start(consumer, b"POST\r\n\r\n")
    grow(path, file, content, [SENT_PIECE + 1, 2 * SENT_PIECE])
    await sent
    assert file_in(chunked(consumer.written.removeprefix(b"POST\r\n\r\n")), body.content_type) == content


def answered(*data: bytes) -> bytes:
    """What a call gives whose connection brings these bytes, and then ends."""
    rpc = Rpc(Clock(), lambda: Address("http://127.0.0.1"), None, 1, 1.0)
    call = BulkCall(b"/", [], None)
    call.makeConnection(StringTransport())
    results: list[Any] = []
    call.dataReceived(data[0])
    Deferred.fromCoroutine(rpc.slot(rpc.quick).rest(call, 1000)).addBoth(results.append)
    for piece in data[1:]:
        call.dataReceived(piece)
    call.connectionLost(Failure(ConnectionDone()))
    (result,) = results
    if isinstance(result, Failure):
        result.raiseException()
    return cast(bytes, result)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5), st.integers(0, 300), st.integers(0, 300))
def test_an_answer_in_chunks(pieces: list[bytes], cut: int, split: int) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    assert answered(head + body[:split], body[split:]) == b"".join(pieces)
    missing = body[: min(cut, len(body) - 5)]
    with pytest.raises(Unavailable):
        answered(head + missing[:split], missing[split:])


@given(st.binary(max_size=100), st.integers(0, 100))
def test_an_answer_that_ends_with_its_connection(body: bytes, split: int) -> None:
    assert answered(b"HTTP/1.0 200 OK\r\n\r\n" + body[:split], body[split:]) == body


@pytest.mark.parametrize(
    "junk", [b"SSH-2.0-OpenSSH\r\n\r\n", b"\0" * 100, b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000, b""]
)
def test_what_is_no_answer(junk: bytes) -> None:
    call = BulkCall(b"/", [], None)
    transport = StringTransport()
    call.makeConnection(transport)
    failures: list[object] = []
    call.answered.addErrback(failures.append)
    call.dataReceived(junk)
    assert transport.disconnected or not junk
    call.connectionLost(Failure(ConnectionDone()))
    assert len(failures) == 1
