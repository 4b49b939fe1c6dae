"""A request and its answer. It is handled when its headers have arrived, with its body still to come.

It is no `IRequest` of Twisted's, which has sessions, cookies and trees of resources. Klein needs none of that: its map
of routes finds the handler (`ipfsreg.web.routes`), and hands this on as it is.
"""

import time
from collections.abc import Callable, Mapping
from enum import Enum, auto
from http import HTTPStatus
from typing import Protocol

from twisted.internet.interfaces import IAddress, IConsumer, IProducer
from twisted.web.http import parse_qs
from zope.interface import implementer

from ipfsreg.flow.workers import Workers

from .body import Body, BodySource, ClientGone
from .head import Head
from .headers import Headers, encode
from .limits import DRAIN_MAX
from .output import Output
from .request_id import request_id

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_NO_CONTENT = frozenset({204, 304})
_READING = frozenset({b"GET", b"HEAD"})
_HOST_LENGTH = 270


class Answer(Enum):
    """How far the answer is."""

    AWAITED = auto()
    BEGUN = auto()
    COMPLETE = auto()


class RequestChannel(BodySource, Protocol):
    """What a request needs of its connection."""

    secure: bool
    output: Output
    read_to_end: bool
    """Whether the client has said that it sends nothing more."""

    @property
    def host(self) -> IAddress:
        """This side's address."""

    @property
    def peer(self) -> IAddress:
        """The client's address."""

    def common_headers(self) -> bytes:
        """The lines that every answer has."""

    def write(self, data: bytes) -> None:
        """Send bytes."""

    def answered(self) -> None:
        """The answer is complete."""

    def end_after_answer(self) -> None:
        """The connection cannot be used again."""

    def give_up_body(self) -> None:
        """Wait no longer for the rest of the body."""

    def client_certificate(self) -> bytes | None:
        """The client's certificate in DER, which TLS has verified."""

    def drop(self) -> None:
        """End the connection at once."""


