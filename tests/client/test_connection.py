"""What servers answer, in whatever pieces it comes, and what becomes of the connection."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any, cast

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from ipfsreg.client import session as session_module
from ipfsreg.client import transport as transport_module
from ipfsreg.client.connection import HEAD_MAX, BadAnswer, Connection, Ended, Response, encode_head
from ipfsreg.client.errors import Unreachable, Untrustworthy
from ipfsreg.client.transport import Body, Transport
from ipfsreg.registry.digest import digest_of
from ipfsreg.registry.names import Repository

from .scripted import client_of

BOX = Repository("box")
DIGEST = digest_of(b"x")

GET = encode_head("GET", "/", {"Host": "x"})
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
NOTHING = b"HTTP/1.1 204 No Content\r\n\r\n"


class Asked:
    """A request on a connection without a network, and what it led to."""

    def __init__(self, head: bytes = GET) -> None:
        self.free = 0
        self.responses: list[Response] = []
        self.failures: list[Failure] = []
        self.pieces: list[bytes] = []
        self.ended: Failure | bool = False
        self.transport = StringTransport()
        self.connection = Connection(self._freed)
        self.connection.makeConnection(self.transport)
        self.ask(head)

    def ask(self, head: bytes = GET) -> None:
        self.connection.ask(head, b"").addCallbacks(self._answered, self.failures.append)

    def feed(self, *pieces: bytes) -> None:
        for piece in pieces:
            if self.transport.disconnecting or self.transport.disconnected:
                return
            self.connection.dataReceived(piece)

    def lose(self, *, clean: bool = True) -> None:
        self.connection.connectionLost(Failure(ConnectionDone() if clean else ConnectionLost()))

    @property
    def aborted(self) -> bool:
        return bool(self.transport.disconnected or self.transport.disconnecting)

    def _freed(self, connection: Connection) -> None:
        self.free += 1

    def _answered(self, response: Response) -> None:
        self.responses.append(response)

        async def read() -> None:
            async for piece in response.body:
                self.pieces.append(piece)

        def note(result: Failure | None) -> None:
            self.ended = True if result is None else result

        Deferred.fromCoroutine(read()).addBoth(note)

    @property
    def content(self) -> bytes:
        assert self.ended is True, self.ended
        return b"".join(self.pieces)

    def failed_with(self, kind: type[Exception]) -> bool:
        failures = [*self.failures, *([self.ended] if isinstance(self.ended, Failure) else [])]
        return [bool(each.check(kind)) for each in failures] == [True]


def chunks(content: bytes, sizes: list[int]) -> bytes:
    sent, begin = b"", 0
    for size in [*sizes, len(content)]:
        piece = content[begin : begin + size]
        begin += size
        sent += b"%x;an=extension\r\n%s\r\n" % (len(piece), piece) if piece else b""
    return sent + b"0\r\nX-Trailer: 1\r\n\r\n"


@given(
    content=st.binary(max_size=100),
    sizes=st.none() | st.lists(st.integers(1, 30), max_size=5),
    interim=st.booleans(),
    cuts=st.lists(st.integers(1, 400), max_size=8),
)
def test_an_answer_is_the_same_in_whatever_pieces_it_comes(
    content: bytes, sizes: list[int] | None, interim: bool, cuts: list[int]
) -> None:
    sent = b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" if interim else b""
    if sizes is None:
        sent += b"HTTP/1.1 200 OK\r\nX-Two: a\r\nx-two: b\r\nContent-Length: %d\r\n\r\n%s" % (len(content), content)
    else:
        sent += b"HTTP/1.1 200 OK\r\nX-Two: a\r\nx-two: b\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(
            content, sizes
        )
    places = [0, *sorted({cut for cut in cuts if cut < len(sent)}), len(sent)]
    asked = Asked()
    for _ in range(2):  # and the connection is good for another one
        asked.pieces.clear()
        asked.feed(*(sent[begin:end] for begin, end in pairwise(places)))
        assert asked.content == content
        assert asked.responses[-1].status == 200
        assert asked.responses[-1].headers[b"x-two"] == [b"a", b"b"]
        asked.ask()
    assert asked.free == 2
    assert not asked.aborted


@given(st.binary(max_size=200), st.booleans())
def test_what_is_no_answer_fails(content: bytes, clean: bool) -> None:
    asked = Asked()
    asked.feed(content)
    asked.lose(clean=clean)
    assert asked.failures or asked.ended


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded: 1\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        CHUNKED + b"not a length\r\n",
        CHUNKED + b"ffffffffffffffffff\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * HEAD_MAX,
        b"HTTP/1.1 100 Continue\r\nX: %s\r\n\r\n" % (b"x" * 1000) * (HEAD_MAX // 1000),
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    ],
)
def test_bad_answers_end_the_connection(sent: bytes) -> None:
    asked = Asked()
    asked.feed(sent)
    assert asked.failed_with(BadAnswer)
    assert asked.aborted
    assert not asked.free


@pytest.mark.parametrize("more", [b"0\r\nX: " + b"x" * 1000, b"1;" + b"x" * 1000, b"0\r\n" + b"X: y\r\n" * 200])
def test_what_comes_between_chunks_or_after_them_has_an_end(more: bytes) -> None:
    asked = Asked()
    asked.feed(CHUNKED, more, *[more[-6:] * 200] * 1000)
    assert asked.failed_with(BadAnswer)
    assert asked.aborted


@pytest.mark.parametrize(
    ("head", "sent"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"),
        (b"HEAD", CHUNKED),
        (b"HEAD", b"HTTP/1.1 404 Not Found\r\n\r\n"),
        (b"GET", NOTHING),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n"),
        (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ],
)
def test_answers_without_a_body(head: bytes, sent: bytes) -> None:
    asked = Asked(head + GET.removeprefix(b"GET"))
    asked.feed(sent)
    assert asked.content == b""
    assert (asked.free, asked.aborted) == (1, False)


@pytest.mark.parametrize(
    ("sent", "content"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        (OK + b"and what nobody asked for", b"ok"),
        (CHUNKED + chunks(b"ok", []) + b"and what nobody asked for", b"ok"),
        (CHUNKED + chunks(b"ok", []) + OK, b"ok"),
        (CHUNKED + chunks(b"ok", []) + CHUNKED + chunks(b"more", []), b"ok"),
        (CHUNKED + chunks(b"ok", []) + CHUNKED, b"ok"),
    ],
)
def test_connections_that_are_not_used_again(sent: bytes, content: bytes) -> None:
    asked = Asked()
    asked.feed(sent)
    assert asked.content == content
    assert (asked.free, asked.aborted) == (0, True)


def test_what_comes_while_nobody_asks_ends_the_connection() -> None:
    asked = Asked()
    asked.feed(OK, b"HTTP/1.1 200 OK\r\n")
    assert asked.content == b"ok"
    assert asked.aborted


def test_a_body_may_end_with_its_connection_and_in_no_other_way() -> None:
    for clean in (True, False):
        asked = Asked()
        asked.feed(b"HTTP/1.1 200 OK\r\n\r\nall ", b"of it")
        asked.lose(clean=clean)
        if clean:
            assert asked.content == b"all of it"
        else:
            assert asked.failed_with(Ended)


@pytest.mark.parametrize(
    ("sent", "unanswered"),
    [(b"", True), (b"HTTP/1.1 2", False), (OK[:-1], False), (CHUNKED + b"5\r\nab", False), (CHUNKED + b"0\r\n", False)],
)
def test_what_is_cut(sent: bytes, unanswered: bool) -> None:
    asked = Asked()
    asked.feed(sent)
    asked.lose()
    assert asked.failed_with(Ended)
    assert all(cast(Any, each.value).unanswered == unanswered for each in asked.failures)


@pytest.mark.parametrize(
    ("target", "headers"), [("/ HTTP/1.1\r\nX: y", {}), ("/a b", {}), ("/", {"X": "y\r\nZ: 1"}), ("/", {"X\n": "1"})]
)
def test_no_header_becomes_two(target: str, headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="would be two"):
        encode_head("GET", target, headers)


class Server:
    """Answers each request, which ends with an empty line, by ``answer``; None ends the connection instead."""

    def __init__(self, answer: Callable[[int], bytes | None]) -> None:
        self.answer = answer
        self.requests = self.connections = 0
        self.open: list[Protocol] = []
        self.url = ""


@asynccontextmanager
async def serving(answer: Callable[[int], bytes | None]) -> AsyncIterator[tuple[Server, Transport]]:
    from twisted.internet import reactor

    server = Server(answer)

    class Serving(Protocol):
        def connectionMade(self) -> None:
            server.connections += 1
            server.open.append(self)

        def dataReceived(self, data: bytes) -> None:
            if not data.endswith(b"\r\n\r\n"):
                return
            server.requests += 1
            says = server.answer(server.requests)
            transport = cast(ITCPTransport, self.transport)
            if says is None:
                transport.loseConnection()
            else:
                transport.write(says)

        def connectionLost(self, reason: object = None) -> None:
            server.open.remove(self)

    port: Any = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Factory.forProtocol(Serving))
    transport = Transport(reactor, "it", 4)
    try:
        server.url = f"http://127.0.0.1:{port.getHost().port}"
        yield server, transport
    finally:
        await transport.close()
        await port.stopListening()


async def ask(transport: Transport, url: str, method: str = "GET", body: Body | None = None) -> bytes:
    return await (await transport.send(method, url, {}, body, 30)).content(1000)


@pytest_twisted.ensureDeferred
async def test_a_connection_is_used_again() -> None:
    async with serving(lambda number: OK) as (server, transport):
        for _ in range(3):
            assert await ask(transport, f"{server.url}/v2/?x=1#part") == b"ok"
        assert (server.requests, server.connections) == (3, 1)


@pytest_twisted.ensureDeferred
async def test_what_is_not_http_is_not_waited_for_nor_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(session_module, "TRIES", 2)
    async with serving(lambda number: OK if number == 1 else b"SSH-2.0-x") as (server, _), client_of(server.url) as it:
        await it.ping()
        for work in (names(it.tags(BOX)), names(it.blob(BOX, DIGEST, 1))):
            asked = server.requests
            with pytest.raises(Unreachable, match="no answer of HTTP"):
                await work
            assert server.requests == asked + 1


async def names(listed: AsyncGenerator[Any, None]) -> list[Any]:
    return [each async for each in listed]


@pytest_twisted.ensureDeferred
async def test_one_that_waits_for_long_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many hosts a registry leads to, each has its connections for some seconds only."""
    monkeypatch.setattr(transport_module, "_IDLE_SECONDS", 0.01)
    async with serving(lambda number: OK) as (server, transport):
        for number in range(1, 3):
            assert await ask(transport, server.url) == b"ok"
            while server.open:
                await pause()
            assert server.connections == number


