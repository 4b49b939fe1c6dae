"""A node's RPC: commands as POSTs, each bounded in time, in lanes that cannot starve each other.

Twisted's Agent without treq, whose redirects, cookies and decompression would be wrong here. Neither shows the
trailer in which a node reports an error after output began (``X-Stream-Error``): the reader of a stream has to check
what came against what should have come (docs/protocols/kubo.md, "Streams").
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias
from urllib.parse import urlencode

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import connectProtocol
from twisted.python.failure import Failure
from twisted.web.client import URI
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from ipfsreg.bucket.errors import Unavailable
from ipfsreg.bucket.kubo.errors import RETRY_AFTER, CutOff, refusal
from ipfsreg.flow.http.answer_body import BodyTooLong, read_body
from ipfsreg.flow.tracing import NO_SPAN, Span, current

from .address import Address, remembered
from .body import FormBody
from .bulk import BulkCall
from .deadlines import Deadlines, why
from .lanes import CONNECT_SECONDS, Lane

ANSWER_MAX = 64 * 1024**2
"""The longest answer that is collected: a listing of a directory with some hundred thousand entries."""

REFUSAL_MAX = 1024**2
"""The longest answer that is collected where it says why a command failed."""

GRACE_SECONDS = 2.0
"""How much later than the node this side gives up on a call, so that the node's own answer comes first."""

_NO_ANSWER = "the node does not answer"
_NO_END = "the node's answer does not end"
_TOO_LONG = "the node's answer is longer than it can be"

Option: TypeAlias = str | int | bool | tuple[str, ...]
"""A value of an option; several are sent as the option several times."""

Options: TypeAlias = Mapping[str, Option]


class Rpc:
    """One node. ``address`` is asked again and again; ``authorization`` is the header's value, or None.

    ``connections`` are for bodies that are long on the way to the node; what is long on the way from it has as many of
    its own, and so have listings and small files. So clients that read slowly hold up nobody but each other.
    ``timeout`` is for one answer, in seconds. ``option`` names the option of the configuration that has the address.
    """

    def __init__(
        self,
        reactor: Any,
        address: Callable[[], Address],
        authorization: bytes | None,
        connections: int,
        timeout: float,
        option: str = "api",
    ) -> None:
        self.reactor = reactor
        self.timeout = timeout
        self.deadlines = Deadlines(reactor, lambda: f"is the IPFS node at {self._address()} ([kubo] {option})?")
        self.headers_sent = {b"User-Agent": b"ipfsreg"}
        """The headers of every call."""
        if authorization is not None:
            self.headers_sent[b"Authorization"] = authorization
        self._address = remembered(address, reactor.seconds)
        self._lanes: list[Lane] = []
        self.quick = self.lane(connections)
        self.bulk = self.lane(connections)
        self.downloads = self.lane(connections)

    def lane(self, connections: int) -> Lane:
        """Another lane, for calls that may take long for reasons of their own."""
        lane = Lane(self.reactor, self._address, connections)
        self._lanes.append(lane)
        return lane

    async def stop(self) -> None:
        """Give up what is under way, and close the connections."""
        self.deadlines.stop()
        for lane in self._lanes:
            await lane.pool.closeCachedConnections()

    async def json(self, command: str, *arguments: str, **options: Option) -> Any:
        """The one JSON document that a command answers, or None where the answer is empty.

        :raises BucketError: where it fails.
        """
        return parsed(command, await self.call(command, arguments, options))

    async def call(
        self,
        command: str,
        arguments: Sequence[str] = (),
        options: Options | None = None,
        *,
        body: FormBody | None = None,
        lane: Lane | None = None,
        seconds: float | None = None,
        limit: int = ANSWER_MAX,
    ) -> bytes:
        """All that a command answers, at most ``limit`` bytes.

        ``seconds`` is how long the node may work, unless an option ``timeout`` tells it less; where there is a body,
        how long nothing may move.

        :raises BucketError: where it fails.
        """
        async with self.slot(lane or self.quick, seconds) as slot:
            response = await slot.request(command, arguments, options or {}, body)
            content = await slot.collect(response, limit if response.code == 200 else REFUSAL_MAX)
            if response.code != 200:
                raise refusal(command, response.code, content)
            return content

    async def headers(self, command: str, *arguments: str, **options: Option) -> Headers:
        """The headers of a command's answer, whatever the answer is."""
        async with self.slot(self.quick) as slot:
            response = await slot.request(command, arguments, options, None)
            await slot.collect(response, ANSWER_MAX)
            headers: Headers = response.headers
            return headers

    async def send(self, command: str, options: Options, body: FormBody) -> bytes:
        """Send something long; all that the command answers."""
        async with self.slot(self.bulk) as slot:
            return await slot.rest(await slot.begin(command, [], options, body), ANSWER_MAX)

    def slot(self, lane: Lane, seconds: float | None = None) -> "Slot":
        """A place in a lane, for the length of an ``async with``. ``seconds`` bounds its calls, as in `call`."""
        return Slot(self, lane, seconds or self.timeout)

    def url(self, command: str, arguments: Sequence[str], options: Options) -> bytes:
        """Where a command is called."""
        query = [("arg", each) for each in arguments]
        for name, value in options.items():
            values = value if isinstance(value, tuple) else (_text(value),)
            query += [(name.replace("_", "-"), each) for each in values]
        return f"{self._address().url}/api/v0/{command}?{urlencode(query)}".encode("ascii")


