"""Calls as parts of what is traced."""

from collections.abc import Mapping

import pytest
import pytest_twisted

from ipfsreg.flow.tracing import current
from ipfsreg.grpcweb.channel import Transport
from ipfsreg.grpcweb.errors import GrpcError

from . import handlers
from .conftest import Connect, Serve
from .raw import Raw
from .server import ServerCall


class Noted:
    """A span that notes what is begun in it."""

    headers: Mapping[str, str] = {}

    def __init__(self) -> None:
        self.children: dict[str, Noted] = {}
        self.ended: list[BaseException | None] = []

    def child(self, name: str) -> "Noted":
        """See `Span`."""
        self.children[name] = Noted()
        return self.children[name]

    def end(self, error: BaseException | None = None) -> None:
        """See `Span`."""
        self.ended.append(error)


@pytest_twisted.ensureDeferred
async def test_a_call_is_a_span(serve: Serve, connect: Connect, transport: Transport) -> None:
    async def fail(call: ServerCall) -> None:
        call.status(5, "none")

    server = await serve({"/x.Svc/Echo": handlers.echo, "/x.Svc/Fail": fail})
    channel = connect(server, transport=transport)
    request = Noted()
    outer = current.set(request)
    try:
        good = channel.unary("/x.Svc/Echo", Raw(b"hello"), Raw, deadline=5)
        bad = channel.unary("/x.Svc/Fail", Raw(b"hello"), Raw, deadline=5)
    finally:
        current.reset(outer)
    assert await good == Raw(b"hello")
    with pytest.raises(GrpcError):
        await bad
    assert list(request.children) == ["x.Svc/Echo", "x.Svc/Fail"]
    assert request.children["x.Svc/Echo"].ended == [None]
    (error,) = request.children["x.Svc/Fail"].ended
    assert isinstance(error, GrpcError)
