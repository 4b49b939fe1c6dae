"""Failures become the OCI error document with its status, in one place (distribution-spec, "Error Codes")."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from klein import Klein
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.exceptions import NotFound as RouteNotFound

from ipfsreg.bucket.errors import BucketError, Full, Refused, TooLarge, Unavailable, Unchangeable
from ipfsreg.registry.errors import NotInTime, RangeInvalid, ReadOnly, RegistryError, TooManyRequests

from .body import ClientGone
from .error_document import error_document
from .request import StreamingRequest

_log = Logger()

E = TypeVar("E", bound=Exception)


def answer_error(request: StreamingRequest, status: int, code: str, message: str, detail: Any = None) -> bytes:
    """Make an error the answer of a request that has none yet; what it returns is for Klein to write."""
    content = error_document(code, message, detail)
    request.setResponseCode(status)
    request.setHeader(b"Content-Type", b"application/json")
    request.setHeader(b"Content-Length", b"%d" % len(content))
    return content


def add_error_handlers(app: Klein) -> None:
    """Answer every failure of a handler with its error document.

    Klein asks the handlers in the order in which they were added.
    """
    _add(app, RegistryError, _registry_error)
    _add(app, BucketError, _bucket_error)
    _add(app, ClientGone, _client_gone)
    _add(app, HTTPException, _route_error)
    _add(app, Exception, _unexpected)


def _add(app: Klein, kind: type[E], answer: Callable[[StreamingRequest, E], bytes | None]) -> None:
    @app.handle_errors(kind)
    def handle(request: IRequest, failure: Failure) -> bytes | None:
        assert isinstance(failure.value, kind)
        return answer(cast(StreamingRequest, request), failure.value)


def _registry_error(request: StreamingRequest, error: RegistryError) -> bytes | None:
    if isinstance(error, RangeInvalid):
        request.setHeader(b"Content-Range", b"bytes */%d" % error.detail["size"])
    elif isinstance(error, TooManyRequests):
        request.setHeader(b"Retry-After", b"60")
    elif isinstance(error, NotInTime):
        request.setHeader(b"Retry-After", b"%d" % error.retry_after)
    elif isinstance(error, ReadOnly):
        request.setHeader(b"Allow", b"GET, HEAD")
    return _unless_begun(request, error.status, error.code, error.message, error.detail)


def _bucket_error(request: StreamingRequest, error: BucketError) -> bytes | None:
    log_bucket_error(request, error)
    if isinstance(error, Full):
        return _unless_begun(request, 507, "UNAVAILABLE", "the registry's storage is full")
    if isinstance(error, TooLarge):
        return _unless_begun(request, 413, "SIZE_INVALID", "more than the registry's storage takes")
    if isinstance(error, Unchangeable):
        return _unless_begun(request, 405, "UNSUPPORTED", "the registry's storage can only be read")
    if isinstance(error, Refused):
        return _unless_begun(request, 502, "UNAVAILABLE", "the registry's storage refuses its credentials or quota")
    retry_after = error.retry_after if isinstance(error, Unavailable) else 60
    request.setHeader(b"Retry-After", b"%d" % retry_after)
    return _unless_begun(request, 503, "UNAVAILABLE", "the registry's storage does not answer; try again later")


def _client_gone(request: StreamingRequest, error: ClientGone) -> None:
    request.drop()


def _route_error(request: StreamingRequest, error: HTTPException) -> bytes | None:
    if isinstance(error, MethodNotAllowed):
        methods = ", ".join(sorted(error.valid_methods or ()))
        request.setHeader(b"Allow", methods.encode())
        return _unless_begun(request, 405, "UNSUPPORTED", f"the method is not one of {methods}")
    if isinstance(error, RouteNotFound):
        return _unless_begun(request, 404, "UNSUPPORTED", "no such endpoint")
    return _unless_begun(request, error.code or 500, "UNSUPPORTED", error.description or "")


def _unexpected(request: StreamingRequest, error: Exception) -> bytes | None:
    log_unexpected(request, Failure(error))
    return _unless_begun(request, 500, "UNKNOWN", "the registry failed; its log says how")


def log_bucket_error(request: StreamingRequest, error: BucketError) -> None:
    """One line for the operator."""
    _log.error("{method} {path}: {error}", method=_text(request.method), path=_text(request.path), error=error)


def log_unexpected(request: StreamingRequest, failure: Failure) -> None:
    """What is a bug, with its traceback."""
    _log.failure("{method} {path} failed", failure, method=_text(request.method), path=_text(request.path))


def _unless_begun(request: StreamingRequest, status: int, code: str, message: str, detail: Any = None) -> bytes | None:
    if not request.startedWriting:
        return answer_error(request, status, code, message, detail)
    # The answer's headers are out: all that can still say "this failed" is a connection cut short.
    request.drop()
    return None


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace")
