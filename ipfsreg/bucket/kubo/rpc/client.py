"""A node's RPC: commands as POSTs, each bounded in time, in lanes that cannot starve each other.

Twisted's Agent without treq, whose redirects, cookies and decompression would be wrong here. Neither shows the
trailer in which a node reports an error after output began (``X-Stream-Error``): whoever reads a stream has to check
what came against what should have come (docs/protocols/kubo.md, "Streams").
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast
from urllib.parse import urlencode

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import connectProtocol
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol as WireProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.client import URI, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer, IResponse

from ipfsreg.bucket.errors import BucketError, Unavailable
from ipfsreg.bucket.kubo.errors import RETRY_AFTER, CutOff, Unreachable, refusal

from .address import Address, Remembered
from .body import FormBody
from .bulk import BulkCall
from .lanes import CONNECT_SECONDS, Lane

ANSWER_MAX = 64 * 1024**2
"""The longest answer that is collected: a listing of a directory with some hundred thousand entries."""

GRACE_SECONDS = 2.0
"""How much later than the node this side gives up on a call, so that the node's own answer comes first."""

_AGENT = b"ipfsreg"

Option = str | int | bool | tuple[str, ...]
"""A value of an option; several are sent as the option several times."""


class Body(Protocol):
    """A body producer (`IBodyProducer`) that says when it last got on."""

    content_type: bytes
    moved: float
    """By the reactor's clock."""

    def stopProducing(self) -> None:
        """See `IBodyProducer`; may be called where it is through."""


class Rpc:
    """One node. ``address`` is asked again and again; ``authorization`` is the header's value, or None.

    ``connections`` are for bodies that are long on the way to the node; what is long on the way from it has as many of
    its own, and so have listings and small files. So clients that read slowly hold up nobody but each other.
    ``timeout`` is for one answer, in seconds.
    """

    def __init__(
        self,
        reactor: Any,
        address: Callable[[], Address],
        authorization: bytes | None,
        connections: int,
        timeout: float,
    ) -> None:
        self.reactor = reactor
        self.timeout = timeout
        self._address = address = Remembered(address, reactor.seconds)
        self._headers = Headers({b"User-Agent": [_AGENT]})
        if authorization is not None:
            self._headers.setRawHeaders(b"Authorization", [authorization])
        self.quick = Lane(reactor, address, connections)
        self.bulk = Lane(reactor, address, connections)
        self.downloads = Lane(reactor, address, connections)
        self._lanes = [self.quick, self.bulk, self.downloads]
        self._under_way: set[Deferred[Any]] = set()
        self._stopped = False

    def lane(self, connections: int) -> Lane:
        """Another lane, for calls that may take long for reasons of their own."""
        lane = Lane(self.reactor, self._address, connections)
        self._lanes.append(lane)
        return lane

    async def stop(self) -> None:
        """Give up what is under way, and close the connections."""
        self._stopped = True
        for call in list(self._under_way):
            call.cancel()
        for lane in self._lanes:
            await lane.pool.closeCachedConnections()

    async def json(self, command: str, *arguments: str, **options: Option) -> Any:
        """The one JSON document that a command answers, or None where the answer is empty.

        :raises BucketError: where it fails.
        """
        return self.parsed(command, await self.call(command, arguments, options))

    async def call(
        self,
        command: str,
        arguments: Sequence[str] = (),
        options: Mapping[str, Option] | None = None,
        *,
        body: Body | None = None,
        lane: Lane | None = None,
        seconds: float | None = None,
        limit: int = ANSWER_MAX,
    ) -> bytes:
        """All that a command answers, at most ``limit`` bytes.

        ``seconds`` is how long the node may work, unless an option ``timeout`` tells it less; where there is a body,
        how long nothing may move.

        :raises BucketError: where it fails.
        """
        async with Turn(self, lane or self.quick, seconds or self.timeout) as turn:
            response = await turn.request(command, arguments, options or {}, body)
            content = await turn.collect(response, limit if response.code == 200 else ANSWER_MAX)
            if response.code != 200:
                raise refusal(command, response.code, content)
            return content

    async def headers(self, command: str, *arguments: str, **options: Option) -> Headers:
        """The headers of a command's answer, whatever the answer is."""
        async with Turn(self, self.quick, self.timeout) as turn:
            response = await turn.request(command, arguments, options, None)
            await turn.collect(response, ANSWER_MAX)
            headers: Headers = response.headers
            return headers

    async def begin(
        self,
        turn: "Turn",
        command: str,
        arguments: Sequence[str],
        options: Mapping[str, Option],
        body: FormBody | None = None,
    ) -> BulkCall:
        """Begin a call whose body or answer is long, and return when its status is known to be 200.

        The node does not bound it: whoever takes the answer has to see that it moves, and to `abort` it.
        """
        call = await turn.begin(command, arguments, options, body)
        if call.status != 200:
            raise refusal(command, call.status, await turn.rest(call, ANSWER_MAX))
        return call

    async def send(self, command: str, options: Mapping[str, Option], body: FormBody, lane: Lane) -> bytes:
        """Send something long; all that the command answers."""
        async with self.turn(lane) as turn:
            call = await self.begin(turn, command, [], options, body)
            return await turn.rest(call, ANSWER_MAX)

    def headers_sent(self) -> list[tuple[bytes, Sequence[bytes]]]:
        """What is sent with every call."""
        return list(self._headers.getAllRawHeaders())

    def turn(self, lane: Lane, timeout: float | None = None) -> "Turn":
        """A turn in a lane, for the length of an ``async with``."""
        return Turn(self, lane, timeout or self.timeout)

    def parsed(self, command: str, content: bytes) -> Any:
        """The JSON document that an answer is, or None for an empty one."""
        if not content.strip():
            return None
        try:
            return json.loads(content)
        except ValueError:
            raise Unavailable(f"{command}: the node's answer is not JSON", RETRY_AFTER) from None

    def url(self, command: str, arguments: Sequence[str], options: Mapping[str, Option]) -> bytes:
        """Where a command is called."""
        query = [("arg", each) for each in arguments]
        for name, value in options.items():
            values = value if isinstance(value, tuple) else (_text(value),)
            query += [(name.replace("_", "-"), each) for each in values]
        return f"{self._address().url}/api/v0/{command}?{urlencode(query)}".encode("ascii")


