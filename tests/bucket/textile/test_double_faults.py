"""The double's switches do what they say."""

import time
from functools import partial
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.error import ConnectionRefusedError

from ipfsreg.bucket.textile.proto import bucketsd_pb2
from tests.grpcweb_double.alone import Alone
from tests.grpcweb_double.peer import Http, call, connect, eventually, parse_response, post, post_head
from tests.grpcweb_double.wire import frame

from .double import Fault, TextileDouble
from .test_double_buckets import SERVICE, Server, header, part, server

__all__ = ["server"]


async def post_call(server: Server, method: str, request: Any) -> Any:
    return await post(server.double.port, f"{SERVICE}/{method}", server.metadata, frame(request.SerializeToString()))


@pytest_twisted.ensureDeferred
async def test_refusal_of_a_method_for_some_calls(server: Server) -> None:
    fault = server.double.faults.add(Fault("Root", nth=2, times=2, code=14, text="going down"))
    statuses = [(await server.call("Root", key=server.public)).status for _ in range(5)]
    assert statuses == [0, 14, 14, 0, 0]
    server.double.faults.remove(fault)
    server.double.faults.refuse("PushPath", 2, "storage quota exhausted")
    for _ in range(2):
        answer = await server.push(server.public, "a", b"x")
        assert (answer.status, answer.text) == (2, "storage quota exhausted")
    server.double.faults.clear()
    assert (await server.push(server.public, "a", b"x")).status == 0


@pytest_twisted.ensureDeferred
async def test_end_without_status_and_error_midway(server: Server) -> None:
    server.double.put_files(server.public, {"a": bytes(200000)})
    request = bucketsd_pb2.PullPathRequest(key=server.public, path="a")
    for transport in ("websocket", "post"):
        for code in (None, 2):
            server.double.faults.add(Fault("PullPath", after_messages=3, code=code, text="ipfs: gone"))
            if transport == "post":
                response = await post_call(server, "PullPath", request)
                assert response.complete
                answer = response.answer()
            else:
                answer = await server.call("PullPath", key=server.public, path="a")
            assert (answer.status, len(answer.messages)) == (code, 3)
            assert server.double.calls.calls[-1].status == code
    # Also where all was sent but the status: a push is then saved, and the client cannot know.
    server.double.faults.add(Fault("PushPath", after_messages=2))
    assert (await server.push(server.public, "b", b"x")).status is None
    assert "b" in server.double.files(server.public)


@pytest.mark.parametrize("reset", [False, True])
@pytest_twisted.ensureDeferred
async def test_connection_dropped_after_so_many_bytes_sent(server: Server, reset: bool) -> None:
    server.double.put_files(server.public, {"a": bytes(200000)})
    server.double.faults.add(Fault("PullPath", drop_after_sent=100000, reset=reset))
    http = Http()
    await connect(server.double.port, http)
    body = frame(bucketsd_pb2.PullPathRequest(key=server.public, path="a").SerializeToString())
    fields = {"content-type": "application/grpc-web+proto", "content-length": str(len(body))}
    http.write(post_head(f"{SERVICE}/PullPath", fields | server.metadata) + body)
    await http.until_closed()
    assert http.reset is reset
    if not reset:
        assert len(http.data) == 100000
        response = parse_response(http.data)
        assert response is not None
        assert (response.complete, response.answer().status) == (False, None)
    await eventually(lambda: not server.double.calls.running())
    assert server.double.calls.calls[-1].cancelled


@pytest_twisted.ensureDeferred
async def test_connection_dropped_after_so_many_bytes_received(server: Server) -> None:
    server.double.faults.add(Fault("PushPath", drop_after_received=100000, reset=True))
    answer = await server.push(server.public, "a", bytes(300000))
    assert answer.status is None
    assert server.double.files(server.public) == {}
    assert (await server.push(server.public, "a", bytes(300000))).status == 0


@pytest_twisted.ensureDeferred
async def test_hanging_call_ends_with_its_connection(server: Server) -> None:
    server.double.faults.add(Fault("Root", hang=True))
    http = Http()
    await connect(server.double.port, http)
    body = frame(bucketsd_pb2.RootRequest(key=server.public).SerializeToString())
    fields = {"content-type": "application/grpc-web+proto", "content-length": str(len(body))}
    http.write(post_head(f"{SERVICE}/Root", fields | server.metadata) + body)
    with pytest.raises(TimeoutError):
        await http.until_closed(0.1)
    assert not http.data
    http.abort()
    await eventually(lambda: not server.double.calls.running())


