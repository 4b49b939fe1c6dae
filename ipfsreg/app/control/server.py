"""The daemon's side."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.server import Request

from ipfsreg.app.listening import stop_listening
from ipfsreg.bucket.errors import BucketError
from ipfsreg.flow.shield import shield
from ipfsreg.registry.errors import RegistryError
from ipfsreg.web.body import ClientGone
from ipfsreg.web.request import StreamingRequest
from ipfsreg.web.site import StreamingSite

from .socket_name import short_name
from .streams import STALL_SECONDS, Streams
from .tasks import Task

IDLE_SECONDS = 60.0

_log = Logger()


def make_control_app(tasks: Mapping[str, Task], streams: Streams | None = None) -> Klein:
    """``POST /<task>`` with its arguments in the query: 200 with the result, 404 or 503 with one line of text.

    ``GET /`` says that the daemon is alive.
    """
    app = Klein()
    if streams is not None:
        streams.add_to(app)

    @app.route("/", methods=["GET"])
    def alive(request: Request) -> bytes:
        return b""

    @app.route("/<name>", methods=["POST"])
    def run(request: Request, name: str) -> "bytes | Deferred[bytes]":
        if name not in tasks:
            request.setResponseCode(404)
            return b"the daemon cannot do that: its backend, or its version, does not have it"
        arguments = {key.decode(): values[0].decode() for key, values in request.args.items()}
        return shield(_do(tasks[name], arguments), _log_unanswered)

    @app.handle_errors(BucketError)
    def bucket_error(request: IRequest, failure: Failure) -> bytes:
        return _say(request, 503, str(failure.value))

    @app.handle_errors(RegistryError)
    def registry_error(request: IRequest, failure: Failure) -> bytes:
        assert isinstance(failure.value, RegistryError)
        return _say(request, 404, failure.value.message)

    @app.handle_errors(ClientGone)
    def client_gone(request: IRequest, failure: Failure) -> bytes:
        return _say(request, 500, "")

    @app.handle_errors(Exception)
    def unexpected(request: IRequest, failure: Failure) -> bytes:
        _log.failure("a task of the control socket failed", failure)
        return _say(request, 500, "the daemon failed; its log says how")

    return app


class ControlServer:
    """Listens on a socket that only the daemon's own user can open."""

    def __init__(self, tasks: Mapping[str, Task], path: Path, reactor: Any, streams: Streams | None = None) -> None:
        self._path = path
        self._reactor = reactor
        resource = make_control_app(tasks, streams).resource()
        self._site = StreamingSite(resource, reactor, idle=IDLE_SECONDS, stall=STALL_SECONDS, access_log=False)
        self._site.noisy = False
        self._name = ExitStack()
        self._port: IListeningPort | None = None

    async def start(self) -> None:
        """Listen. Whoever calls this must have the lock of the directory."""
        self._remove_old()
        # The name is needed for as long as the port is open: with it, Twisted removes the socket at the end.
        name = self._name.enter_context(short_name(self._path))
        self._port = await UNIXServerEndpoint(self._reactor, name, mode=0o600).listen(self._site)

    async def stop(self) -> None:
        """Listen no more. A command that still waits for an answer sees its connection end."""
        if self._port is not None:
            await stop_listening(self._port)
        await self._site.close_connections()
        self._name.close()

    def _remove_old(self) -> None:
        self._path.unlink(missing_ok=True)  # of a daemon that was killed


def _say(request: IRequest, status: int, text: str) -> bytes:
    streaming = cast(StreamingRequest, request)
    if streaming.startedWriting:  # all that can still say "this failed" is a connection cut short
        if text:
            _log.error("What a command asked for could not be sent to its end: {error}", error=text)
        streaming.drop()
    else:
        streaming.setResponseCode(status)
    return text.encode()


async def _do(task: Task, arguments: Mapping[str, str]) -> bytes:
    return json.dumps(await task(arguments)).encode()


def _log_unanswered(failure: Failure) -> None:
    _log.failure("a task of the control socket failed, when nobody waited for it any more", failure)
