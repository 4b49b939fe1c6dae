"""From a request to the handler of its route, and from what that returns to the answer."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from werkzeug.exceptions import NotFound
from werkzeug.routing import BaseConverter, Rule

from ipfsreg.access.identity import Action
from ipfsreg.registry.errors import (
    BlobUnknown,
    DigestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    RegistryError,
    TagInvalid,
    UploadUnknown,
)

from .gate import Gate, Needs
from .http.request import Request
from .http.request_id import HEADER as REQUEST_ID_HEADER
from .http.request_id import current

T = TypeVar("T")

RouteHandler = Callable[..., Coroutine[Any, Any, bytes | None]]
"""Answers a request: with the rest of its content, or with None where it has sent that itself."""

PATHS_REMEMBERED = 2048
"""How many paths are remembered, none longer than `_LONGEST`: some MiB at most."""

_LONGEST = 512

_UNKNOWN: Mapping[str, type[RegistryError]] = {
    "manifests": ManifestUnknown,
    "blobs": BlobUnknown,
    "uploads": UploadUnknown,
    "tags": NameUnknown,
}
"""What is not there where a path cannot name anything, by the last but one part of the path."""

_Match = tuple[Rule, dict[str, Any]]
_Rule = tuple[str, tuple[str, ...], str]


class Routes:
    """Which handlers answer what, and whom. ``converters`` are kinds of parts of paths, beside those of Werkzeug."""

    def __init__(self, gate: Gate, converters: Mapping[str, type[BaseConverter]] | None = None) -> None:
        self.handlers: dict[str, RouteHandler] = {}
        self.needs: dict[str, Needs] = {}
        """What each route asks for, by its name."""
        self._gate = gate
        self._converters = tuple((converters or {}).items())
        self._rules: list[_Rule] = []

    def add(self, path: str, methods: Sequence[str], name: str, handler: RouteHandler, needs: Needs) -> None:
        """Route a path to a handler, which runs to its end even when the client goes away.

        What the route ``needs`` is about the repository that the path names, or the image by CID.

        Stopped between two steps of a change, such as a blob stored and not yet linked, it would let go of what keeps
        the collector away while a thread is at work.
        """
        self.needs[name] = needs
        self.handlers[name] = handler if self._gate.is_open else self._guarded(handler, needs)
        self._rules.append((path, tuple(methods), name))

    def _guarded(self, handler: RouteHandler, needs: Needs) -> RouteHandler:
        gate = self._gate

        def guarded(request: Request, **arguments: Any) -> Coroutine[Any, Any, bytes | None]:
            repository = arguments.get("repository")
            if repository is None and isinstance(needs, Action) and "cid" in arguments:
                repository = f"ipfs/{arguments['cid']}"
            if gate.knows(request, needs, repository):
                return handler(request, **arguments)
            return admitted(request, repository, arguments)

        async def admitted(request: Request, repository: str | None, arguments: dict[str, Any]) -> bytes | None:
            await gate.admit(request, needs, repository)
            return await handler(request, **arguments)

        return guarded

    def application(self) -> Klein:
        """The routes for Klein, whose endpoints are to be called with the handlers."""
        return _application(tuple(self._rules), self._converters)


@lru_cache(maxsize=16)
def _application(rules: tuple[_Rule, ...], converters: tuple[tuple[str, type[BaseConverter]], ...]) -> Klein:
    # Werkzeug compiles code for each route, which takes longer than all else for a daemon that is made. The handlers
    # are given to each call, so that all daemons of a process, as in tests, share it.
    app = Klein()
    app.url_map.merge_slashes = False
    app.url_map.converters.update(converters)
    for path, methods, name in rules:
        app.route(path, methods=list(methods), endpoint=name, strict_slashes=False)(_calls(name))
    return app


def begin(work: Coroutine[Any, Any, T]) -> "T | Deferred[T]":
    """Run a coroutine; its result, or its exception, at once where it has to wait for nothing.

    Else a Deferred for its result. A Deferred for each call costs more than many a call itself.
    """
    try:
        work.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    # It waits for a Deferred, which says so again when the coroutine is resumed with nothing.
    return Deferred.fromCoroutine(work)


def _calls(name: str) -> Callable[..., Any]:
    def call(handlers: Mapping[str, RouteHandler], request: Request, **arguments: Any) -> Any:
        return begin(handlers[name](request, **arguments))

    return call


Unmatched = Callable[[Request, Exception], "bytes | Deferred[bytes | None] | None"]
"""Makes the answer to a request that no handler was found for."""


class Dispatcher:
    """Calls the handlers of routes. ``failed`` makes the answer where one raised an exception.

    ``unmatched`` makes it where there is no handler, or its path cannot be read; by default it is ``failed``.

    Klein's own resource is made for pages: for a small answer it costs more than all the rest. Clients ask for the same
    paths again and again, and each is taken apart once.
    """

    def __init__(
        self,
        routes: Routes,
        failed: Callable[[Request, Exception], bytes | None],
        unmatched: Unmatched | None = None,
    ) -> None:
        self._app = routes.application()
        self._handlers = routes.handlers
        self._failed = failed
        self._unmatched = unmatched or failed
        self._rules = self._app.url_map.bind("registry")  # no rule of ours depends on host, scheme or script name
        self._known = lru_cache(maxsize=PATHS_REMEMBERED)(self._match)

    def __call__(self, request: Request) -> None:
        """Answer a request."""
        path = request.path
        handling = current.set(request.identifier)
        try:
            if b"x-request-id" in request.headers:
                request.set_header(REQUEST_ID_HEADER, request.identifier)
            match = (self._known if len(path) <= _LONGEST else self._match)(path, request.method)
        except Exception as error:
            current.reset(handling)
            self._finish(request, self._unmatched(request, error))
            return
        rule, arguments = match
        request.route, request.rule, request.arguments = rule.endpoint, rule.rule, arguments
        try:
            result: Any = self._app.endpoints[rule.endpoint](self._handlers, request, **arguments)
        except Exception as error:
            self._end(request, self._failure(request, error))
            return
        finally:
            current.reset(handling)
        self._finish(request, result)

    def _finish(self, request: Request, result: Any) -> None:
        if isinstance(result, Deferred):
            result.addErrback(self._failed_later, request)
            result.addCallback(lambda content: self._end(request, content))
        else:
            self._end(request, result)

    def _match(self, path: bytes, method: bytes) -> _Match:
        if not path.startswith(b"/"):
            raise NotFound
        try:
            text = unquote_to_bytes(path).decode()
        except UnicodeDecodeError:
            raise NameInvalid("the path is not UTF-8") from None
        try:
            rule, arguments = self._rules.match(text, method.decode("ascii"), return_rule=True)
        except (NameInvalid, TagInvalid, DigestInvalid) as error:
            raise _as_answered(error, method, text) from None
        return rule, dict(arguments)

    def _failed_later(self, failure: Failure, request: Request) -> bytes | None:
        error = failure.value
        if not isinstance(error, Exception):
            failure.raiseException()
        return self._failure(request, error)

    def _failure(self, request: Request, error: Exception) -> bytes | None:
        handling = current.set(request.identifier)  # what is done later is not done in the context of the handler
        try:
            return self._failed(request, error)
        finally:
            current.reset(handling)

    def _end(self, request: Request, content: bytes | None) -> None:
        try:
            request.end(content or b"")
        except Exception as error:  # a header that cannot be sent
            request.end(self._failure(request, error) or b"")


def _as_answered(error: RegistryError, method: bytes, path: str) -> RegistryError:
    """How to answer a path whose name, tag or digest does not follow the grammar.

    To ask for what cannot be there is 404: the specification lists nothing else for reading manifests, blobs and tags
    (distribution-spec, "Endpoints", end-2, end-3 and end-8), and for a list of referrers 400 as well (end-12).
    """
    kind = _UNKNOWN.get((path.rsplit("/", 2)[-2:] or [""])[0])
    if method not in {b"GET", b"HEAD"} or kind is None:
        return error
    return (NameUnknown if isinstance(error, NameInvalid) else kind)(error.message, error.detail)
