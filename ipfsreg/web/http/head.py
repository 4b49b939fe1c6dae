"""A request's line and headers, and what of them is refused (RFC 9112).

llhttp reads the headers. It refuses a bare LF, folded lines, a space before a colon, control characters, and two ways
of saying where the body ends. The request line is read here, since llhttp knows a closed list of methods.
"""

from dataclasses import dataclass
from http import HTTPStatus

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from .limits import HEAD_MAX, HEADERS_MAX

END = b"\r\n\r\n"

_CONTROLS = bytes(range(0x21)) + b"\x7f"
_KNOWN_MOST = 2  # one for lists and manifests, say, and one for blobs
_KNOWN_LENGTH = 4096  # in bytes
_LENGTH_DIGITS = 18  # more than any disk has


class BadRequest(Exception):
    """What came is not a request, or too long for one: the answer is ``status``, and the connection ends."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(slots=True)
class Fields:
    """The version and the headers of a request.

    ``headers`` have lower-case names; several values of a name are joined by commas (RFC 9110, 5.3). ``length`` is the
    body's in bytes, or None for a chunked one. ``keep_alive`` says whether the client can go on with the connection.
    """

    is_1_1: bool
    headers: dict[bytes, bytes]
    length: int | None = 0
    keep_alive: bool = True
    expects_continue: bool = False
    remembered: object = None
    """What a handler likes to remember of all requests that have the very same fields on the same connection."""


@dataclass(slots=True)
class Head:
    """A request without its body."""

    method: bytes
    target: bytes
    fields: Fields


def parse_head(data: bytes, most: int = HEADERS_MAX, known: dict[bytes, Fields] | None = None) -> Head:
    """Read a head, from the request line to the empty line with which it ends. It has ``most`` headers at most.

    ``known`` are fields that the client has sent lately, which it mostly sends again; this keeps it.

    :raises BadRequest: where it is not a request of HTTP/1.1 or 1.0.
    """
    end = data.find(b"\r\n")
    method, target, is_1_1 = _parse_line(data[:end])
    text = data[end - len(b"1.1") :]  # the version is a part of what they mean
    fields = None if known is None else known.get(text)
    if fields is None:
        fields = _parse_fields(text, most, is_1_1=is_1_1)
        if known is not None and len(text) <= _KNOWN_LENGTH:
            if len(known) >= _KNOWN_MOST:
                known.clear()
            known[text] = fields
    return Head(method, target, fields)


def _parse_fields(text: bytes, most: int, *, is_1_1: bool) -> Fields:
    """The headers of a head, from the version in its request line to its end.

    :raises BadRequest: where they are not headers.
    """
    if text.count(b"\r\n") - 2 > most:
        raise BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"more than {most} headers")
    fields = _Fields()
    try:
        HttpRequestParser(fields).feed_data(b"GET / HTTP/1.1" + text[len(b"1.1") :])
    except HttpParserUpgrade:
        pass  # nobody has to accept an offer to speak another protocol
    except HttpParserError as error:
        raise _bad(str(error)) from None
    if fields.heads != 1:
        raise _bad("not the headers of one request")
    headers = fields.headers
    length = _body_length(headers, fields.repeated, is_1_1=is_1_1)
    connection = headers.get(b"connection")
    closes = connection is not None and b"close" in [token.strip() for token in connection.lower().split(b",")]
    expects_continue = is_1_1 and headers.get(b"expect", b"").lower() == b"100-continue"
    return Fields(is_1_1, headers, length, is_1_1 and not closes, expects_continue)


def _parse_line(line: bytes) -> tuple[bytes, bytes, bool]:
    """The method and the target of a request line, and whether its version is 1.1.

    :raises BadRequest: where it is not a request line.
    """
    try:
        method, target, version = line.split(b" ")
    except ValueError:
        raise _bad("not a request of HTTP/1.1") from None
    if version not in {b"HTTP/1.1", b"HTTP/1.0"}:
        raise _bad("not a request of HTTP/1.1")
    if not (method.isalpha() and method.isupper()):
        raise _bad("not a method")
    if not target:
        raise _bad("no target")
    if target[:1] != b"/":
        target = _origin_form(target)
    if len(target.translate(None, _CONTROLS)) != len(target):
        raise _bad("a control character in the target")
    return method, target, version == b"HTTP/1.1"


def check_beginning(data: bytes, most: int = HEAD_MAX) -> None:
    """Check a head whose end has not come yet, so that the end of a bad one is not waited for.

    ``most`` is how many bytes it may have.

    :raises BadRequest: as `parse_head`.
    """
    line, found, _ = data.partition(b"\r\n")
    if len(data) > most:
        if found and len(line) < most:
            message = f"a request line with headers of more than {most} bytes"
            raise BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, message)
        raise BadRequest(HTTPStatus.REQUEST_URI_TOO_LONG, f"a path of more than {most} bytes")
    if data.count(b"\n") != data.count(b"\r\n"):
        raise _bad("a line that ends without CR")
    if found:
        _parse_line(line)


class _Fields:
    """The headers that llhttp has read; it calls the methods."""

    __slots__ = ("headers", "heads", "repeated")

    def __init__(self) -> None:
        self.headers: dict[bytes, bytes] = {}
        self.repeated: set[bytes] = set()
        self.heads = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        value = value.rstrip(b" \t")
        if name in self.headers:
            self.repeated.add(name)
            value = self.headers[name] + b", " + value
        self.headers[name] = value

    def on_headers_complete(self) -> None:
        self.heads += 1


def _body_length(headers: dict[bytes, bytes], repeated: set[bytes], *, is_1_1: bool) -> int | None:
    """How many bytes the body has; None for a chunked one."""
    if b"host" in repeated or (is_1_1 and b"host" not in headers):
        raise _bad("a request has one Host header (RFC 9112, 3.2)")
    coding = headers.get(b"transfer-encoding")
    length = headers.get(b"content-length")
    if coding is not None:
        # A second coding, or one to a client of 1.0, is read differently by others on the way (RFC 9112, 6.1).
        if coding.lower() != b"chunked" or not is_1_1 or length is not None:
            raise _bad("the only transfer coding here is chunked, alone and in HTTP/1.1")
        return None
    if length is None:
        return 0
    if not length.isdigit() or b"content-length" in repeated:
        raise _bad("not a Content-Length")
    if len(length) > _LENGTH_DIGITS:
        raise _bad("a Content-Length longer than any disk")
    return int(length)


def _origin_form(target: bytes) -> bytes:
    """The path and query of a target; a server has to take the absolute form too (RFC 9112, 3.2.2)."""
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() not in {b"http", b"https"}:
        return target
    authority, _, query = rest.partition(b"?")
    _, _, path = authority.partition(b"/")
    return b"/" + path + (b"?" + query if query else b"")


def _bad(message: str) -> BadRequest:
    return BadRequest(HTTPStatus.BAD_REQUEST, message)
