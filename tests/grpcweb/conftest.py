"""Servers and channels that are gone after each test, and the check that nothing of theirs is left."""

import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as installed_reactor
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from zope.interface import provider

from ipfsreg.grpcweb.channel import Channel, Transport

from .server import Handler, Server, until

reactor: Any = installed_reactor

Serve = Callable[..., Awaitable[Server]]
Connect = Callable[..., Channel]


def delayed_calls() -> list[str]:
    """The delayed calls of the client and of the parts of Twisted that it uses; not those of the tests."""
    ours = ("ipfsreg.grpcweb", "twisted.web", "twisted.protocols")
    return [str(call) for call in reactor.getDelayedCalls() if call.func.__module__.startswith(ours)]


@pytest_twisted.async_yield_fixture()
async def serve() -> AsyncIterator[Serve]:
    """Starts a `Server` of some handlers."""
    servers: list[Server] = []

    async def start(handlers: dict[str, Handler], **habits: Any) -> Server:
        servers.append(await Server(handlers, **habits).start())
        return servers[-1]

    yield start
    for server in servers:
        await server.stop()


@pytest_twisted.async_yield_fixture()
async def connect(serve: Serve) -> AsyncIterator[Connect]:
    """Makes a `Channel` to a server or URL."""
    channels: list[Channel] = []

    def make(server: Server | str, **options: Any) -> Channel:
        url = server if isinstance(server, str) else server.url
        channels.append(Channel(reactor, url, **options))
        return channels[-1]

    yield make
    for channel in channels:
        await channel.close()
        assert channel.connections == 0
    await until(lambda: not delayed_calls())


@pytest.fixture(autouse=True, scope="module")
def nothing_logged() -> Iterator[None]:
    """Nothing goes wrong behind the tests' backs: no failure in Twisted's log, no unhandled one in a Deferred."""
    failures: list[str] = []

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        if event.get("log_failure") is not None or event["log_level"] >= LogLevel.error:
            failures.append(formatEvent(event) + str(event.get("log_failure")))

    globalLogPublisher.addObserver(observe)
    yield
    gc.collect()
    globalLogPublisher.removeObserver(observe)
    assert failures == []


@pytest.fixture(params=list(Transport), ids=lambda transport: transport.value)
def transport(request: pytest.FixtureRequest) -> Transport:
    value: Transport = request.param
    return value
