"""The double understands every byte that the official client was seen to send, and answers in the same shape."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.unknown_fields import UnknownFieldSet

from ipfsreg.bucket.space.proto import space_pb2
from tests.grpcweb_double.peer import Answer, post, read_answer
from tests.grpcweb_double.wire import frame

from .double import SpaceDouble
from .double.keys import AppToken
from .double.peer import SERVICE, answer_class

CAPTURES = sorted((Path(__file__).parent / "double" / "captures").glob("space-*.json"))
CONTENT = b"hello world\n"


def pieces_of(body: bytes) -> bytes:
    """The bytes in text form: pieces of base64, each with its own padding."""
    return b"".join(base64.b64decode(piece) for piece in re.findall(rb"[^=]+=*", body))


def set_up(scenario: str, exchange: dict[str, Any]) -> SpaceDouble:
    """A daemon in the state that the capture's canned answers pretended."""
    new = scenario == "initializeMasterAppToken"
    double = SpaceDouble(set_up=not new)
    if new:
        return double
    key, _, secret = exchange["headers"]["authorization"].removeprefix("AppToken ").partition(".")
    double.world.token = AppToken(key, secret if scenario != "openFile-bad-token" else "another")
    if scenario != "createBucket":
        double.add_bucket()
        double.put_files({"other": b""} if scenario == "openFile-missing" else {"blobs/sha256:aa": CONTENT})
    if scenario == "addItems-item-error":
        double.faults.item_errors["sha256:aa"] = "bucket encryption key missing"
    return double


def own_sources(request: Any, directory: Path) -> None:
    """Let a captured AddItems name a file of this test: the one it names is another machine's."""
    for number, source in enumerate(request.sourcePaths):
        request.sourcePaths[number] = str(directory / Path(source).name)


def shape(message: Message) -> dict[str, Any]:
    """Which fields a message has. The values differ from one daemon to the next."""
    found: dict[str, Any] = {}
    for descriptor, value in message.ListFields():
        for one in value if descriptor.is_repeated else [value]:
            inner = shape(one) if isinstance(one, Message) else {}
            found[descriptor.name] = found.get(descriptor.name, {}) | inner
    return found


def covers(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    return all(name in found and covers(found[name], inner) for name, inner in expected.items())


def text_answer(body: bytes, headers: list[tuple[str, str]]) -> Answer:
    return read_answer(pieces_of(body), [(name.lower(), value) for name, value in headers])


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
@pytest_twisted.ensureDeferred
async def test_capture(path: Path, tmp_path: Path) -> None:
    capture = json.loads(path.read_text())
    (exchange,) = capture["exchanges"]
    scenario, method = capture["scenario"], exchange["url"].rpartition("/")[2]
    sent = pieces_of(bytes.fromhex(exchange["bodyHex"]))
    assert base64.b64encode(sent).decode() == exchange["bodyText"]
    request: Any = GetMessageClass(SERVICE.methods_by_name[method].input_type).FromString(sent[5:])
    assert len(UnknownFieldSet(request)) == 0
    assert frame(request.SerializeToString(deterministic=True)) == sent
    if method == "AddItems":
        own_sources(request, tmp_path)
        if scenario != "addItems-call-error":
            (tmp_path / "sha256:aa").write_bytes(CONTENT)

    double = set_up(scenario, exchange).start()
    headers = {name: value for name, value in exchange["headers"].items() if name not in ("host", "content-length")}
    body = base64.b64encode(frame(request.SerializeToString()))
    response = await post(double.port, exchange["url"], headers, body)
    await double.stop()

    assert response.header("content-type") == "application/grpc-web-text"
    answer = text_answer(response.body, response.headers)
    canned = text_answer(bytes.fromhex(exchange["responseBodyHex"]), list(exchange["responseHeaders"].items()))
    assert answer.status == canned.status
    if scenario == "openFile-missing":
        assert all(re.fullmatch(r'no link named "[\w=-]+" under baf\w+', text) for text in (answer.text, canned.text))
    else:
        assert answer.text == canned.text.replace("/tmp/x/blobs", str(tmp_path))
    assert len(answer.messages) == len(canned.messages)
    kind = answer_class(method)
    for one, other in zip(answer.read_all(kind), canned.read_all(kind), strict=True):
        assert covers(shape(one), shape(other)), (one, other)
        if isinstance(one, space_pb2.AddItemsResponse) and isinstance(other, space_pb2.AddItemsResponse):
            assert (one.totalFiles, one.totalBytes, one.completedFiles, one.completedBytes, one.result.error) == (
                other.totalFiles,
                other.totalBytes,
                other.completedFiles,
                other.completedBytes,
                other.result.error,
            )


def test_there_are_captures_of_all_kinds() -> None:
    assert len(CAPTURES) == 17
