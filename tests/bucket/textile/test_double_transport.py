"""The two transports' bad habits (docs/protocols/grpc-web.md, "Websocket" and "Streams by POST"), each by name."""

import base64
import hashlib
from collections.abc import AsyncIterator

import pytest
import pytest_twisted

from ipfsreg.bucket.textile.proto import bucketsd_pb2
from tests.grpcweb_double.peer import (
    CONTENT_TYPE,
    Http,
    HttpResponse,
    Websocket,
    call,
    connect,
    eventually,
    open_call,
    parse_response,
    pause,
    post,
    post_head,
    read_answer,
)
from tests.grpcweb_double.wire import frame

from .double import CURRENT, OLD_WEBSOCKET, Generation, TextileDouble
from .double.bucket import Bucket

SERVICE = "/api.bucketsd.pb.APIService"


class Buckd:
    """A buckd with one bucket."""

    def __init__(self, generation: Generation) -> None:
        self.double = TextileDouble(hub=False, generation=generation).start()
        self.port = self.double.port
        thread = self.double.add_thread()
        self.bucket: Bucket = self.double.add_bucket(thread)
        self.metadata = {"x-textile-thread": thread.id_string}

    def header(self, path: str, root: str = "") -> bucketsd_pb2.PushPathRequest:
        header = bucketsd_pb2.PushPathRequest.Header(key=self.bucket.key, path=path, root=root)
        return bucketsd_pb2.PushPathRequest(header=header)

    async def open(self, method: str) -> Websocket:
        return await open_call(self.port, f"{SERVICE}/{method}", self.metadata)


def chunk(data: bytes) -> bucketsd_pb2.PushPathRequest:
    return bucketsd_pb2.PushPathRequest(chunk=data)


@pytest_twisted.async_yield_fixture()
async def buckd() -> AsyncIterator[Buckd]:
    buckd = Buckd(CURRENT)
    yield buckd
    await buckd.double.stop()


