"""The command's side."""

from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import deferLater
from twisted.web.client import URI, Agent, ResponseFailed
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from ipfsreg.app.control.socket_name import short_name

T = TypeVar("T")

SIGN_OF_LIFE_SECONDS = 10.0
"""A task may take for ever, but the daemon has to answer whether it is alive within this time, again and again."""


class ControlError(Exception):
    """The daemon could not be asked, or could not do it: one line that says why."""


@implementer(IAgentEndpointFactory)
class _SocketFactory:
    def __init__(self, reactor: Any, name: str) -> None:
        self._reactor = reactor
        self._name = name

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        endpoint: IStreamClientEndpoint = UNIXClientEndpoint(self._reactor, self._name, timeout=SIGN_OF_LIFE_SECONDS)
        return endpoint


class _Daemon:
    """A daemon as its socket shows it."""

    def __init__(self, reactor: Any, path: Path, name: str) -> None:
        self._reactor = reactor
        self._path = path
        self._client = HTTPClient(Agent.usingEndpointFactory(reactor, _SocketFactory(reactor, name)))
        self._alive = False
        self._silent = False

    async def do(self, asking: Callable[[HTTPClient], Coroutine[Any, Any, T]]) -> T:
        """Ask it for something, for as long as it shows signs of life.

        :raises ControlError: where that fails, or it shows no sign of life.
        """
        try:
            await self._sign_of_life()
            self._alive = True
            work = Deferred.fromCoroutine(asking(self._client))
            watch = Deferred.fromCoroutine(self._watch(work))
            try:
                return await work
            finally:
                watch.addErrback(lambda _: None)
                watch.cancel()
        except ConnectError as error:
            self._fail(f"does not answer ({error}); is it just starting or stopping?")
        except ResponseFailed as error:
            if self._silent or _was_cancelled(error):
                self._fail("answers no more; is it hung?" if self._alive else "does not answer; is it hung?")
            self._fail("ended before it had an answer")

    async def _sign_of_life(self) -> None:
        response = await self._client.get("http://daemon/", timeout=SIGN_OF_LIFE_SECONDS)
        await response.content()

    async def _watch(self, work: "Deferred[T]") -> None:
        try:
            while True:
                await deferLater(self._reactor, SIGN_OF_LIFE_SECONDS, lambda: None)
                await self._sign_of_life()
        except CancelledError:
            raise
        except Exception:
            self._silent = True
            work.cancel()

    def _fail(self, what: str) -> NoReturn:
        raise ControlError(f"the daemon that uses {self._path.parent} {what}") from None


def _is_socket(path: Path) -> bool:
    return path.is_socket()


def _was_cancelled(error: ResponseFailed) -> bool:
    return any(reason.check(CancelledError) for reason in error.reasons)


async def ask(reactor: Any, path: Path, task: str, arguments: Mapping[str, str]) -> dict[str, Any]:
    """Have the daemon that listens on a socket do a task, however long that takes; answers its result.

    :raises ControlError: where that fails.
    """

    async def asking(client: HTTPClient) -> dict[str, Any]:
        return await result_of(await client.post(url_of(task), params=dict(arguments)))

    return await talk(reactor, path, asking)


async def talk(reactor: Any, path: Path, asking: Callable[[HTTPClient], Coroutine[Any, Any, T]]) -> T:
    """Ask the daemon that listens on a socket for something, with a client that can reach no other.

    :raises ControlError: where that fails.
    """
    if not _is_socket(path):
        raise ControlError(f"the daemon that uses {path.parent} does not listen; is it just starting or stopping?")
    with short_name(path) as name:
        return await _Daemon(reactor, path, name).do(asking)


def url_of(task: str) -> str:
    """Where to ask for a task."""
    return f"http://daemon/{task}"


async def result_of(response: Any) -> dict[str, Any]:
    """The result in the daemon's answer.

    :raises ControlError: where it is that it failed.
    """
    await check(response)
    result: dict[str, Any] = await response.json()
    return result


async def check(response: Any) -> None:
    """Whether the daemon does what it was asked for. :raises ControlError: where not."""
    if response.code != 200:
        raise ControlError((await response.text()).strip())
