"""The daemon's side."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure
from werkzeug.exceptions import HTTPException

from ipfsreg.app.listening import stop_listening
from ipfsreg.app.state_directory import short_name
from ipfsreg.bucket.errors import BucketError
from ipfsreg.web.gate import Entry, OpenGate
from ipfsreg.web.http.body import ClientGone
from ipfsreg.web.http.limits import HttpLimits
from ipfsreg.web.http.request import Request
from ipfsreg.web.http.server import HttpServer, RefusalFormat
from ipfsreg.web.routes import Dispatcher, Routes

from .failures import TELLING, http_status
from .streams import Streams
from .tasks import Task

IDLE_SECONDS = 60.0

STALL_SECONDS = 3600.0
"""For how long a command may take nothing of what it asked for: its user may have stopped it."""

_log = Logger()


def make_control_routes(tasks: Mapping[str, Task], streams: Streams | None = None) -> Routes:
    """``POST /<task>`` with its arguments in the query: 200 with the result, or a status and one line of text.

    ``GET /`` says that the daemon is alive.
    """
    routes = Routes(OpenGate())
    if streams is not None:
        streams.add_to(routes)

    async def alive(request: Request) -> bytes:
        return b""

    async def run(request: Request, name: str) -> bytes:
        if name not in tasks:
            request.prepare(501, {})
            return b"the daemon cannot do that: its backend, or its version, does not have it"
        arguments = {key.decode(): values[0].decode() for key, values in request.args.items()}
        return json.dumps(await tasks[name](arguments)).encode()

    routes.add("/", ["GET"], "alive", alive, Entry.EVERYBODY)
    routes.add("/<name>", ["POST"], "run", run, Entry.EVERYBODY)
    return routes


class ControlServer:
    """Listens on a socket that only the daemon's own user can open."""

    def __init__(self, tasks: Mapping[str, Task], path: Path, reactor: Any, streams: Streams | None = None) -> None:
        self._path = path
        self._reactor = reactor
        self._server = HttpServer(
            Dispatcher(make_control_routes(tasks, streams), _say),
            reactor,
            HttpLimits(idle=IDLE_SECONDS, stall=STALL_SECONDS),
            RefusalFormat("text/plain", lambda status, message: message.encode()),
            headers={},
        )
        self._name = ExitStack()
        self._port: IListeningPort | None = None

    async def start(self) -> None:
        """Listen. The caller must have the lock of the directory."""
        self._remove_old()
        # The name is needed for as long as the port is open: with it, Twisted removes the socket at the end.
        name = self._name.enter_context(short_name(self._path))
        self._port = await UNIXServerEndpoint(self._reactor, name, mode=0o600).listen(self._server)

    async def stop(self) -> None:
        """Listen no more. A command that still waits for an answer sees its connection end."""
        if self._port is not None:
            await stop_listening(self._port)
        await self._server.close_connections()
        self._name.close()

    def _remove_old(self) -> None:
        self._path.unlink(missing_ok=True)  # of a daemon that was killed


def _say(request: Request, error: Exception) -> bytes | None:
    if isinstance(error, TELLING):
        status, text = http_status(error), str(error)
    elif isinstance(error, HTTPException):
        status, text = error.code or 500, error.name
    elif isinstance(error, ClientGone):
        status, text = 500, ""
    else:
        _log.failure("a task of the control socket failed", Failure(error))
        status, text = 500, "the daemon failed; its log says how"
    if request.started:  # all that can still say "this failed" is a connection cut short
        if text:
            _log.error("What a command asked for could not be sent to its end: {error}", error=text)
        request.drop()
        return None
    if request.gone and isinstance(error, BucketError):
        _log.error("What a command asked for failed: {error}", error=error)
    request.prepare(status, {})
    return text.encode()