@pytest_twisted.ensureDeferred
async def test_file_cut_short_or_altered_with_status_0(server: Server) -> None:
    content = bytes(range(256)) * 400
    server.double.put_files(server.public, {"a": content})
    server.double.faults.add(Fault("PullPath", truncate=70000))
    assert await server.pull(server.public, "a") == (0, "", content[:70000])
    server.double.faults.add(Fault("PullPath", alter=True))
    status, _, altered = await server.pull(server.public, "a")
    assert (status, len(altered), altered != content) == (0, len(content), True)
    assert await server.pull(server.public, "a") == (0, "", content)


@pytest_twisted.ensureDeferred
async def test_corrupt_private_file_gives_no_byte(server: Server) -> None:
    server.double.put_files(server.private, {"a": b"x"})
    server.double.faults.corrupt.add((server.private, "a"))
    assert await server.pull(server.private, "a") == (2, "message corrupt or incorrect password", b"")


@pytest_twisted.ensureDeferred
async def test_private_file_is_checked_before_its_first_byte(server: Server) -> None:
    server.double.faults.decrypt_bytes_per_second = 10e6
    waits = {}
    for key in (server.public, server.private):
        server.double.put_files(key, {"a": bytes(2_000_000)})
        started = time.monotonic()
        websocket = await server.open("PullPath")
        websocket.send_message(bucketsd_pb2.PullPathRequest(key=key, path="a"))
        await websocket.until(partial(bool, websocket.messages))
        waits[key] = time.monotonic() - started
        await websocket.until_closed()
        assert websocket.answer().status == 0
    assert waits[server.private] > max(0.15, waits[server.public])


@pytest_twisted.ensureDeferred
async def test_pace_of_content(server: Server) -> None:
    faults = server.double.faults
    content = bytes(100_000)
    faults.push_bytes_per_second = 1e6
    started = time.monotonic()
    assert (await server.push(server.public, "a", content)).status == 0
    assert time.monotonic() - started > 0.09
    assert server.double.calls.of("PushPath")[0].lock_held > 0.09
    faults.pull_bytes_per_second = 1e6
    started = time.monotonic()
    assert (await server.pull(server.public, "a"))[2] == content
    assert time.monotonic() - started > 0.09


@pytest_twisted.ensureDeferred
async def test_latency_is_a_round_trip_and_one_more_to_connect(server: Server) -> None:
    server.double.faults.latency = 0.05
    http = Http()
    await connect(server.double.port, http)
    body = frame(bucketsd_pb2.RootRequest(key=server.public).SerializeToString())
    fields = {"content-type": "application/grpc-web+proto", "content-length": str(len(body))}
    waits = []
    for _ in range(2):
        http.data.clear()
        started = time.monotonic()
        http.write(post_head(f"{SERVICE}/Root", fields | server.metadata) + body)
        await http.until(lambda: bool((found := parse_response(http.data)) and found.complete))
        waits.append(time.monotonic() - started)
    assert waits[0] > 0.09
    assert 0.04 < waits[1] < waits[0]
    # Connecting, the upgrade, and the call are a round trip each.
    started = time.monotonic()
    assert (await server.push(server.public, "a", bytes(300000))).status == 0
    assert time.monotonic() - started > 0.14
    server.double.put_files(server.public, {"b": bytes(9 << 20)})
    assert (await server.pull(server.public, "b"))[2] == bytes(9 << 20)


@pytest_twisted.ensureDeferred
async def test_delay_of_one_method(server: Server) -> None:
    server.double.faults.add(Fault("Root", delay=0.15))
    started = time.monotonic()
    await server.ask("List")
    assert time.monotonic() - started < 0.15
    await server.ask("Root", key=server.public)
    assert time.monotonic() - started > 0.15


@pytest_twisted.ensureDeferred
async def test_goes_away_and_comes_back_on_the_same_port(server: Server) -> None:
    assert (await server.push(server.public, "a", b"kept")).status == 0
    websocket = await server.open("PushPath")
    websocket.send_message(header(server.public, "lost"))
    await eventually(lambda: server.double.buckets.is_locked(server.public))
    port = server.double.port
    await server.double.go_away()
    await websocket.until_closed()
    assert websocket.reset
    assert not server.double.buckets.is_locked(server.public)
    with pytest.raises(ConnectionRefusedError):
        await connect(port, Http())
    server.double.come_back()
    assert server.double.port == port
    assert set(server.double.files(server.public)) == {"a"}
    assert await server.pull(server.public, "a") == (0, "", b"kept")


