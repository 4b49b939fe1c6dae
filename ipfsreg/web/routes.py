"""How handlers are called."""

from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ipfsreg.bucket.errors import BucketError
from ipfsreg.flow.shield import shield
from ipfsreg.registry.errors import RegistryError

from .body import ClientGone
from .errors import log_bucket_error, log_unexpected
from .request import StreamingRequest

Handler = Callable[..., Coroutine[Any, Any, bytes | None]]


def add_route(app: Klein, path: str, methods: Sequence[str], name: str, handler: Handler) -> None:
    """Route a path to a handler, which runs to its end even when the client goes away."""

    def call(request: StreamingRequest, **arguments: Any) -> "Deferred[bytes | None]":
        # Klein cancels a handler whose client is gone. Cancelled between two steps of a change, such as a blob
        # stored and not yet linked, it would let go of what keeps the collector away while a thread is at work.
        return shield(handler(request, **arguments), partial(_log_unanswered, request))

    app.route(path, methods=list(methods), endpoint=name, strict_slashes=False)(call)


def _log_unanswered(request: StreamingRequest, failure: Failure) -> None:
    error = failure.value
    if isinstance(error, BucketError):
        log_bucket_error(request, error)
    elif not isinstance(error, (ClientGone, RegistryError)):
        log_unexpected(request, failure)
