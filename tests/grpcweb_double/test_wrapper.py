"""What the doubles send is, byte for byte, what the real Go wrapper sent: replay of its golden vectors."""

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from .call import Call, RpcError
from .dispatcher import Method
from .faults import CallFaults
from .peer import Http, Websocket, connect, parse_response, post_head
from .server import DoubleServer
from .settings import V0_13, V0_14, MessageLimits, Wrapper
from .wire import frame

CAPTURES = Path(__file__).parents[1] / "grpcweb" / "captures"
WRAPPERS = {"v0.14.1": V0_14, "v0.13.0": V0_13}


def vectors(version: str, transport: str) -> dict[str, Any]:
    found = json.loads((CAPTURES / f"server-go-grpcweb-{version}.json").read_text())["vectors"]
    return {name: vector for name, vector in found.items() if vector["transport"] == transport}


def cases(transport: str) -> list[Any]:
    return [
        pytest.param(version, name, vector, id=f"{version}-{name}")
        for version in WRAPPERS
        for name, vector in vectors(version, transport).items()
    ]


class DummyService:
    """The service that the vectors were taken with."""

    async def Echo(self, call: Call, request: bytes) -> bytes:
        return request

    async def Fail(self, call: Call, request: bytes) -> bytes:
        raise RpcError(2, 'no link named "blobs" under bafy… 100% \r\n x')

    async def FailCode(self, call: Call, request: bytes) -> bytes:
        raise RpcError(9, "update is non-fast-forward")

    async def FailAfter(self, call: Call, request: bytes) -> None:
        await call.send(request)
        raise RpcError(2, "broke midway")

    async def Empty(self, call: Call, request: bytes) -> None:
        pass

    async def Nope(self, call: Call, request: bytes) -> bytes:
        raise RpcError(12, "unknown method /x.Svc/Nope")

    async def FailEarly(self, call: Call) -> None:
        await call.receive()
        raise RpcError(9, "update is non-fast-forward")

    async def PushPath(self, call: Call) -> None:
        await call.receive()
        frames, content = 0, b""
        while (payload := await call.receive()) is not None:
            frames += 1
            content += payload
        digest = hashlib.sha256(content).hexdigest()[:16]
        await call.send(f"done frames={frames} bytes={len(content)} sha={digest}".encode())

    def methods(self) -> dict[str, Method]:
        unary = {name: Method(getattr(self, name), None, False, False) for name in UNARY}
        streaming = {name: Method(getattr(self, name), None, False, True) for name in ("FailAfter", "Empty")}
        both = {name: Method(getattr(self, name), None, True, True) for name in ("FailEarly", "PushPath")}
        return unary | streaming | both


UNARY = ("Echo", "Fail", "FailCode", "Nope")


def dummy(wrapper: Wrapper) -> DoubleServer:
    double = DoubleServer(wrapper, MessageLimits(), CallFaults())
    double.dispatcher.services["x.Svc"] = DummyService().methods()
    return double.start()


@pytest_twisted.async_yield_fixture()
async def double(request: Any) -> AsyncIterator[DoubleServer]:
    double = dummy(WRAPPERS[request.getfixturevalue("version")])
    yield double
    await double.stop()


def header_set(lines: list[tuple[str, str]]) -> set[tuple[str, str]]:
    """Headers without Date, and without the random order of Go's maps."""
    return {
        (name, ", ".join(sorted(value.split(", "))) if name.startswith("Access-Control") else value)
        for name, value in lines
        if name != "Date"
    }


@pytest.mark.parametrize(("version", "name", "vector"), cases("http"))
@pytest_twisted.ensureDeferred
async def test_http_vector(double: DoubleServer, version: str, name: str, vector: dict[str, Any]) -> None:
    request, expected = vector["request"], vector["response"]
    too_large = name == "http-message-over-4MiB"
    body = frame(bytes(4194305)) if too_large else bytes.fromhex(request["bodyHex"])
    http = Http()
    await connect(double.port, http)
    fields = {
        "content-type": request["contentType"],
        "content-length": str(len(body)),
        "connection": "close",
    }
    http.write(post_head(request["path"], fields) + body)
    await http.until_closed()
    response = parse_response(http.data)
    assert response is not None
    assert http.data.partition(b"\r\n")[0].decode() == expected["statusLine"]
    lines = [(line.partition(": ")[0], line.partition(": ")[2]) for line in expected["headers"]]
    assert header_set(response.headers) == header_set(lines)
    assert response.body.hex() == expected["bodyHex"]
    assert response.complete


def client_messages(vector: dict[str, Any]) -> list[bytes]:
    messages = []
    for text in vector["clientFramesHex"]:
        if text.endswith(" bytes)"):
            # The payload was of zero bytes: the digest in the answer says so.
            messages.append(b"\x00" + frame(bytes(int(text[1:].split()[0]) - 6)))
        else:
            messages.append(bytes.fromhex(text))
    return messages


@pytest.mark.parametrize(("version", "name", "vector"), cases("websocket"))
@pytest_twisted.ensureDeferred
async def test_websocket_vector(double: DoubleServer, version: str, name: str, vector: dict[str, Any]) -> None:
    expected = [bytes.fromhex(frame["hex"]) for frame in vector["serverFrames"]]
    websocket = Websocket(vector["path"])
    await connect(double.port, websocket)
    await websocket.opened()
    for message in client_messages(vector):
        websocket.send(message)
    if name == "ws-headers-without-content-type-hangs":
        await websocket.until(lambda: len(websocket.messages) == len(expected))
        assert not websocket.closed
        with pytest.raises(TimeoutError):
            await websocket.until_closed(0.2)
    else:
        await websocket.until_closed()
        assert websocket.close_code == vector["closeCodeSeenByClient"]
        assert websocket.close_reason == vector["closeReason"]
    assert websocket.messages == expected


def test_there_are_vectors_of_both_wrappers() -> None:
    assert {name: len(cases(name)) for name in ("http", "websocket")} == {"http": 28, "websocket": 20}
