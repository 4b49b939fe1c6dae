"""The daemon's side."""

import json
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from klein import Klein
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.protocols.policies import WrappingFactory
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.server import Request, Site

from ..bucket.errors import BucketError
from ..registry.errors import RegistryError
from ..uninterrupted import uninterrupted
from .socket_name import short_name
from .tasks import Task

_log = Logger()


def make_control_app(tasks: Mapping[str, Task]) -> Klein:
    """``POST /<task>`` with its arguments in the query: 200 with the result, 404 or 503 with one line of text.

    ``GET /`` says that the daemon is alive.
    """
    app = Klein()

    @app.route("/", methods=["GET"])
    def alive(request: Request) -> bytes:
        return b""

    @app.route("/<name>", methods=["POST"])
    def run(request: Request, name: str) -> "bytes | Deferred[bytes]":
        if name not in tasks:
            request.setResponseCode(404)
            return b"the daemon cannot do that: its backend, or its version, does not have it"
        arguments = {key.decode(): values[0].decode() for key, values in request.args.items()}
        return uninterrupted(_do(tasks[name], arguments), _log_unanswered)

    @app.handle_errors(BucketError)
    def bucket_error(request: IRequest, failure: Failure) -> bytes:
        request.setResponseCode(503)
        return str(failure.value).encode()

    @app.handle_errors(RegistryError)
    def registry_error(request: IRequest, failure: Failure) -> bytes:
        request.setResponseCode(404)
        assert isinstance(failure.value, RegistryError)
        return failure.value.message.encode()

    @app.handle_errors(Exception)
    def unexpected(request: IRequest, failure: Failure) -> bytes:
        _log.failure("a task of the control socket failed", failure)
        request.setResponseCode(500)
        return b"the daemon failed; its log says how"

    return app


class ControlServer:
    """Listens on a socket that only the daemon's own user can open."""

    def __init__(self, tasks: Mapping[str, Task], path: Path, reactor: Any) -> None:
        self._path = path
        self._reactor = reactor
        self._factory = WrappingFactory(_QuietSite(make_control_app(tasks).resource()))
        self._factory.noisy = False
        self._name = ExitStack()
        self._port: IListeningPort | None = None

    async def start(self) -> None:
        """Listen. Whoever calls this must have the lock of the directory."""
        self._remove_old()
        # The name is needed for as long as the port is open: with it, Twisted removes the socket at the end.
        name = self._name.enter_context(short_name(self._path))
        self._port = await UNIXServerEndpoint(self._reactor, name, mode=0o600).listen(self._factory)

    async def stop(self) -> None:
        """Listen no more. A command that still waits for an answer sees its connection end."""
        if self._port is not None:
            with suppress(FileNotFoundError):  # somebody removed the socket
                await maybeDeferred(self._port.stopListening)
        for connection in list(self._factory.protocols):
            connection.transport.abortConnection()
        self._name.close()

    def _remove_old(self) -> None:
        self._path.unlink(missing_ok=True)  # of a daemon that was killed


async def _do(task: Task, arguments: Mapping[str, str]) -> bytes:
    return json.dumps(await task(arguments)).encode()


def _log_unanswered(failure: Failure) -> None:
    _log.failure("a task of the control socket failed, when nobody waited for it any more", failure)


class _QuietSite(Site):
    def log(self, request: object) -> None:
        """Nothing: the task itself logs what is worth it."""
