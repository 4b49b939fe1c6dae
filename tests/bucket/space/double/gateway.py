"""The daemon's REST gateway: the same calls as JSON. Faults of bytes on a connection don't reach it.

See docs/protocols/space.md, "REST gateway".
"""

import json
from http import HTTPStatus
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from twisted.internet.defer import Deferred
from twisted.protocols.policies import WrappingFactory
from twisted.python.failure import Failure
from twisted.web.http import Request as HttpRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from ipfsreg.bucket.space.proto import space_pb2
from tests.grpcweb_double import call as codes
from tests.grpcweb_double.call import Call
from tests.grpcweb_double.dispatcher import Dispatcher
from tests.grpcweb_double.wire import frame

SERVICE = space_pb2.DESCRIPTOR.services_by_name["SpaceApi"]

ROUTES = {
    "POST /v1/appTokens/master": "InitializeMasterAppToken",
    "POST /v1/keypairs/generate": "GenerateKeyPair",
    "POST /v1/keypairs/forceGenerate": "GenerateKeyPairWithForce",
    "POST /v1/publicKey": "GetPublicKey",
    "POST /v1/buckets": "CreateBucket",
    "GET /v1/buckets": "ListBuckets",
    "POST /v1/files": "AddItems",
    "POST /v1/files/open": "OpenFile",
    "DELETE /v1/files": "RemoveDirOrFile",
    "GET /v1/directories": "ListDirectory",
    "GET /v1/directories/all": "ListDirectories",
    "POST /v1/directories": "CreateFolder",
    "POST /v1/buckets/{bucket}/share": "ShareBucket",
    "POST /v1/buckets/{bucket}/generatePublicFileLink": "GeneratePublicFileLink",
    "POST /v1/backup": "ToggleBucketBackup",
    "POST /v1/backup/restore": "BucketBackupRestore",
    "GET /v1/usage": "GetUsageInfo",
}

HTTP_STATUS = {
    codes.CANCELLED: 408,
    codes.UNKNOWN: 500,
    codes.INVALID_ARGUMENT: 400,
    codes.DEADLINE_EXCEEDED: 504,
    codes.NOT_FOUND: 404,
    codes.PERMISSION_DENIED: 403,
    codes.RESOURCE_EXHAUSTED: 429,
    codes.FAILED_PRECONDITION: 400,
    codes.UNIMPLEMENTED: 501,
    codes.INTERNAL: 500,
    codes.UNAVAILABLE: 503,
    codes.UNAUTHENTICATED: 401,
}

_TRUE = {"1", "t", "T", "TRUE", "true", "True"}


def compact(value: object) -> bytes:
    """JSON as Go writes it."""
    return json.dumps(value, separators=(",", ":")).encode()


def message_dict(payload: bytes, kind: type[Message]) -> Any:
    """A message as JSON has it: defaults left out, 64-bit numbers as strings."""
    return MessageToDict(kind.FromString(payload), preserving_proto_field_name=True)


class JsonAnswer:
    """The sending half of one call: the responder."""

    def __init__(self, request: Request, kind: type[Message], streaming: bool) -> None:
        self._request = request
        self._kind = kind
        self._streaming = streaming
        self._started = False
        self._message = b""
        self.lost = False

    def message(self, payload: bytes) -> None:
        """A line, or the body to come."""
        if not self._streaming:
            self._message = payload
        else:
            self._write(200, compact({"result": message_dict(payload, self._kind)}) + b"\n")

    def finish(self, code: int, text: str) -> None:
        """The body, or the line that a stream breaks off with."""
        status = 200 if code == 0 else HTTP_STATUS[code]
        if code and self._streaming:
            error = {"grpc_code": code, "http_code": status, "message": text}
            error["http_status"] = HTTPStatus(status).phrase
            self._write(status, compact({"error": error}))
        elif code:
            self._write(status, compact({"error": text, "code": code, "message": text}))
        elif not self._streaming:
            self._write(status, compact(message_dict(self._message, self._kind)))
        if not self.lost:
            self._request.finish()

    def end_without_status(self) -> None:
        """The daemon is gone in the middle of it."""
        if not self.lost:
            self._request.loseConnection()

    def writable(self) -> "Deferred[None] | None":
        """None: a slow reader makes nobody wait here."""
        return None

    def _write(self, status: int, data: bytes) -> None:
        if self.lost:
            return
        if not self._started:
            self._started = True
            self._request.setResponseCode(status)
            self._request.setHeader("Content-Type", "application/json")
        self._request.write(data)