class Turn:
    """One call: its place in a lane, its deadline, and what can go wrong on the way, as a `BucketError`."""

    def __init__(self, rpc: Rpc, lane: Lane, timeout: float) -> None:
        self._rpc = rpc
        self._lane = lane
        self._timeout = timeout
        self._what = ""

    async def __aenter__(self) -> "Turn":
        if self._rpc._stopped:
            raise Unavailable("the daemon is stopping")
        await self._bounded(self._lane.turns.acquire(), self._timeout, "too many calls are waiting for the node")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._lane.turns.release()

    async def request(
        self,
        command: str,
        arguments: Sequence[str],
        options: Mapping[str, Option],
        body: Body | None,
    ) -> IResponse:
        """Send a command; returns with the headers of its answer, whatever the status."""
        self._what = command
        if body is None:
            options = {"timeout": f"{self._timeout:g}s", **options}
        headers = self._rpc._headers.copy()
        if body is not None:
            headers.setRawHeaders(b"Content-Type", [body.content_type])
        url = self._rpc.url(command, arguments, options)
        answer = self._lane.agent.request(b"POST", url, headers, _producer(body))
        message = f"{command}: the node does not answer"
        try:
            if body is None:
                response: IResponse = await self._bounded(answer, self._timeout + GRACE_SECONDS, message)
            else:
                response = await self._while_moving(answer, body, message)
            return response
        finally:
            # A node that answers early reads no more, and the Agent would go on sending: docs/protocols/kubo.md,
            # "Streams".
            if body is not None:
                body.stopProducing()

    async def begin(
        self, command: str, arguments: Sequence[str], options: Mapping[str, Option], body: FormBody | None
    ) -> BulkCall:
        """Send a command on a connection of its own; returns with the headers of its answer, whatever the status."""
        self._what = command
        url = self._rpc.url(command, arguments, options)
        uri = URI.fromBytes(url)
        headers = [(b"Host", uri.netloc), *((name, values[0]) for name, values in self._rpc.headers_sent())]
        call = BulkCall(uri.originForm, headers, body)
        endpoint = self._lane.endpoints.endpointForURI(uri)
        message = f"{command}: the node does not answer"
        await self._bounded(connectProtocol(endpoint, call), CONNECT_SECONDS + GRACE_SECONDS, message)
        try:
            if body is None:
                await self._bounded(call.answered, self._timeout, message)
            else:
                await self._while_moving(call.answered, body, message)
        except BaseException:
            call.abort()
            raise
        finally:
            if body is not None:
                body.stopProducing()
        return call

    async def rest(self, call: BulkCall, limit: int) -> bytes:
        """The whole of an answer's body, which ends the call."""
        pieces: list[bytes] = []
        length = 0

        def came(data: bytes) -> None:
            nonlocal length
            length += len(data)
            if length > limit:
                call.abort()
            else:
                pieces.append(data)

        call.take(came)
        try:
            await self._bounded(call.ended, self._timeout, f"{self._what}: the node's answer does not end")
        finally:
            call.abort()
        if length > limit:
            raise Unavailable("the node's answer is longer than it can be", RETRY_AFTER)
        return call.content(b"".join(pieces))

    async def collect(self, response: IResponse, limit: int) -> bytes:
        """The whole of an answer's body."""
        collector = _Collector(self._what, limit)
        response.deliverBody(collector)
        message = f"{self._what}: the node's answer does not end"
        content: bytes = await self._bounded(collector.done, self._timeout + GRACE_SECONDS, message)
        return content

    async def _while_moving(self, answer: "Deferred[Any]", body: Body, message: str) -> Any:
        call: IDelayedCall

        def look() -> None:
            nonlocal call
            left = body.moved + self._timeout - self._rpc.reactor.seconds()
            if left > 0:
                call = self._rpc.reactor.callLater(left, look)
            else:
                answer.cancel()

        body.moved = self._rpc.reactor.seconds()
        call = self._rpc.reactor.callLater(self._timeout, look)
        try:
            return await self._translated(answer, message)
        finally:
            if call.active():
                call.cancel()

    async def _bounded(self, work: "Deferred[Any]", seconds: float, message: str) -> Any:
        call = self._rpc.reactor.callLater(seconds, work.cancel)
        try:
            return await self._translated(work, message)
        finally:
            if call.active():
                call.cancel()

    async def _translated(self, work: "Deferred[Any]", message: str) -> Any:
        under_way = self._rpc._under_way
        under_way.add(work)
        try:
            return await work
        except BucketError:
            raise
        except CancelledError:
            raise Unreachable("the daemon is stopping" if self._rpc._stopped else message, RETRY_AFTER) from None
        except Exception as error:
            if self._rpc._stopped:
                raise Unreachable("the daemon is stopping") from None
            raise Unreachable(f"{self._what or 'the node'}: {_why(error)}", RETRY_AFTER) from None
        finally:
            under_way.discard(work)


