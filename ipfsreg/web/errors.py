"""Failures become the OCI error document with its status, in one place (distribution-spec, "Error Codes")."""

import json
import time
from collections.abc import Mapping
from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.exceptions import NotFound as RouteNotFound

from ipfsreg.bucket.errors import (
    BucketError,
    Corrupt,
    Forbidden,
    Full,
    KeyMissing,
    PathTooLong,
    Refused,
    TooLarge,
    Unavailable,
    Unchangeable,
)
from ipfsreg.flow.rationed import Rationed
from ipfsreg.registry.errors import NotInTime, RangeInvalid, ReadOnly, RegistryError, TooManyRequests

from .http.body import BodyTooLong, ClientGone, ClientTooSlow
from .http.request import Request
from .http.request_id import HEADER as REQUEST_ID_HEADER

_log = Logger()

_OPERATORS = 500  # from this status on it is for the operator to look


_KIND_MAX = 200


def _left_out(kind: str, count: int) -> None:
    _log.error("{count} more requests failed and were not logged: {error}", count=count, error=kind)


_told = Rationed(time.monotonic, _left_out, times=20, seconds=60.0, kinds=100, others="for various reasons")
"""Failures of the storage by what they say: clients ask for one damaged file, or during an outage, without end."""


def tell_left_out() -> None:
    """Log how many failures of the storage were counted and not logged so far. For the daemon's end."""
    _told.stop()


class HttpError(Exception):
    """A request that is answered with a status and an error document, whatever it is about."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers or {}


def error_document(code: str, message: str, detail: Any = None) -> bytes:
    """The content of an error answer."""
    error: dict[str, Any] = {"code": code, "message": message}
    if detail is not None:
        error["detail"] = detail
    return json.dumps({"errors": [error]}).encode()


def answer_error(request: Request, status: int, code: str, message: str, detail: Any = None) -> bytes | None:
    """Make an error the answer of a request; what it returns is the content."""
    if request.started:
        # The answer's headers are out: all that can still say "this failed" is a connection cut short.
        request.drop()
        return None
    request.set_header(REQUEST_ID_HEADER, request.identifier)
    request.prepare(status, {"Content-Type": "application/json"})
    if status >= _OPERATORS:
        message += f" (request {request.identifier})"  # clients show no more than this, and the log has it too
    return error_document(code, message, detail)


def refuse(request: Request, status: int, code: str, message: str) -> None:
    """End a request with an error."""
    request.end(answer_error(request, status, code, message) or b"")


def answer_failure(request: Request, error: Exception) -> bytes | None:
    """Answer a request whose handler failed; see `answer_error`. What is the operator's to know is logged."""
    if isinstance(error, HttpError):
        for name, value in error.headers.items():
            request.set_header(name, value)
        return answer_error(request, error.status, error.code, str(error))
    if isinstance(error, RegistryError):
        return _registry_error(request, error)
    if isinstance(error, BucketError):
        return _bucket_error(request, error)
    if isinstance(error, ClientGone):
        request.drop()
        return None
    if isinstance(error, ClientTooSlow):
        return answer_error(request, 408, "UNSUPPORTED", str(error))
    if isinstance(error, BodyTooLong):
        return answer_error(request, 413, "SIZE_INVALID", f"the request's body is longer than {error} bytes")
    if isinstance(error, HTTPException):
        return _route_error(request, error)
    _log.failure("{method} {path} failed", Failure(error), method=_text(request.method), path=_text(request.path))
    return answer_error(request, 500, "UNKNOWN", "the registry failed; its log says how")


def _registry_error(request: Request, error: RegistryError) -> bytes | None:
    if isinstance(error, RangeInvalid):
        request.set_header("Content-Range", f"bytes */{error.detail['size']}")
    elif isinstance(error, TooManyRequests):
        request.set_header("Retry-After", 60)
    elif isinstance(error, NotInTime):
        request.set_header("Retry-After", error.retry_after)
    elif isinstance(error, ReadOnly):
        request.set_header("Allow", "GET, HEAD")
    return answer_error(request, error.status, error.code, error.message, error.detail)


def _bucket_error(request: Request, error: BucketError) -> bytes | None:
    if isinstance(error, PathTooLong):
        return answer_error(request, 400, "NAME_INVALID", str(error))
    if isinstance(error, Unchangeable):
        return answer_error(request, 405, "UNSUPPORTED", "the registry's storage can only be read")
    if _told.may_pass(str(error)[:_KIND_MAX]):
        _log.error("{method} {path}: {error}", method=_text(request.method), path=_text(request.path), error=error)
    if isinstance(error, Full):
        return answer_error(request, 507, "UNAVAILABLE", "the registry's storage is full")
    if isinstance(error, TooLarge):
        return answer_error(request, 413, "SIZE_INVALID", "more than the registry's storage takes")
    if isinstance(error, Refused) and not isinstance(error, Forbidden):
        return answer_error(request, 502, "UNAVAILABLE", "the registry's storage refuses its credentials or quota")
    # Of these each may be over soon: a disk is mended while the daemon runs.
    request.set_header("Retry-After", error.retry_after if isinstance(error, Unavailable) else 60)
    return answer_error(request, 503, "UNAVAILABLE", _outage(error))


def _outage(error: BucketError) -> str:
    if isinstance(error, KeyMissing):
        return "this daemon's member has no key for what is stored here; the registry's log says which"
    if isinstance(error, Forbidden):
        return "the registry may not use its own disk now (read-only, or permissions); its log says where"
    if isinstance(error, Corrupt):
        return "what the registry's storage has here is damaged; its log names it"
    return "the registry's storage does not answer; try again later"


def _route_error(request: Request, error: HTTPException) -> bytes | None:
    if isinstance(error, MethodNotAllowed):
        methods = ", ".join(sorted(error.valid_methods or ()))
        request.set_header("Allow", methods)
        return answer_error(request, 405, "UNSUPPORTED", f"the method is not one of {methods}")
    if isinstance(error, RouteNotFound):
        return answer_error(request, 404, "UNSUPPORTED", "no such endpoint")
    return answer_error(request, error.code or 500, "UNSUPPORTED", error.description or "")


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace")