@pytest_twisted.ensureDeferred
async def test_a_server_that_closes_each_connection_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry may lead to a host of its own for every blob, and none of them need keep a connection."""
    monkeypatch.setattr(transport_module, "_IDLE_SECONDS", 0.01)
    closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    async with serving(lambda number: closing) as (server, transport):
        assert await ask(transport, server.url) == b"ok"
        while transport._servers:
            await pause()
        assert await ask(transport, server.url) == b"ok"


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http://", "http://127.0.0.1/a b", "http://127.0.0.1/\r\nX: y"])
@pytest_twisted.ensureDeferred
async def test_what_is_no_url_of_a_server_is_not_asked_for(url: str) -> None:
    async with serving(lambda number: OK) as (server, transport):
        with pytest.raises(Untrustworthy):
            await ask(transport, url.replace("127.0.0.1", server.url.removeprefix("http://")))
        assert not server.requests


@pytest_twisted.ensureDeferred
async def test_one_that_the_server_has_closed_meanwhile_is_no_failure() -> None:
    async with serving(lambda number: OK if number != 2 else None) as (server, transport):
        for _ in range(2):
            assert await ask(transport, server.url) == b"ok"
        assert (server.requests, server.connections) == (3, 2)


@pytest_twisted.ensureDeferred
async def test_what_changes_something_is_not_sent_twice() -> None:
    """Whoever asks for it knows whether it may be."""
    async with serving(lambda number: OK if number != 2 else None) as (server, transport):
        assert await ask(transport, server.url) == b"ok"
        with pytest.raises(Unreachable, match="ended before its answer did"):
            await ask(transport, server.url, "POST", Body.of(b""))
        assert server.requests == 2


@pytest_twisted.ensureDeferred
async def test_a_refusal_before_the_end_of_a_body_is_enough_and_nothing_else_is() -> None:
    closed = 0

    async def endless() -> AsyncGenerator[bytes, None]:
        nonlocal closed
        try:
            yield b"beginning\r\n\r\n"
            while True:
                await Deferred()
        finally:
            closed += 1

    refused = OK.replace(b"200", b"413")
    async with serving(lambda number: [refused, OK, OK][number - 1]) as (server, transport):
        assert await ask(transport, server.url, "PUT", Body(endless(), 10**9)) == b"ok"
        assert closed == 1
        with pytest.raises(Untrustworthy, match="before it had all of it"):
            await ask(transport, server.url, "PUT", Body(endless(), 10**9))
        assert closed == 2
        assert await ask(transport, server.url) == b"ok"
        assert server.connections == 3


@pytest_twisted.ensureDeferred
async def test_a_body_that_is_shorter_than_was_said_is_not_taken_for_whole() -> None:
    async def short() -> AsyncGenerator[bytes, None]:
        yield b"ab"

    async with serving(lambda number: OK) as (server, transport):
        with pytest.raises(Untrustworthy, match="not as long"):
            await ask(transport, server.url, "PUT", Body(short(), 3))


@pytest_twisted.ensureDeferred
async def test_who_cancels_a_request_leaves_no_connection() -> None:
    async with serving(lambda number: b"") as (server, transport):
        asked = Deferred.fromCoroutine(ask(transport, server.url))
        while not server.requests:
            await pause()
        asked.cancel()
        with pytest.raises(CancelledError):
            await asked
        while server.open:
            await pause()


async def pause() -> None:
    from twisted.internet import reactor
    from twisted.internet.task import deferLater

    await deferLater(cast(Any, reactor), 0.005, lambda: None)