class Gateway(Resource):
    """All paths."""

    isLeaf = True

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__()
        self._dispatcher = dispatcher

    def render(self, request: Request) -> Any:
        try:
            return self._render(request)
        except Exception:
            self._dispatcher.failures.append(Failure())
            raise

    def _render(self, request: Request) -> Any:
        request.setHeader("Access-Control-Allow-Origin", "*")
        path = request.path.decode("latin-1")
        found = find_route(request.method.decode(), path)
        if found is None:
            request.setResponseCode(404)
            return b"Not Found\n"
        method, fields = found
        descriptor = SERVICE.methods_by_name[method]
        answer = JsonAnswer(request, GetMessageClass(descriptor.output_type), descriptor.server_streaming)
        try:
            message = read_request(request, GetMessageClass(descriptor.input_type), fields)
        except (ParseError, ValueError) as error:
            answer.finish(codes.INVALID_ARGUMENT, str(error))
            return NOT_DONE_YET
        headers = request.requestHeaders.getAllRawHeaders()
        metadata = {name.decode().lower(): values[0].decode("latin-1") for name, values in headers}
        call = self._dispatcher.begin(f"/{SERVICE.full_name}/{method}", metadata, "rest", answer)
        request.notifyFinish().addErrback(self._lost, call, answer)
        call.data_received(frame(message.SerializeToString()))
        call.ended()
        self._dispatcher.run(call)
        return NOT_DONE_YET

    @staticmethod
    def _lost(_: object, call: Call, answer: JsonAnswer) -> None:
        answer.lost = True
        call.cancel()


def find_route(verb: str, path: str) -> tuple[str, dict[str, str]] | None:
    """The method of a request, and the fields that its path has."""
    parts = f"{verb} {path}".split("/")
    for route, method in ROUTES.items():
        known = route.split("/")
        pairs = list(zip(known, parts, strict=False))
        if len(known) == len(parts) and all(one == other or one[:1] == "{" for one, other in pairs):
            return method, {one[1:-1]: other for one, other in pairs if one[:1] == "{"}
    return None


def read_request(request: Request, kind: type[Message], fields: dict[str, str]) -> Message:
    """The message in a request: its body as JSON, or its query.

    :raises ValueError: where it is none.
    :raises ParseError: where JSON has something else in a field.
    """
    values: dict[str, Any] = {}
    if request.method == b"POST":
        body = request.content.read() if request.content is not None else b""
        values = json.loads(body or b"{}")
        if not isinstance(values, dict):
            raise ValueError(f"json: cannot unmarshal into Go value of type {kind.DESCRIPTOR.name}")
    else:
        known = kind.DESCRIPTOR.fields_by_name
        for raw, texts in (request.args or {}).items():
            name, text = raw.decode(), texts[-1].decode()
            if name in known:
                values[name] = text in _TRUE if known[name].type == known[name].TYPE_BOOL else text
    return ParseDict({**values, **fields}, kind(), ignore_unknown_fields=True)


class _QuietSite(Site):
    def log(self, request: HttpRequest) -> None:
        """Leave the test's log alone."""


def gateway_factory(dispatcher: Dispatcher) -> WrappingFactory:
    """For a listening port. Its `protocols` are the connections."""
    factory = WrappingFactory(_QuietSite(Gateway(dispatcher)))
    factory.noisy = False
    return factory
