"""The daemon's side."""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack, aclosing
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.internet.interfaces import IListeningPort, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from werkzeug.exceptions import HTTPException

from ipfsreg.app.listening import stop_listening
from ipfsreg.app.state_directory import short_name
from ipfsreg.bucket.errors import BucketError
from ipfsreg.flow.progress import Progress
from ipfsreg.web.gate import Entry, OpenGate
from ipfsreg.web.http.body import ClientGone
from ipfsreg.web.http.limits import HttpLimits
from ipfsreg.web.http.request import Request
from ipfsreg.web.http.server import AnswerFormat, Handler, HttpServer
from ipfsreg.web.routes import Dispatcher, Routes
from ipfsreg.web.sending import send_pieces

from .events import EVENTS, TELLING, Event, Listing, Long, events_of, http_status
from .streams import Streams
from .tasks import AnyTask

IDLE_SECONDS = 60.0

STALL_SECONDS = 3600.0
"""For how long a command may take nothing of what it asked for: its user may have stopped it."""

_REGISTRY = b"/v2/"

_log = Logger()


def make_control_routes(tasks: Mapping[str, AnyTask], clock: IReactorTime, streams: Streams | None = None) -> Routes:
    """``POST /<task>`` with its arguments in the query: 200 with the result, or a status and one line of text.

    Of tasks with events (see `events`), it is 200 and a line for each event, for who accepts `EVENTS`.

    ``GET /`` says that the daemon is alive.
    """
    routes = Routes(OpenGate())
    if streams is not None:
        streams.add_to(routes)

    async def alive(request: Request) -> bytes:
        return b""

    async def run(request: Request, name: str) -> bytes | None:
        task = tasks.get(name)
        if task is None:
            request.prepare(501, {})
            return b"the daemon cannot do that: its backend, or its version, does not have it"
        arguments = {key.decode(): values[0].decode() for key, values in request.args.items()}
        if not isinstance(task, Long | Listing):
            return json.dumps(await task(arguments)).encode()
        if isinstance(task, Long) and EVENTS not in (request.header("accept") or ""):  # an older command asks
            return json.dumps(await task.work(arguments, Progress())).encode()
        request.prepare(200, {"Content-Type": EVENTS})
        await send_pieces(request, _lines(events_of(task, arguments, clock)))
        return None

    routes.add("/", ["GET"], "alive", alive, Entry.EVERYBODY)
    routes.add("/<name>", ["POST"], "run", run, Entry.EVERYBODY)
    return routes


class ControlServer:
    """Listens on a socket that only the daemon's own user can open.

    With a ``registry``, the socket is a registry too, which asks nobody who he is: what is below `/v2/` goes there.
    """

    def __init__(
        self,
        tasks: Mapping[str, AnyTask],
        path: Path,
        reactor: Any,
        streams: Streams | None = None,
        registry: Handler | None = None,
    ) -> None:
        control: Handler = Dispatcher(make_control_routes(tasks, reactor, streams), _say)

        def handle(request: Request) -> None:
            (control if registry is None or not request.path.startswith(_REGISTRY) else registry)(request)

        self._path = path
        self._reactor = reactor
        self._server = HttpServer(
            handle,
            reactor,
            HttpLimits(idle=IDLE_SECONDS, stall=STALL_SECONDS),
            AnswerFormat("text/plain", lambda status, message: message.encode()),
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


async def _lines(events: AsyncGenerator[Event, None]) -> AsyncGenerator[bytes, None]:
    """Events as lines. What fails before the first one fails as any task does."""
    begun = False
    async with aclosing(events):
        try:
            async for event in events:
                begun = True
                yield json.dumps(event).encode() + b"\n"
        except TELLING as error:
            if not begun:
                raise
            failure = {"status": http_status(error), "message": str(error)}
            yield json.dumps({"error": failure}).encode() + b"\n"


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
