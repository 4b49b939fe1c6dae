"""A server that answers as a test says, to see what a client makes of it."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from ipfsreg.client.address import parse_address
from ipfsreg.client.credentials import Credentials, Logins
from ipfsreg.client.registry import RegistryClient


@dataclass(frozen=True)
class Asked:
    """A request that came."""

    method: str
    target: str
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True)
class Says:
    """What to answer.

    With ``cut``, the connection ends after the content, whatever its headers say; with ``stall``, nothing more comes,
    and with ``never`` nothing at all.
    """

    status: int = 200
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False
    stall: bool = False
    never: bool = False


class Scripted(Resource):
    """The server: ``answer`` is called with each request, and ``asked`` has all that came."""

    isLeaf = True

    def __init__(self, answer: Callable[[Asked], Says]) -> None:
        super().__init__()
        self.answer = answer
        self.asked: list[Asked] = []
        self.url = ""

    def render(self, request: Any) -> Any:
        headers = {
            name.decode().lower(): values[0].decode() for name, values in request.requestHeaders.getAllRawHeaders()
        }
        asked = Asked(request.method.decode(), request.uri.decode(), headers, request.content.read())
        self.asked.append(asked)
        says = self.answer(asked)
        if says.never:
            return NOT_DONE_YET
        request.setResponseCode(says.status)
        for name, value in says.headers.items():
            request.setHeader(name, value)
        if not (says.cut or says.stall):
            if "Content-Length" not in says.headers:
                request.setHeader("Content-Length", str(len(says.content)))
            if asked.method == "HEAD":
                request.write(b"")
                request.finish()
                return NOT_DONE_YET
            return says.content
        request.write(says.content)
        if says.cut:
            request.channel.loseConnection()
        return NOT_DONE_YET


@asynccontextmanager
async def scripted(answer: Callable[[Asked], Says]) -> AsyncIterator[Scripted]:
    """Such a server on a port of 127.0.0.1."""
    from twisted.internet import reactor

    resource = Scripted(answer)
    site = Site(resource)
    port: Any = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(site)
    resource.url = f"http://127.0.0.1:{port.getHost().port}"
    try:
        yield resource
    finally:
        await port.stopListening()


@asynccontextmanager
async def client_of(url: str, credentials: Credentials | None = None, **more: Any) -> AsyncIterator[RegistryClient]:
    """A client, closed at the end."""
    from twisted.internet import reactor

    logins = Logins([{"": credentials}] if credentials else ())
    client = RegistryClient(reactor, parse_address(url), find=lambda name: logins, **more)
    try:
        yield client
    finally:
        await client.close()
