"""The command's side of the control socket."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from treq.client import HTTPClient
from treq.content import collect
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import deferLater
from twisted.web.client import URI, Agent, ResponseFailed
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from ipfsreg.app.control.events import EVENTS, Event
from ipfsreg.app.control.streams import MISSING_HEADER, ROOT_HEADER
from ipfsreg.app.state_directory import short_name
from ipfsreg.flow.streams import PiecesBody

from .errors import ControlError, Exit

if TYPE_CHECKING:
    from ipfsreg.client.registry import RegistryClient

T = TypeVar("T")

SIGN_OF_LIFE_SECONDS = 10.0
"""A task may take for ever, but the daemon has to answer whether it is alive within this time, again and again."""

_URL = "http://daemon/"
_EVENTS: Mapping[bytes | str, bytes | str] = {"Accept": f"{EVENTS}, */*"}


@implementer(IAgentEndpointFactory)
class _SocketFactory:
    def __init__(self, reactor: Any, name: str) -> None:
        self._reactor = reactor
        self._name = name

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        endpoint: IStreamClientEndpoint = UNIXClientEndpoint(self._reactor, self._name, timeout=SIGN_OF_LIFE_SECONDS)
        return endpoint


class DaemonClient:
    """The daemon that listens on a socket. It does the same as `Alone`, and all of it fails with a `ControlError`.

    However long something takes, it is waited for as long as the daemon shows signs of life.
    """

    def __init__(self, reactor: Any, socket: Path) -> None:
        self._reactor = reactor
        self._socket = socket

    async def do(
        self, task: str, arguments: Mapping[str, str], heard: Callable[[Event], None] | None = None
    ) -> dict[str, Any]:
        """See `Alone`."""

        async def asking(client: HTTPClient) -> dict[str, Any]:
            response: Any = await client.post(
                _URL + task, params=dict(arguments), headers=dict(_EVENTS), unbuffered=True
            )
            await _check(response)
            if response.headers.getRawHeaders("Content-Type") != [EVENTS]:
                result: dict[str, Any] = await response.json()
                return result
            events = _Events(heard)
            await collect(response, events.received)
            if events.result is None:
                raise self._error("ended before it had an answer")
            return events.result

        return await self._talk(asking)

    async def export(self, name: str, began: Callable[[int], None], write: Callable[[bytes], None]) -> dict[str, Any]:
        """See `Alone`."""

        async def asking(client: HTTPClient) -> dict[str, Any]:
            response: Any = await client.post(f"{_URL}export", params={"name": name}, unbuffered=True)
            await _check(response)
            began(response.length)
            try:
                await collect(response, write)
            except ResponseFailed:
                raise ControlError(
                    "the daemon could not read all of the image, or was stopped; its log says why"
                ) from None
            (root,) = response.headers.getRawHeaders(ROOT_HEADER)
            (missing,) = response.headers.getRawHeaders(MISSING_HEADER)
            return {"root": root, "missing": int(missing)}

        return await self._talk(asking)

    async def import_image(
        self, name: str | None, pieces: AsyncGenerator[bytes, None], length: int | None
    ) -> dict[str, Any]:
        """See `Alone`."""
        body = PiecesBody(pieces, length)

        async def asking(client: HTTPClient) -> dict[str, Any]:
            try:
                return await _post(client, "import", {} if name is None else {"name": name}, data=body)
            finally:
                body.stopProducing()  # an answer that came early leaves it waiting

        return await self._talk(asking)

    @asynccontextmanager
    async def client(self, name: str) -> AsyncIterator["RegistryClient"]:
        """See `Alone`."""
        from .socket_registry import registry_at

        async with registry_at(self._reactor, self._socket, name) as client:
            yield client

    async def _talk(self, asking: Callable[[HTTPClient], Coroutine[Any, Any, T]]) -> T:
        """Give a client that reaches the daemon and nobody else."""
        if not self._socket.is_socket():
            raise self._error("does not listen; is it just starting or stopping?")
        with short_name(self._socket) as name:
            client = HTTPClient(Agent.usingEndpointFactory(self._reactor, _SocketFactory(self._reactor, name)))
            try:
                await _sign_of_life(client)
            except ConnectError as error:
                raise self._error(f"does not answer ({error}); is it just starting or stopping?") from None
            except ResponseFailed as error:
                hung = any(reason.check(CancelledError) for reason in error.reasons)
                raise self._error("does not answer; is it hung?" if hung else "ended before it had an answer") from None
            return await self._while_alive(client, Deferred.fromCoroutine(asking(client)))

    async def _while_alive(self, client: HTTPClient, work: "Deferred[T]") -> T:
        watch = Deferred.fromCoroutine(self._watch(client))
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

    async def _watch(self, client: HTTPClient) -> None:
        """Return when there is no sign of life any more."""
        try:
            while True:
                await deferLater(self._reactor, SIGN_OF_LIFE_SECONDS, lambda: None)
                await _sign_of_life(client)
        except CancelledError:
            raise
        except Exception:
            return

    def _error(self, what: str) -> ControlError:
        return ControlError(f"the daemon that uses {self._socket.parent} {what}", Exit.UNAVAILABLE)


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


async def _sign_of_life(client: HTTPClient) -> None:
    response = await client.get(_URL, timeout=SIGN_OF_LIFE_SECONDS)
    await response.content()


async def _post(client: HTTPClient, task: str, arguments: Mapping[str, str], **more: Any) -> dict[str, Any]:
    response: Any = await client.post(_URL + task, params=dict(arguments), **more)
    await _check(response)
    result: dict[str, Any] = await response.json()
    return result


async def _check(response: Any) -> None:
    if response.code != 200:
        raise ControlError((await response.text()).strip(), Exit.of(response.code))