class _Collector(WireProtocol):
    def __init__(self, what: str, limit: int) -> None:
        self.done: Deferred[bytes] = Deferred(lambda _: self._abort())
        self._what = what
        self._limit = limit
        self._pieces: list[bytes] = []
        self._length = 0

    def dataReceived(self, data: bytes) -> None:
        self._pieces.append(data)
        self._length += len(data)
        if self._length > self._limit:
            self._finish(Failure(Unavailable("the node's answer is longer than it can be", RETRY_AFTER)))
            self._abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        # An answer without a length ends with its connection: what is made of it has to show that it is whole.
        ended = reason.check(ResponseDone, PotentialDataLoss)
        cut = CutOff(f"{self._what}: {_why(reason.value)}", RETRY_AFTER)
        self._finish(b"".join(self._pieces) if ended else Failure(cut))

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()

    def _finish(self, result: bytes | Failure) -> None:
        if not self.done.called:
            self.done.callback(result) if isinstance(result, bytes) else self.done.errback(result)


def _producer(body: Body | None) -> IBodyProducer | None:
    return None if body is None else cast(IBodyProducer, body)


def _text(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _why(error: BaseException | None) -> str:
    reasons = getattr(error, "reasons", None)
    if reasons:
        return _why(reasons[0].value)
    if isinstance(error, CancelledError):  # it was given up since nothing came in time
        return "the node does not answer"
    return " ".join(str(error).split()) or type(error).__name__
