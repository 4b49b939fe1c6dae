"""Connections: what clients do with them that no well-behaved library would."""

import os
import socket
from collections.abc import Callable
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer

from ipfsreg.flow.streams import Pieces, write_pieces
from ipfsreg.web.http import budget
from ipfsreg.web.http.body import BodyMemory, BodyTooLong, ClientGone, ClientTooSlow
from ipfsreg.web.http.budget import Budget
from ipfsreg.web.http.limits import REQUESTS_AT_ONCE, HttpLimits
from ipfsreg.web.http.request import Request
from tests.full import FULL
from tests.web.client import chunk, pause, until

from .conftest import Listen
from .test_framing import cut
from .test_head import REFUSED


class Free:
    """Memory for everybody."""

    def grow(self, length: int) -> None:
        return None


def begun(work: Callable[[Request], Any]) -> Callable[[Request], None]:
    """A handler from a coroutine function, whose failures end the connection."""

    def handle(request: Request) -> None:
        Deferred.fromCoroutine(work(request)).addErrback(lambda failure: request.drop())

    return handle


@begun
async def echo(request: Request) -> None:
    """Answers with the request's line and body."""
    body = await request.body.read(10**6, Free())
    request.end(request.method + b" " + request.uri + b" " + body)


class Recorder:
    """Answers at once, and knows what it was asked."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    def __call__(self, request: Request) -> None:
        self.asked.append(request.uri)
        request.end(b"answer")


@pytest.mark.parametrize("headers", REFUSED)
@pytest_twisted.ensureDeferred
async def test_what_could_smuggle_a_request_is_answered_400_and_ends_the_connection(
    listen: Listen, headers: bytes
) -> None:
    recorder = Recorder()
    connection = await listen(recorder).connect()
    connection.send(
        b"POST /first HTTP/1.1\r\nHost: a\r\n" + headers + b"\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    )
    answer = await connection.read()
    await connection.ended()
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"\r\nConnection: close\r\n" in answer
    assert b"\r\nX-Common: yes\r\n" in answer
    assert answer.count(b"HTTP/1.1 ") == 1
    assert recorder.asked == []


@pytest.mark.parametrize("sent", [b"5 \r\nhello\r\n", b"5\nhello\r\n", b"5\r\nhello!\r\n", b"0x5\r\nhello\r\n"])
@pytest_twisted.ensureDeferred
async def test_what_is_no_chunk_is_answered_400_and_ends_the_connection(listen: Listen, sent: bytes) -> None:
    connection = await listen(echo).connect()
    connection.begin("PUT", "/first", {"Transfer-Encoding": "chunked"})
    connection.send(sent + b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
    answer = await connection.read()
    await connection.ended()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"smuggled" not in answer


@pytest.mark.parametrize("lengths", [[1], [3, 7], [10_000]])
@pytest_twisted.ensureDeferred
async def test_requests_are_told_apart_wherever_the_packets_end(listen: Listen, lengths: list[int]) -> None:
    connection = await listen(echo).connect()
    for number in range(3):
        sent = (
            b"\r\nPUT /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" % number
            + b"PUT /%d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nGET\r\n0\r\n\r\n" % number
            + b"\r\n\r\nGET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number
        )
        for packet in cut(sent, lengths):
            connection.send(packet)
            if len(packet) < 4:
                await pause(0)
        for method, body in (("PUT", b"hello"), ("PUT", b"GET"), ("GET", b"")):
            connection.send(b"", method)
            assert (await connection.answer()).content == f"{method} /{number} ".encode() + body


@pytest_twisted.ensureDeferred
async def test_a_client_that_asks_a_thousand_things_at_once_gets_its_answers_and_others_theirs(listen: Listen) -> None:
    order: list[bytes] = []

    def note(request: Request) -> None:
        order.append(request.uri)
        request.end()

    served = listen(note)
    greedy, modest = await served.connect(), await served.connect()
    count = 1000
    greedy.send(b"GET /greedy HTTP/1.1\r\nHost: a\r\n\r\n" * count)
    modest.begin("GET", "/modest")
    await modest.answer()
    assert order.index(b"/modest") < 10 * REQUESTS_AT_ONCE
    for _ in range(count):
        greedy.send(b"", "GET")
        assert (await greedy.answer()).status == 200


@pytest_twisted.ensureDeferred
async def test_a_client_that_says_no_more_still_gets_its_answers(listen: Listen) -> None:
    answering: list[Request] = []
    served = listen(answering.append)
    for sent, count in (
        (b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n", 1),
        (b"PUT /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi" * 3, 3),
    ):
        connection = await served.connect()
        handle: Any = connection.wire.getHandle()
        connection.send(sent)
        connection.wire.loseWriteConnection()
        await until(lambda: bool(answering))
        await pause(0.05)
        received = b""
        for _ in range(count):
            await until(lambda: bool(answering))
            answering.pop().end(b"answer")
        received = await connection.read()
        while received.count(b"answer") < count:
            received += await connection.read()
        await connection.ended()
        assert handle is not None
    assert served.server.busy == 0


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /",
        b"GET / HTTP/1.1\r\nHost: a\r\n",
        b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell",
        b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhell\r\n",
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_client_that_stops_within_a_request_is_not_waited_for(listen: Listen, sent: bytes) -> None:
    served = listen(echo)
    connection = await served.connect()
    connection.send(sent)
    connection.wire.loseWriteConnection()
    await connection.ended()
    await until(lambda: not served.server.connections)


@pytest_twisted.ensureDeferred
async def test_a_body_that_does_not_come_is_told_so(listen: Listen) -> None:
    failures: list[BaseException] = []

    @begun
    async def read(request: Request) -> None:
        try:
            await request.body.read(1000, Free())
        except ClientTooSlow as error:
            failures.append(error)
            request.prepare(408, {})
            request.end(b"too slow")

    connection = await listen(read, HttpLimits(idle=0.2, stall=5.0)).connect()
    connection.begin("PUT", "/", {"Content-Length": 100})
    connection.send(b"x" * 50)
    answer = await connection.answer()
    assert (answer.status, answer["connection"], len(failures)) == (408, "close", 1)
    await connection.ended()


@pytest_twisted.ensureDeferred
async def test_a_body_for_the_disk_may_pause_for_longer(listen: Listen) -> None:
    @begun
    async def copy(request: Request) -> None:
        pieces = Pieces()
        request.body.copy_to(pieces).addBoth(pieces.end)
        request.end(b"".join([piece async for piece in pieces]))

    connection = await listen(copy, HttpLimits(idle=0.2, stall=20.0)).connect()
    connection.begin("PUT", "/", {"Content-Length": 10})
    connection.send(b"hello")
    await pause(0.6)
    connection.send(b"world")
    assert (await connection.answer()).content == b"helloworld"


@pytest_twisted.ensureDeferred
async def test_content_of_unknown_length_goes_in_chunks(listen: Listen) -> None:
    async def pieces() -> Any:
        for number in range(50):
            yield b"%d" % number * 20_000

    @begun
    async def send(request: Request) -> None:
        request.prepare(200, {"Content-Type": "text/plain"})
        await write_pieces(request, pieces())
        request.end()

    served = listen(send)
    content = b"".join([piece async for piece in pieces()])
    connection = await served.connect()
    for _ in range(2):
        answer = await connection.ask("GET", "/")
        assert (answer["transfer-encoding"], answer.content) == ("chunked", content)
    head = await connection.ask("HEAD", "/")
    assert (head.status, head.content) == (200, b"")
    assert (await connection.ask("GET", "/")).content == content
    old = await served.connect()
    old.begin("GET", "/", version="1.0")
    answer = await old.answer()
    assert "transfer-encoding" not in answer
    assert answer.content == content


@pytest_twisted.ensureDeferred
async def test_content_of_another_length_than_was_said_ends_the_connection(listen: Listen) -> None:
    """The client must not take the next answer for the rest of this one."""

    def send(request: Request) -> None:
        request.prepare(200, {"Content-Length": 10})
        request.end(b"hello")

    connection = await listen(send).connect()
    connection.begin("GET", "/")
    connection.begin("GET", "/")
    with pytest.raises(ConnectionError):
        await connection.answer()


@pytest_twisted.ensureDeferred
async def test_a_header_with_a_line_break_is_never_sent(listen: Listen) -> None:
    caught: list[ValueError] = []

    def send(request: Request) -> None:
        request.prepare(200, {"Location": "/a\r\nSet-Cookie: b"})
        try:
            request.end(b"")
        except ValueError as error:
            caught.append(error)
            request.prepare(500, {})
            request.end(b"")

    connection = await listen(send).connect()
    answer = await connection.ask("GET", "/")
    assert (answer.status, len(caught)) == (500, 1)
    assert "set-cookie" not in answer


@pytest_twisted.ensureDeferred
async def test_an_answer_has_what_every_answer_has(listen: Listen) -> None:
    connection = await listen(echo).connect()
    answer = await connection.ask("GET", "/")
    assert answer["server"].startswith("ipfsreg/")
    assert answer["date"].endswith(" GMT")
    assert answer["x-common"] == "yes"


@pytest_twisted.ensureDeferred
async def test_a_request_whose_client_is_gone_has_no_effect_any_more(listen: Listen) -> None:
    requests: list[Request] = []
    served = listen(requests.append)
    connection = await served.connect()
    connection.begin("PUT", "/", {"Content-Length": 5})
    await until(lambda: bool(requests))
    (request,) = requests
    read = request.body.read(10, Free())
    connection.close()
    await until(lambda: not served.server.connections)
    assert request.gone
    with pytest.raises(ClientGone):
        await read
    request.write(b"nothing")
    request.end(b"nothing")
    request.drop()
    request.give_up_body()
    stopped: list[bool] = []
    producer: Any = type("Producer", (), {"stopProducing": lambda self: stopped.append(True)})()
    assert IConsumer.providedBy(request)
    request.registerProducer(producer, streaming=True)
    assert stopped == [True]


@pytest_twisted.ensureDeferred
async def test_a_client_that_goes_on_sending_junk_sees_what_was_wrong(listen: Listen) -> None:
    """The answer to a long head must not be overtaken by a reset, as where a socket is closed with bytes unread."""
    connection = await listen(echo).connect()
    connection.send(b"GET / HTTP/1.1\r\nX: " + b"x" * 3_000_000 + b"\r\n\r\n")
    assert (await connection.read()).startswith(b"HTTP/1.1 431 ")
    await connection.ended()


@pytest_twisted.ensureDeferred
async def test_bodies_share_memory_and_the_stalled_ones_give_it_back(
    listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    from twisted.internet import reactor

    if not FULL:  # one after the other is watched for so long
        monkeypatch.setattr(budget, "_LOOK_EVERY", 0.1)
        monkeypatch.setattr(budget, "_MEASURED_FOR", 0.3)
    shared = Budget(1_000_000, reactor, served_clock)

    @begun
    async def read(request: Request) -> None:
        def reading(lease: BodyMemory) -> Any:
            return request.body.read(2_000_000, lease)

        with shared.lease(request.give_up_body) as lease:
            try:
                request.end(b"%d" % len(await reading(lease)))
            except ClientTooSlow:
                request.prepare(408, {})
                request.end(b"")
            except BodyTooLong:
                request.prepare(413, {})
                request.end(b"")

    served = listen(read)
    stalled = [await served.connect() for _ in range(3)]
    for each in stalled:
        each.begin("PUT", "/", {"Content-Length": 1_500_000})
        each.send(b"x" * 1_400_000)
    await pause(0.2)
    other = await served.connect()
    assert (await other.ask("PUT", "/", None, b"x" * 1_500_000)).content == b"1500000"
    assert [(await each.answer()).status for each in stalled] == [408, 408, 408]
    too_long = await served.connect()
    assert (await too_long.ask("PUT", "/", None, [b"x" * 1_000_000] * 3)).status == 413


def served_clock() -> float:
    """The time by which bodies are measured."""
    import time

    return time.monotonic()


@pytest_twisted.ensureDeferred
async def test_a_port_scan_leaves_nothing(listen: Listen) -> None:
    served = listen(echo)
    for _ in range(20):
        connection = await served.connect()
        handle: Any = connection.wire.getHandle()
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        connection.close()
    await until(lambda: not served.server.connections)
    assert chunk(b"") == b"0\r\n\r\n"


@pytest_twisted.ensureDeferred
async def test_an_idle_client_is_left_what_is_still_on_its_way(listen: Listen) -> None:
    """The system sends the rest of an answer long after it has taken it, to a client that is slow to read."""
    content = os.urandom(300_000)

    def handle(request: Request) -> None:
        (connection,) = served.server.connections
        cast(socket.socket, connection.wire.getHandle()).setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, len(content))
        request.end(content)

    served = listen(handle, HttpLimits(idle=0.3, stall=30.0))
    client = await served.connect()
    client.begin("GET", "/")
    client.wire.pauseProducing()
    await until(lambda: bool(served.server.connections))
    await until(lambda: not served.server.connections)
    client.wire.resumeProducing()
    assert (await client.answer()).content == content