# What is no call.


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest_twisted.ensureDeferred
async def test_any_other_request_gets_an_empty_200(buckd: Buckd, method: str) -> None:
    http = Http()
    await connect(buckd.port, http)
    http.write(f"{method} / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    await http.until_closed()
    response = parse_response(http.data)
    assert response is not None
    assert (response.status, response.body) == (200, b"")
    assert response.header("grpc-status") is None


@pytest_twisted.ensureDeferred
async def test_websocket_without_the_one_subprotocol_is_no_call(buckd: Buckd) -> None:
    http = Http()
    await connect(buckd.port, http)
    http.write(
        b"GET /api.bucketsd.pb.APIService/Root HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MTIzNDU2Nzg5MDEyMzQ1Ng==\r\n"
        b"Sec-WebSocket-Protocol: grpc-websockets, other\r\n\r\n"
    )
    await http.until(lambda: b"\r\n\r\n" in http.data)
    assert http.data.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest_twisted.ensureDeferred
async def test_preflight(buckd: Buckd) -> None:
    http = Http()
    await connect(buckd.port, http)
    http.write(
        b"OPTIONS /x HTTP/1.1\r\nHost: x\r\nOrigin: http://page\r\nConnection: close\r\n"
        b"Access-Control-Request-Headers: content-type,x-grpc-web\r\n\r\n"
    )
    await http.until_closed()
    response = parse_response(http.data)
    assert response is not None
    assert response.header("access-control-allow-origin") == "http://page"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/api.bucketsd.pb.APIService/Nope", "unknown method Nope for service api.bucketsd.pb.APIService"),
        ("/api.usersd.pb.APIService/GetThread", "unknown service api.usersd.pb.APIService"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_unknown_methods_and_services(buckd: Buckd, path: str, text: str) -> None:
    answer = await call(buckd.port, path, buckd.metadata, b"")
    assert (answer.status, answer.text) == (12, text)
    answer = (await post(buckd.port, path, buckd.metadata, frame(b""))).answer()
    assert (answer.status, answer.text) == (12, text)


# Websocket.


@pytest_twisted.ensureDeferred
async def test_message_of_32769_bytes_closes_with_1009_and_nothing_is_stored(buckd: Buckd) -> None:
    websocket = await buckd.open("PushPath")
    websocket.send_message(buckd.header("big"))
    websocket.send_message(chunk(bytes(32758)))
    websocket.send_message(chunk(bytes(32759)))
    websocket.finish()
    await websocket.until_closed()
    assert (websocket.close_code, websocket.close_reason) == (1009, "read limited at 32769 bytes")
    assert websocket.answer().status is None
    assert buckd.double.files(buckd.bucket.key) == {}
    assert buckd.double.calls.of("PushPath")[0].messages_received == 2
    assert not buckd.double.buckets.is_locked(buckd.bucket.key)


@pytest_twisted.ensureDeferred
async def test_old_wrapper_has_no_limit_and_drops_tcp() -> None:
    buckd = Buckd(OLD_WEBSOCKET)
    websocket = await buckd.open("PushPath")
    websocket.send_message(buckd.header("big"))
    websocket.send_message(chunk(bytes(1 << 20)))
    websocket.finish()
    await websocket.until_closed()
    assert (websocket.answer().status, websocket.close_code) == (0, 1006)
    assert not websocket.reset
    assert buckd.double.read(buckd.bucket.key, "big") == bytes(1 << 20)
    await buckd.double.stop()


@pytest_twisted.ensureDeferred
async def test_one_grpc_message_over_several_websocket_messages_and_several_in_one(buckd: Buckd) -> None:
    websocket = await buckd.open("PushPath")
    stream = frame(buckd.header("a").SerializeToString())
    stream += frame(chunk(b"one ").SerializeToString()) + frame(chunk(b"two").SerializeToString())
    for start in range(0, len(stream), 7):
        websocket.send(b"\x00" + stream[start : start + 7])
    websocket.send(b"\x00" + frame(chunk(b" three").SerializeToString()) * 2)
    websocket.finish()
    await websocket.until_closed()
    assert websocket.answer().status == 0
    assert buckd.double.read(buckd.bucket.key, "a") == b"one two three three"


@pytest.mark.parametrize(("generation", "pongs"), [(CURRENT, 2), (OLD_WEBSOCKET, 1)], ids=str)
@pytest_twisted.ensureDeferred
async def test_pings_are_answered_after_finish_by_the_new_wrapper_only(generation: Generation, pongs: int) -> None:
    buckd = Buckd(generation)
    buckd.double.faults.save_seconds = 0.2
    websocket = await buckd.open("PushPath")
    websocket.send_message(buckd.header("a"))
    websocket.ping()
    await websocket.until(lambda: websocket.pongs == 1)
    websocket.finish()
    # Sent while the call is still under way, but after the half-close.
    websocket.ping()
    await websocket.until_closed()
    assert (websocket.answer().status, websocket.pongs) == (0, pongs)
    await buckd.double.stop()


@pytest.mark.parametrize(("generation", "stored"), [(CURRENT, False), (OLD_WEBSOCKET, True)], ids=str)
@pytest_twisted.ensureDeferred
async def test_client_that_leaves_after_finish_is_noticed_by_the_new_wrapper_only(
    generation: Generation, stored: bool
) -> None:
    buckd = Buckd(generation)
    buckd.double.faults.save_seconds = 0.1
    websocket = await buckd.open("PushPath")
    websocket.send_message(buckd.header("a"))
    websocket.finish()
    await websocket.until(lambda: len(websocket.answer().messages) == 1)
    websocket.abort()
    await eventually(lambda: not buckd.double.calls.running())
    assert ("a" in buckd.double.files(buckd.bucket.key)) is stored
    await buckd.double.stop()


@pytest.mark.parametrize("how", ["abort", "close"])
@pytest_twisted.ensureDeferred
async def test_half_an_upload_is_not_committed(buckd: Buckd, how: str) -> None:
    websocket = await buckd.open("PushPath")
    websocket.send_message(buckd.header("half"))
    websocket.send_message(chunk(b"half of it"))
    calls = buckd.double.calls.calls
    await eventually(lambda: bool(calls) and calls[0].messages_received == 2)
    assert buckd.double.buckets.is_locked(buckd.bucket.key)
    getattr(websocket, how)()
    await eventually(lambda: calls[0].finished is not None)
    record = calls[0]
    assert (record.cancelled, record.status) == (True, None)
    assert buckd.double.files(buckd.bucket.key) == {}
    assert not buckd.double.buckets.is_locked(buckd.bucket.key)


@pytest_twisted.ensureDeferred
async def test_text_message_as_metadata_is_never_answered(buckd: Buckd) -> None:
    websocket = Websocket(f"{SERVICE}/Root")
    await connect(buckd.port, websocket)
    await websocket.opened()
    websocket.send_text("content-type: application/grpc-web+proto\r\n")
    with pytest.raises(TimeoutError):
        await websocket.until_closed(0.1)
    assert websocket.messages == []
    assert buckd.double.calls.calls == []


@pytest.mark.parametrize(
    ("generation", "agreed"),
    [(OLD_WEBSOCKET, False), (Generation(2, 6, 16), True), (CURRENT, False)],
    ids=str,
)
@pytest_twisted.ensureDeferred
async def test_compression_is_agreed_to_by_some_releases_only(generation: Generation, agreed: bool) -> None:
    double = TextileDouble(hub=False, generation=generation).start()
    http = Http()
    await connect(double.port, http)
    http.write(
        b"GET /api.bucketsd.pb.APIService/Root HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: MTIzNDU2Nzg5MDEyMzQ1Ng==\r\nSec-WebSocket-Protocol: grpc-websockets\r\n"
        b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
    )
    await http.until(lambda: b"\r\n\r\n" in http.data)
    assert (b"permessage-deflate" in http.data) is agreed
    await double.stop()


# POST.


async def push_by_post(
    buckd: Buckd, content: bytes, headers: dict[str, str], *, chunked: bool, sizes: int = 32768
) -> tuple[HttpResponse, Http]:
    """PushPath by POST, its second half sent only after the first answer or a while."""
    body = frame(buckd.header("blob").SerializeToString())
    for start in range(0, len(content), sizes):
        body += frame(chunk(content[start : start + sizes]).SerializeToString())
    fields = CONTENT_TYPE | buckd.metadata | headers
    fields |= {"transfer-encoding": "chunked"} if chunked else {"content-length": str(len(body))}
    http = Http()
    await connect(buckd.port, http)
    http.write(post_head(f"{SERVICE}/PushPath", fields))
    for start in range(0, len(body), 65536):
        piece = body[start : start + 65536]
        http.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" if chunked else piece)
        await pause(0.005)
    if chunked:
        http.write(b"0\r\n\r\n")
    await http.until(lambda: bool((found := parse_response(http.data)) and found.complete))
    response = parse_response(http.data)
    assert response is not None
    return response, http


CONTENT = hashlib.sha256(b"seed").digest() * 20000  # 640,000 bytes


@pytest.mark.parametrize("chunked", [True, False])
@pytest_twisted.ensureDeferred
async def test_post_with_connection_close_works(buckd: Buckd, chunked: bool) -> None:
    response, http = await push_by_post(buckd, CONTENT, {"connection": "close"}, chunked=chunked)
    answer = response.answer()
    assert answer.status == 0
    assert buckd.double.read(buckd.bucket.key, "blob") == CONTENT
    events = [message.event for message in answer.read_all(bucketsd_pb2.PushPathResponse)]
    assert [bool(event.path) for event in events] == [False] * (len(events) - 1) + [True]
    await http.until_closed()


@pytest_twisted.ensureDeferred
async def test_keep_alive_breaks_a_chunked_body_at_the_first_progress_event(buckd: Buckd) -> None:
    response, _ = await push_by_post(buckd, CONTENT, {}, chunked=True)
    answer = response.answer()
    assert answer.status not in (0, None)
    assert buckd.double.files(buckd.bucket.key) == {}
    assert not buckd.double.buckets.is_locked(buckd.bucket.key)


@pytest_twisted.ensureDeferred
async def test_keep_alive_breaks_a_body_with_less_than_256_kib_unread(buckd: Buckd) -> None:
    response, _ = await push_by_post(buckd, CONTENT[:500000], {}, chunked=False)
    answer = response.answer()
    assert (answer.status, answer.text) == (14, "http: invalid Read on closed Body")
    assert buckd.double.files(buckd.bucket.key) == {}


@pytest_twisted.ensureDeferred
async def test_keep_alive_gives_the_connection_up_with_more_than_256_kib_unread(buckd: Buckd) -> None:
    content = CONTENT * 2
    response, http = await push_by_post(buckd, content, {}, chunked=False)
    assert response.answer().status == 0
    assert response.header("connection") == "close"
    assert buckd.double.read(buckd.bucket.key, "blob") == content
    await http.until_closed()


@pytest.mark.parametrize("chunked", [True, False])
@pytest_twisted.ensureDeferred
async def test_keep_alive_is_harmless_for_a_small_body(buckd: Buckd, chunked: bool) -> None:
    response, http = await push_by_post(buckd, CONTENT[:200000], {}, chunked=chunked)
    assert response.answer().status == 0
    assert response.header("connection") is None
    assert not http.closed
    assert buckd.double.read(buckd.bucket.key, "blob") == CONTENT[:200000]


@pytest_twisted.ensureDeferred
async def test_several_unary_calls_on_one_kept_connection(buckd: Buckd) -> None:
    http = Http()
    await connect(buckd.port, http)
    body = frame(bucketsd_pb2.RootRequest(key=buckd.bucket.key).SerializeToString())
    fields = CONTENT_TYPE | buckd.metadata | {"content-length": str(len(body))}
    for _ in range(3):
        http.data.clear()
        http.write(post_head(f"{SERVICE}/Root", fields) + body)
        await http.until(lambda: bool((found := parse_response(http.data)) and found.complete))
        response = parse_response(http.data)
        assert response is not None
        assert response.answer().read(bucketsd_pb2.RootResponse).root.key == buckd.bucket.key
    assert buckd.double.calls.connections == 1
    assert buckd.double.calls.calls[0].metadata["x-textile-thread"] == buckd.metadata["x-textile-thread"]


@pytest_twisted.ensureDeferred
async def test_text_form_is_padded_piece_by_piece(buckd: Buckd) -> None:
    body = base64.b64encode(frame(bucketsd_pb2.RootRequest(key=buckd.bucket.key).SerializeToString()))
    fields = {**buckd.metadata, "content-type": "application/grpc-web-text"}
    response = await post(buckd.port, f"{SERVICE}/Root", fields, body)
    message, trailer = response.body[: response.body.rindex(b"gAAAA")], b"gAAAABBncnBjLXN0YXR1czogMA0K"
    assert response.body == message + trailer
    answer = read_answer(base64.b64decode(message) + base64.b64decode(trailer))
    assert answer.read(bucketsd_pb2.RootResponse).root.key == buckd.bucket.key


@pytest.mark.parametrize("size", [1 << 20, 32 << 20])
@pytest_twisted.ensureDeferred
async def test_early_refusal_arrives_while_the_body_is_being_sent(buckd: Buckd, size: int) -> None:
    body = frame(buckd.header("blob", root="/ipfs/stale").SerializeToString())
    http = Http()
    await connect(buckd.port, http)
    fields = CONTENT_TYPE | buckd.metadata | {"connection": "close", "content-length": str(len(body) + size)}
    http.write(post_head(f"{SERVICE}/PushPath", fields) + body)
    http.write(bytes(size // 2))
    await http.until_closed()
    response = parse_response(http.data)
    assert response is not None
    assert (response.answer().status, response.answer().text) == (9, "update is non-fast-forward")


@pytest_twisted.ensureDeferred
async def test_early_refusal_over_a_websocket(buckd: Buckd) -> None:
    websocket = await buckd.open("PushPath")
    websocket.send_message(buckd.header("blob", root="/ipfs/stale"))
    await websocket.until_closed()
    assert (websocket.answer().status, websocket.close_code) == (9, 1000)


@pytest_twisted.ensureDeferred
async def test_body_cut_off_is_not_the_end_of_the_file(buckd: Buckd) -> None:
    http = Http()
    await connect(buckd.port, http)
    fields = CONTENT_TYPE | buckd.metadata | {"connection": "close", "content-length": "100000"}
    body = frame(buckd.header("blob").SerializeToString()) + frame(chunk(b"part").SerializeToString())
    http.write(post_head(f"{SERVICE}/PushPath", fields) + body)
    await eventually(lambda: bool(buckd.double.calls.calls))
    http.abort()
    await eventually(lambda: buckd.double.calls.calls[0].finished is not None)
    assert buckd.double.files(buckd.bucket.key) == {}


@pytest_twisted.ensureDeferred
async def test_grpc_timeout_is_honoured(buckd: Buckd) -> None:
    websocket = await open_call(buckd.port, f"{SERVICE}/PushPath", buckd.metadata | {"grpc-timeout": "50m"})
    websocket.send_message(buckd.header("blob"))
    await websocket.until_closed()
    assert (websocket.answer().status, websocket.answer().text) == (4, "context deadline exceeded")