@pytest_twisted.ensureDeferred
async def test_slow_reader_holds_the_server_up(server: Server) -> None:
    server.double.put_files(server.public, {"a": bytes(50_000_000)})
    websocket = await server.open("PullPath")
    websocket.transport.pauseProducing()  # type: ignore[union-attr]
    websocket.send_message(bucketsd_pb2.PullPathRequest(key=server.public, path="a"))
    await eventually(lambda: bool(server.double.calls.calls))
    record, sent = server.double.calls.calls[0], -1
    while sent != record.messages_sent:
        sent = record.messages_sent
        with pytest.raises(TimeoutError):
            await websocket.until_closed(0.05)
    assert record.messages_sent < 1100
    websocket.transport.resumeProducing()  # type: ignore[union-attr]
    await websocket.until_closed()
    assert record.messages_sent > 50_000_000 // 32768


@pytest_twisted.ensureDeferred
async def test_records(server: Server) -> None:
    await server.push(server.public, "a", bytes(100_000))
    await server.call("PullPath", key=server.public, path="none")
    push, pull = server.double.calls
    assert (push.method, push.service, push.transport) == (
        "PushPath",
        "api.bucketsd.pb.APIService",
        "websocket",
    )
    assert (push.messages_received, push.messages_sent, push.status) == (5, 2, 0)
    assert push.request.header.path == "a"
    assert push.finished is not None
    assert push.finished >= push.started
    assert push.lock_bucket == server.public
    assert (pull.status, pull.lock_held, pull.lock_taken) == (2, 0, None)
    assert set(pull.metadata) == {"x-textile-thread", "content-type", "x-grpc-web"}
    assert server.double.calls.methods() == ["PushPath", "PullPath"]
    server.double.calls.clear()
    server.double.calls.keep = False
    await server.call("Root", key=server.public)
    assert server.double.calls.calls == []


@pytest_twisted.ensureDeferred
async def test_mistake_of_the_double_is_not_hidden() -> None:
    server = Server(TextileDouble(hub=False))
    server.double.ipfs.put = None  # type: ignore[method-assign, assignment]
    assert (await server.push(server.public, "a", b"")).status == 13
    with pytest.raises(TypeError):
        await server.double.stop()


@pytest.mark.parametrize("kind", ["--hub", "--buckd"])
@pytest_twisted.ensureDeferred
async def test_run_by_itself(kind: str) -> None:
    process = Alone()
    known = await process.start("tests.bucket.textile.double", [kind, "--generation", "v2.6.9", "--key", "bk"])
    assert set(known) == ({"url", "key", "secret"} if kind == "--hub" else {"url"})
    port = int(known["url"].rpartition(":")[2])
    answer = await call(port, "/threads.pb.API/ListDBs", {}, b"")
    assert answer.status == (7 if kind == "--hub" else 0)
    await process.stop()


@pytest_twisted.ensureDeferred
async def test_unread_pushes_do_not_mix(server: Server) -> None:
    """Several files at once in the one file that content is kept in."""
    websockets = [await server.open("PushPath"), await server.open("PushPath")]
    many = await server.open("PushPaths")
    for number, websocket in enumerate(websockets):
        websocket.send_message(header((server.public, server.private)[number], "f"))
    thread = next(iter(server.double.threads.by_id.values()))
    third = server.double.add_bucket(thread, "third").key
    many.send_message(bucketsd_pb2.PushPathsRequest(header=bucketsd_pb2.PushPathsRequest.Header(key=third)))
    for turn in range(50):
        for number, websocket in enumerate(websockets):
            websocket.send_message(bucketsd_pb2.PushPathRequest(chunk=bytes([number]) * (turn + 1)))
        many.send_message(part("g", b"g" * turn + b"!"))
        many.send_message(part("h", b"h" * turn + b"!"))
    many.send_message(part("h"))
    many.send_message(part("g"))
    for websocket in (*websockets, many):
        websocket.finish()
        await websocket.until_closed()
        assert websocket.answer().status == 0
    for number, key in enumerate((server.public, server.private)):
        assert server.double.read(key, "f") == bytes([number]) * sum(range(51))
    for name in ("g", "h"):
        expected = b"".join(name.encode() * turn + b"!" for turn in range(50))
        assert server.double.read(third, name) == expected