class Slot:
    """One call's place in a lane. All that goes wrong with it is a `BucketError`."""

    def __init__(self, rpc: Rpc, lane: Lane, seconds: float) -> None:
        self._rpc = rpc
        self._lane = lane
        self._seconds = seconds
        self._deadlines = rpc.deadlines
        self._command = "the node"
        self._span: Span = NO_SPAN

    async def __aenter__(self) -> "Slot":
        self._deadlines.check()
        free, late = self._lane.slots.acquire(), "too many calls are waiting for it"
        await self._deadlines.within(free, self._seconds, self._command, late)
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, _: object) -> None:
        self._lane.slots.release()
        self._span.end(error)

    async def request(self, command: str, arguments: Sequence[str], options: Options, body: FormBody | None) -> Any:
        """Send a command; returns the `IResponse` when its headers are there, whatever the status."""
        if body is None:
            options = {"timeout": f"{self._seconds:g}s", **options}
        headers = Headers({name: [value] for name, value in self._begun(command).items()})
        if body is not None:
            headers.setRawHeaders(b"Content-Type", [body.content_type])
        answer: Deferred[IResponse] = self._lane.agent.request(
            b"POST", self._rpc.url(command, arguments, options), headers, body
        )
        return await self._answered(answer, body, self._seconds + (GRACE_SECONDS if body is None else 0))

    async def begin(
        self, command: str, arguments: Sequence[str], options: Options, body: FormBody | None = None
    ) -> BulkCall:
        """Begin a call whose body or answer is long; returns with the headers of its answer, whose status is 200.

        The node does not bound it: the caller has to see that the answer moves, and to `abort` it.

        :raises BucketError: where the command fails.
        """
        sent = self._begun(command).items()
        uri = URI.fromBytes(self._rpc.url(command, arguments, options))
        call = BulkCall(uri.originForm, [(b"Host", uri.netloc), *sent], body)
        connected = connectProtocol(self._lane.endpoints.endpointForURI(uri), call)
        await self._deadlines.within(connected, CONNECT_SECONDS + GRACE_SECONDS, command, _NO_ANSWER)
        try:
            await self._answered(call.answered, body, self._seconds)
        except BaseException:
            call.abort()
            raise
        if call.status != 200:
            raise refusal(command, call.status, await self.rest(call, REFUSAL_MAX))
        return call

    def _begun(self, command: str) -> dict[bytes, bytes]:
        """A command is about to be sent; the headers for it."""
        self._command = command
        self._span.end()
        self._span = current.get().child(f"kubo {command}")
        return {
            **self._rpc.headers_sent,
            **{name.encode("ascii"): value.encode("ascii") for name, value in self._span.headers.items()},
        }

    async def _answered(self, answer: "Deferred[Any]", body: FormBody | None, seconds: float) -> Any:
        try:
            return await self._deadlines.within(answer, seconds, self._command, _NO_ANSWER, body)
        finally:
            # A node that answers early reads no more, and the Agent would go on sending.
            if body is not None:
                body.stopProducing()

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
            await self._deadlines.within(call.ended, self._seconds, self._command, _NO_END)
        finally:
            call.abort()
        if length > limit:
            raise Unavailable(_TOO_LONG, RETRY_AFTER)
        if not call.whole:
            raise Unavailable("the node's answer is not whole", RETRY_AFTER)
        return b"".join(pieces)

    async def collect(self, response: IResponse, limit: int) -> bytes:
        """The whole of an answer's body."""
        body = read_body(response, limit).addErrback(self._cut_off)
        return await self._deadlines.within(body, self._seconds + GRACE_SECONDS, self._command, _NO_END)

    def _cut_off(self, failure: Failure) -> Failure:
        if failure.check(BodyTooLong):
            return Failure(Unavailable(_TOO_LONG, RETRY_AFTER))
        if failure.check(CancelledError):
            return failure
        return Failure(CutOff(f"{self._command}: {why(failure.value)}", RETRY_AFTER))


def parsed(command: str, content: bytes) -> Any:
    """The JSON document that an answer is, or None for an empty one. :raises Unavailable: for anything else."""
    if not content.strip():
        return None
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise Unavailable(f"{command}: the node's answer is not JSON", RETRY_AFTER) from None


@contextmanager
def reading(command: str) -> Iterator[None]:
    """A block that takes values out of an answer, and nothing else. :raises Unavailable: where they are not there."""
    try:
        yield
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, OverflowError):
        raise Unavailable(f"{command}: the node's answer is not one of a node", RETRY_AFTER) from None


def _text(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