@implementer(IConsumer)
class Request:
    """One request.

    ``headers`` are those of the request, with lower-case names. ``sent_length`` is how many bytes of content were
    sent, for the log.
    """

    def __init__(self, channel: RequestChannel, head: Head) -> None:
        self.began = time.monotonic()
        """When its headers had arrived."""
        self.method = head.method
        self.uri = head.target
        self.path, _, self._query = head.target.partition(b"?")
        self.fields = fields = head.fields
        """Its headers, and what is remembered of requests with the same ones."""
        self.is_1_1 = fields.is_1_1
        self.headers = fields.headers
        self.body = Body(channel, fields.length, expects_continue=fields.expects_continue)
        self.code = 200
        self.answer = Answer.AWAITED
        self.user: object = None
        """Who asks, once `identify` was told."""
        self.route = ""
        """The name of the route that it has taken, once that is known."""
        self.rule = ""
        """The path of that route, with ``<`` and ``>`` around the names of its arguments."""
        self.arguments: Mapping[str, object] = {}
        """What that route takes out of the path."""
        self.gone = False
        """Whether the client went away, so that nobody reads an answer."""
        self.sent_length = 0
        self._channel = channel
        self._keeps = fields.keep_alive
        self._args: dict[bytes, list[bytes]] | None = None
        self._identifier: str | None = None
        self._headers: Headers | Mapping[str, object] = {}
        self._more: list[tuple[str, object]] = []
        self._is_chunked = False
        self._declared: int | None = None
        self._at_end: Callable[[], None] | None = None
        self._over: Callable[[], None] | None = None

    @property
    def args(self) -> dict[bytes, list[bytes]]:
        """The query's parameters, decoded."""
        if self._args is None:
            self._args = parse_qs(self._query, keep_blank_values=1) if self._query else {}
        return self._args

    @property
    def identifier(self) -> str:
        """What it is called in the log and in its answer: as the client says (``X-Request-ID``), or as we say."""
        if self._identifier is None:
            self._identifier = request_id(self.headers.get(b"x-request-id"))
        return self._identifier

    def call_it(self, identifier: str) -> None:
        """Say what it is called, unless the client does or it has a name already."""
        if self._identifier is None:
            self._identifier = request_id(self.headers.get(b"x-request-id"), identifier)

    @property
    def only_reads(self) -> bool:
        """Whether its method changes nothing (RFC 9110, 9.2.1), as GET and HEAD do not."""
        return self.method in _READING

    @property
    def asked_host(self) -> str:
        """The host and port by which the client calls this one: nothing else, whatever its Host header says."""
        host = "".join(each for each in self.header("host") or "" if each.isascii() and _is_of_host(each))
        return host[:_HOST_LENGTH] or "localhost"

    @property
    def started(self) -> bool:
        """Whether a part of the answer is out."""
        return self.answer is not Answer.AWAITED

    @property
    def is_secure(self) -> bool:
        """Whether the connection has TLS."""
        return self._channel.secure

    @property
    def host(self) -> IAddress:
        """This side's address."""
        return self._channel.host

    @property
    def peer(self) -> IAddress:
        """The client's address."""
        return self._channel.peer

    def header(self, name: str) -> str | None:
        """The value of a header, several of them joined by commas, or None. Any byte may be in it (as Latin-1)."""
        value = self.headers.get(name.lower().encode("ascii"))
        return None if value is None else value.decode("latin-1")

    def client_certificate(self) -> bytes | None:
        """The certificate that the client showed, in DER, or None. TLS has verified it."""
        return self._channel.client_certificate()

    def identify(self, user: object) -> None:
        """Say who asks, for the handler that runs next."""
        self.user = user

    def prepare(self, status: int, headers: Headers | Mapping[str, object]) -> None:
        """Say what the answer will be, in place of what was said before; headers whose value is None are left out."""
        self.code = status
        self._headers = headers

    def set_header(self, name: str, value: object) -> None:
        """Set a header that the answer has whatever is prepared, in place of those of that name."""
        self._more = [each for each in self._more if each[0] != name]
        self.add_header(name, value)

    def add_header(self, name: str, value: object) -> None:
        """As `set_header`, beside others of that name."""
        self._more.append((name, value))

    def write(self, data: bytes) -> None:
        """Send a part of the content, with the headers before the first one."""
        if self.gone or self.answer is Answer.COMPLETE:
            return
        if self.answer is Answer.AWAITED:
            head = self._begin(None)
            self._channel.write(head + self._framed(data) if data else head)
        elif data:
            self._channel.write(self._framed(data))

    def end(self, content: bytes = b"") -> None:
        """Send the rest of the answer, or all of it."""
        if self.gone or self.answer is Answer.COMPLETE:
            return
        if self.answer is Answer.AWAITED:
            head = self._begin(len(content))
            self._channel.write(head + self._framed(content))
        elif content:
            self._channel.write(self._framed(content))
        if self._is_chunked:
            self._channel.write(b"0\r\n\r\n")
        if self._declared is not None and self._declared != self.sent_length:
            self.drop()  # the client must not take the next answer for the rest of this one
            return
        self.answer = Answer.COMPLETE
        self._end_watch()
        self._channel.answered()

    async def send_file(self, workers: Workers, file: int, offset: int, length: int) -> None:
        """Send the headers and a range of an open file, whose descriptor is ``file``, past Python (not with TLS).

        ``workers`` wait for the disk.

        :raises SocketGone: :raises FileEnds: :raises OSError: as `SocketSender`.
        """
        head = self._begin(length)
        await self._channel.output.send_file(workers, head, file, offset, length)
        self.sent_length += length

    def drop(self) -> None:
        """End the connection at once: what has been sent of an answer stays visibly incomplete."""
        if not self.gone and self.answer is not Answer.COMPLETE:
            self._channel.drop()

    def end_with_client(self, end: Callable[[], None]) -> None:
        """Have an answer without an end ended when the client says that it sends nothing more: that is how one goes."""
        self._at_end = end
        if self._channel.read_to_end:
            end()

    def when_over(self, over: Callable[[], None]) -> None:
        """Call it once: when the whole answer is given, or the client is gone."""
        self._over = over

    def client_has_sent_all(self) -> None:
        """The connection's side: the client said so. It still reads answers that have an end."""
        if self._at_end is not None:
            self._at_end()

    def client_gone(self) -> None:
        """The connection's side: nobody reads the answer any more, and no more of the body comes."""
        self.gone = True
        self._at_end = None
        self._end_watch()
        self.body.lost(ClientGone("the client went away before its request was whole"))

    def give_up_body(self) -> None:
        """Wait no longer for the rest of the body: who reads it is told `ClientTooSlow`."""
        if not self.gone:
            self._channel.give_up_body()

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """See `IConsumer`. Only push producers."""
        assert streaming
        if self.gone:
            producer.stopProducing()
        else:
            self._channel.output.register_producer(producer)

    def unregisterProducer(self) -> None:
        self._channel.output.unregister_producer()

    def _end_watch(self) -> None:
        over, self._over = self._over, None
        if over is not None:
            over()

    def _begin(self, length: int | None) -> bytes:
        """The answer's head; ``length`` is the content's where it is known."""
        headers = self._headers if isinstance(self._headers, Headers) else Headers(self._headers)
        more = self._more
        if headers.length is not None:
            self._declared = None if self.method == b"HEAD" else headers.length
        elif self.code not in _NO_CONTENT:
            if length is not None:
                more = [*more, ("Content-Length", str(length))]
            elif self.is_1_1:
                self._is_chunked = self.method != b"HEAD"
                more = [*more, ("Transfer-Encoding", "chunked")]
            else:
                self._keeps = False  # its end is the connection's
        if not (self._keeps and self.body.can_be_drained(DRAIN_MAX)):
            more = [*more, ("Connection", "close")]
            self._channel.end_after_answer()
        rest = encode(more) if more else b""
        self.answer = Answer.BEGUN
        return b"".join((_STATUS_LINES[self.code], self._channel.common_headers(), headers.text, rest, b"\r\n"))

    def _framed(self, data: bytes) -> bytes:
        if self.method == b"HEAD" or self.code in _NO_CONTENT:
            return b""
        self.sent_length += len(data)
        return b"%x\r\n%b\r\n" % (len(data), data) if self._is_chunked and data else data


def _is_of_host(letter: str) -> bool:
    return letter.isalnum() or letter in ".-_:[]"
