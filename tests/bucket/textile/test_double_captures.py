"""The double understands every byte that the official JavaScript clients were seen to send."""

import json
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.unknown_fields import UnknownFieldSet

from ipfsreg.bucket.textile.proto import bucketsd_pb2, threads_pb2, usersd_pb2
from tests.grpcweb_double.peer import Websocket, connect
from tests.grpcweb_double.wire import FrameParser

from .double import TextileDouble
from .double.unixfs import cid_bytes, cid_string

CAPTURES = Path(__file__).parent / "double" / "captures"
CLIENTS = sorted(CAPTURES.glob("textile-*.json"))

THREAD_ID = b"\x01\x55" + b"\x07" * 32
BUCKET_KEY = "bafzbeigex2zd6pjjmqftoqmqhmg3yzbrmyp3wqprbc6ttgbuxnilyxgpoy"
ROOT_CID = "bafybeibwmyzpfb4jnwqmx2wbu2bpzg2u6n2wnkmqgxqgvvmrcp4c5x4ype"
FILE_CID = "bafkreih6hsh3e2ey7kzvrn6fzkwd2v4s6r5srdzyw2rgv7xvn6xkk3kkzy"

SERVICES = {
    service.full_name: service
    for module in (threads_pb2, usersd_pb2, bucketsd_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
}


def load(name: str) -> dict[str, Any]:
    capture: dict[str, Any] = json.loads((CAPTURES / name).read_text())
    return capture


def request_class(path: str) -> type[Message]:
    service, _, method = path.removeprefix("/").partition("/")
    return GetMessageClass(SERVICES[service].methods_by_name[method].input_type)


def unknown_fields(message: Message) -> int:
    count = len(UnknownFieldSet(message))
    for descriptor, value in message.ListFields():
        if descriptor.message_type is not None and not descriptor.message_type.GetOptions().map_entry:
            values = value if descriptor.is_repeated else [value]
            count += sum(unknown_fields(inner) for inner in values)
    return count


def set_up(capture: dict[str, Any]) -> TextileDouble:
    """A double in the state that the capture's canned answers pretended."""
    scenario = capture["scenario"]
    double = TextileDouble(hub="local" not in scenario)
    tokens = scenario == "getToken"
    key = double.accounts.add_key(
        secure=not tokens and scenario != "getOrCreate-insecure-key", for_users=tokens, **capture["keyInfo"]
    )
    double.threads_service.make_challenge = lambda: b"\x03" * 32
    if scenario in ("getOrCreate-new-thread", "getOrCreate-insecure-key", "local-no-keys-newDB-create"):
        return double
    bucket = double.add_bucket(double.add_thread(key=key, thread_id=THREAD_ID), key=BUCKET_KEY)
    if scenario in ("pullPath", "listPath", "removePath"):
        double.put_files(BUCKET_KEY, {"blobs/sha256:aa": b"hello world\n"})
    if scenario == "setPath":
        double.put_files(BUCKET_KEY, {"elsewhere": b"something"})
        file = double.files(BUCKET_KEY)["elsewhere"]
        double.ipfs.rename(file, FILE_CID)
    bucket = double.bucket(BUCKET_KEY)
    if scenario != "pushPath-stale-root":
        double.ipfs.rename(bucket.root, ROOT_CID)
    return double


def as_stream(messages: list[str]) -> list[tuple[int, bytes]]:
    return list(FrameParser(1 << 31).feed(b"".join(bytes.fromhex(message) for message in messages)))


@pytest.mark.parametrize("path", CLIENTS, ids=lambda path: path.stem)
@pytest_twisted.ensureDeferred
async def test_capture_is_understood(path: Path) -> None:
    capture = load(path.name)
    double = set_up(capture).start()
    try:
        for exchange in capture["exchanges"]:
            await replay(double, exchange)
    finally:
        await double.stop()


async def replay(double: TextileDouble, exchange: dict[str, Any]) -> None:
    kind = request_class(exchange["url"])
    sent = [bytes.fromhex(frame["hex"]) for frame in exchange["clientFrames"]]
    messages = [message[6:] for message in sent[1:] if message[0] == 0 and len(message) > 1]
    for message in messages:
        decoded = kind.FromString(message)
        assert unknown_fields(decoded) == 0
        assert decoded.SerializeToString(deterministic=True) == message

    websocket = Websocket(exchange["url"])
    await connect(double.port, websocket)
    await websocket.opened()
    for message in sent:
        websocket.send(message)
    await websocket.until_closed()

    canned = as_stream([frame["hex"] for frame in exchange["serverFrames"]])
    record = double.calls.calls[-1]
    assert (record.status, record.transport) == (websocket.answer().status, "websocket")
    if messages:
        assert record.messages_received == len(messages) or record.status != 0
        assert record.request == kind.FromString(messages[0])
    got = as_stream([message.hex() for message in websocket.messages])
    # The canned blocks of headers and trailers are those of the real wrapper.
    assert (got[0], got[-1]) == (canned[0], canned[-1])
    assert websocket.close_code == exchange["closeCodeSeenByServer"] == 1000
    assert websocket.close_reason == "request body closed"
    assert all(flag == 0 for flag, _ in got[1:-1])


def test_there_are_captures_of_both_clients() -> None:
    clients = {json.loads(path.read_text())["client"] for path in CLIENTS}
    assert clients == {"@textile/hub 6.3.4", "@textile/hub 4.1.0"}
    assert len(CLIENTS) == 35


@pytest_twisted.ensureDeferred
async def test_token_of_capture_is_the_golden_public_keys() -> None:
    capture = load("textile-634-getToken.json")
    double = set_up(capture).start()
    try:
        await replay(double, capture["exchanges"][0])
        assert double.calls.calls[-1].request.key == capture["result"]["pub"]
    finally:
        await double.stop()


def test_cid_of_a_known_block() -> None:
    digest = bytes.fromhex("fe3c8fb26898fab358b7c5caac3d5792f47b288f38b6a26afef56faea56d4ace")
    assert cid_string(cid_bytes(0x55, digest)) == FILE_CID
