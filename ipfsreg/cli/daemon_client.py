"""The command's side of the control socket."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlencode

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, ResponseDone, ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from ipfsreg.app.control.events import EVENTS, MISSING_HEADER, ROOT_HEADER, Arguments, Event
from ipfsreg.app.state_directory import short_name
from ipfsreg.flow.repeating import repeating
from ipfsreg.flow.streams import PiecesBody

from .errors import ControlError, Exit

if TYPE_CHECKING:
    from ipfsreg.client.registry import RegistryClient

T = TypeVar("T")

SIGN_OF_LIFE_SECONDS = 10.0
"""A task may take for ever, but the daemon has to answer whether it is alive within this time, again and again."""

_STEPS = 20

_URL = "http://daemon/"


@implementer(IAgentEndpointFactory)
class _Always:
    """Where every URL leads."""

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """See `IAgentEndpointFactory`."""
        return self._endpoint


class DaemonClient:
    """The daemon that listens on a socket. It does the same as `Alone`, and all of it fails with a `ControlError`.

    However long something takes, it is waited for as long as the daemon shows signs of life.
    """

    def __init__(self, reactor: Any, socket: Path) -> None:
        self._reactor = reactor
        self._socket = socket

    async def do(self, task: str, arguments: Arguments, heard: Callable[[Event], None] | None = None) -> dict[str, Any]:
        async def asking(agent: Agent) -> dict[str, Any]:
            response = await _post(agent, task, arguments, accept=f"{EVENTS}, */*")
            if response.headers.getRawHeaders("Content-Type") != [EVENTS]:
                return _json(await _content(response))
            events = _Events(heard)
            await _read(response, events.received)
            if events.result is None:
                raise self._error("ended before it had an answer")
            return events.result

        return await self._talk(asking)

    async def export(self, name: str, began: Callable[[int], None], write: Callable[[bytes], None]) -> dict[str, Any]:
        async def asking(agent: Agent) -> dict[str, Any]:
            response = await _post(agent, "export", {"name": name})
            began(cast(int, response.length))
            try:
                await _read(response, write)
            except ResponseFailed:
                raise ControlError(
                    "the daemon could not read all of the image, or was stopped; its log says why"
                ) from None
            (root,) = response.headers.getRawHeaders(ROOT_HEADER, ())
            (missing,) = response.headers.getRawHeaders(MISSING_HEADER, ())
            return {"root": root, "missing": int(missing)}

        return await self._talk(asking)

    async def import_image(
        self, name: str | None, pieces: AsyncGenerator[bytes, None], length: int | None
    ) -> dict[str, Any]:
        body = PiecesBody(pieces, length)

        async def asking(agent: Agent) -> dict[str, Any]:
            try:
                response = await _post(agent, "import", {} if name is None else {"name": name}, body)
                return _json(await _content(response))
            finally:
                body.stopProducing()  # an answer that came early leaves it waiting

        return await self._talk(asking)

    @asynccontextmanager
    async def client(self, name: str) -> AsyncIterator["RegistryClient"]:
        from .socket_registry import registry_at

        async with registry_at(self._reactor, self._socket, name) as client:
            yield client

    async def _talk(self, asking: Callable[[Agent], Coroutine[Any, Any, T]]) -> T:
        """Give a client that reaches the daemon and nobody else."""
        if not self._socket.is_socket():
            raise self._error("does not listen; is it just starting or stopping?")
        with short_name(self._socket) as name:
            endpoint = UNIXClientEndpoint(self._reactor, name, timeout=SIGN_OF_LIFE_SECONDS)
            agent = Agent.usingEndpointFactory(self._reactor, _Always(endpoint))
            try:
                await self._sign_of_life(agent)
            except ConnectError as error:
                raise self._error(f"does not answer ({error}); is it just starting or stopping?") from None
            except ResponseFailed as error:
                hung = any(reason.check(CancelledError) for reason in error.reasons)
                raise self._error("does not answer; is it hung?" if hung else "ended before it had an answer") from None
            return await self._while_alive(agent, Deferred.fromCoroutine(asking(agent)))

    async def _while_alive(self, agent: Agent, work: "Deferred[T]") -> T:
        watch = Deferred.fromCoroutine(self._watch(agent))
        watch.addCallbacks(lambda _: work.cancel(), lambda _: None)
        try:
            return await work
        except ConnectError as error:
            raise self._error(f"does not answer ({error}); is it just starting or stopping?") from None
        except (ResponseFailed, CancelledError) as error:
            silent = watch.called
            if isinstance(error, CancelledError) and not silent:
                raise
            raise self._error("answers no more; is it hung?" if silent else "ended before it had an answer") from None
        finally:
            watch.cancel()

    async def _watch(self, agent: Agent) -> None:
        """Return when there is no sign of life any more."""
        try:
            while True:
                await deferLater(self._reactor, SIGN_OF_LIFE_SECONDS, lambda: None)
                await self._sign_of_life(agent)
        except CancelledError:
            raise
        except Exception:
            return

    async def _sign_of_life(self, agent: Agent) -> None:
        asked: Deferred[IResponse] = agent.request(b"GET", _URL.encode())
        with _cancelled_after(asked, SIGN_OF_LIFE_SECONDS, self._reactor):
            response = await asked
        await _content(response)

    def _error(self, what: str) -> ControlError:
        return ControlError(f"the daemon that uses {self._socket.parent} {what}", Exit.UNAVAILABLE)


def _cancelled_after(asked: "Deferred[Any]", seconds: float, clock: Any) -> AbstractContextManager[None]:
    """Cancel it after so many seconds, of which those do not count in which this process got no time: a machine that
    stood still, or was suspended, has kept the daemon from answering as well.
    """
    left = _STEPS

    def step() -> None:
        nonlocal left
        left -= 1
        if not left:
            asked.cancel()

    return repeating(step, seconds / _STEPS, clock)


class _Events:
    """Takes lines of JSON apart, one event in each."""

    def __init__(self, heard: Callable[[Event], None] | None) -> None:
        self._heard = heard
        self._rest = b""
        self.result: dict[str, Any] | None = None

    def received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            event: Event = json.loads(line)
            if "error" in event:
                raise ControlError(event["error"]["message"], Exit.of(event["error"]["status"]))
            if "result" in event:
                self.result = event["result"]
            elif self._heard is not None:
                self._heard(event)


class _Reader(Protocol):
    """Gives a body to a function, piece by piece."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.ended: Deferred[None] = Deferred()
        self._write = write

    def dataReceived(self, data: bytes) -> None:
        if not self.ended.called:
            try:
                self._write(data)
            except Exception:
                self.ended.errback()
                cast(Any, self.transport).stopProducing()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.ended.called:
            self.ended.callback(None) if reason.check(ResponseDone) else self.ended.errback(reason)


async def _read(response: IResponse, write: Callable[[bytes], None]) -> None:
    reader = _Reader(write)
    response.deliverBody(reader)
    await reader.ended


async def _content(response: IResponse) -> bytes:
    pieces: list[bytes] = []
    await _read(response, pieces.append)
    return b"".join(pieces)


async def _post(
    agent: Agent, task: str, arguments: Arguments, body: IBodyProducer | None = None, accept: str = "*/*"
) -> IResponse:
    """The answer to a task, which is 200. :raises ControlError: where it is another."""
    url = f"{_URL}{task}?{urlencode(arguments)}".encode()
    response: IResponse = await agent.request(b"POST", url, Headers({"Accept": [accept]}), body)
    if response.code != 200:
        raise ControlError((await _content(response)).decode(errors="replace").strip(), Exit.of(response.code))
    return response


def _json(content: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(content)
    return found
