"""The double's switches, its watch on copies, and its transports (docs/protocols/space.md, "Ports" and "Traps")."""

import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError

from ipfsreg.bucket.space.proto import space_pb2
from tests.grpcweb_double.alone import Alone
from tests.grpcweb_double.peer import Http, call, connect, eventually, open_call, post, post_head
from tests.grpcweb_double.wire import frame

from .double import Fault, SpaceDouble
from .double.fixtures import space_daemon
from .double.peer import ask, get

__all__ = ["space_daemon"]


async def open_file(double: SpaceDouble, path: str = "a") -> Path:
    return Path((await get(double, "OpenFile", path=path, bucket="ddocker")).location)


def delete(path: Path) -> None:
    path.unlink()


def move(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))


def write(path: Path) -> None:
    path.write_bytes(b"changed")


def replace(path: Path) -> None:
    path.with_name("new").write_bytes(b"old")
    path.with_name("new").rename(path)


@pytest.mark.parametrize("touch", [delete, move, write, replace])
@pytest_twisted.ensureDeferred
async def test_daemon_dies_of_a_copy_that_is_touched(space_daemon: SpaceDouble, touch: Any) -> None:
    space_daemon.put_files({"a": b"old"})
    location = await open_file(space_daemon)
    assert location.read_bytes() == b"old"
    space_daemon.look_at_copies()
    assert space_daemon.listening
    touch(location)
    await eventually(lambda: not space_daemon.listening)
    assert space_daemon.touched == [(location, touch in (delete, move))]
    with pytest.raises(ConnectionRefusedError):
        await connect(space_daemon.port, Http())
    with pytest.raises(ConnectionRefusedError):
        await connect(space_daemon.rest_port, Http())
    space_daemon.come_back()
    again = await open_file(space_daemon)
    assert again.read_bytes() == (b"changed" if touch is write else b"old")
    assert (again == location) is (touch in (write, replace))


@pytest_twisted.ensureDeferred
async def test_or_puts_into_the_bucket_what_was_done_to_it(space_daemon: SpaceDouble) -> None:
    space_daemon.dies_when_touched = False
    space_daemon.put_files({"a": b"old", "b": b"old b"})
    written, deleted = await open_file(space_daemon), await open_file(space_daemon, "b")
    written.write_bytes(b"changed")
    deleted.unlink()
    space_daemon.look_at_copies()
    assert {path: space_daemon.read(path) for path in space_daemon.files()} == {"a": b"changed"}
    space_daemon.look_at_copies()
    assert len(space_daemon.touched) == 2
    assert space_daemon.listening


@pytest_twisted.ensureDeferred
async def test_looking_at_a_copy_is_no_harm(space_daemon: SpaceDouble, tmp_path: Path) -> None:
    space_daemon.put_files({"a": b"old"})
    location = await open_file(space_daemon)
    shutil.copyfile(location, tmp_path / "copy")
    with TemporaryDirectory() as beside:  # on the same file system, as a link has to be
        os.link(location, f"{beside}/link")
        space_daemon.look_at_copies()
        os.unlink(f"{beside}/link")
    space_daemon.look_at_copies()
    assert space_daemon.touched == []


@pytest_twisted.ensureDeferred
async def test_answer_without_status_and_cut_in_the_middle(space_daemon: SpaceDouble, tmp_path: Path) -> None:
    sources = [str(tmp_path / name) for name in "abc"]
    for source in sources:
        Path(source).write_text("x")
    fields: dict[str, Any] = {"sourcePaths": sources, "bucket": "ddocker"}
    space_daemon.faults.add(Fault("AddItems", after_messages=2))
    answer = await ask(space_daemon, "AddItems", **fields)
    assert (answer.status, len(answer.messages)) == (None, 2)
    # The message that was kept back was of a file that had been stored.
    assert len(space_daemon.files()) == 3
    space_daemon.faults.add(Fault("AddItems", after_messages=1, code=2, text="broke midway"))
    answer = await ask(space_daemon, "AddItems", **fields)
    assert (answer.status, answer.text, len(answer.messages)) == (2, "broke midway", 1)
    space_daemon.faults.add(Fault("AddItems", drop_after_sent=400))
    answer = await ask(space_daemon, "AddItems", **fields)
    assert answer.status is None
    space_daemon.faults.refuse("AddItems", 2, "storage quota exhausted")
    answer = await ask(space_daemon, "AddItems", **fields)
    assert (answer.status, answer.text) == (2, "storage quota exhausted")


@pytest_twisted.ensureDeferred
async def test_client_that_goes_away_stops_the_upload(space_daemon: SpaceDouble, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(3_000_000))
    space_daemon.faults.push_bytes_per_second = 4_000_000
    request = space_pb2.AddItemsRequest(sourcePaths=[str(tmp_path / "a")], bucket="ddocker")
    body = frame(request.SerializeToString())
    fields = {"content-type": "application/grpc-web+proto", "content-length": str(len(body))}
    http = Http()
    await connect(space_daemon.port, http)
    http.write(post_head("/space.SpaceApi/AddItems", fields | space_daemon.metadata) + body)
    key = space_daemon.bucket().key
    await eventually(lambda: space_daemon.world.buckets.is_locked(key))
    http.abort()
    await eventually(lambda: not space_daemon.calls.running())
    assert space_daemon.calls.calls[-1].cancelled
    assert space_daemon.files() == {}
    assert not space_daemon.world.buckets.is_locked(key)


@pytest_twisted.ensureDeferred
async def test_writers_of_one_bucket_wait_for_each_other(space_daemon: SpaceDouble, tmp_path: Path) -> None:
    space_daemon.faults.save_seconds = 0.03
    waiting = []
    for number in range(4):
        source = tmp_path / f"f{number}"
        source.write_text(str(number))
        adding = ask(space_daemon, "AddItems", sourcePaths=[str(source)], bucket="ddocker")
        waiting.append(Deferred.fromCoroutine(adding))
    for answer in waiting:
        assert (await answer).status == 0
    assert set(space_daemon.files()) == {"f0", "f1", "f2", "f3"}
    waits = sorted(record.lock_wait for record in space_daemon.calls.of("AddItems"))
    assert waits[0] < 0.02
    assert waits[-1] > 0.08


@pytest_twisted.ensureDeferred
async def test_stalled_call(space_daemon: SpaceDouble) -> None:
    space_daemon.faults.add(Fault("OpenFile", hang=True))
    waiting = Deferred.fromCoroutine(ask(space_daemon, "OpenFile", path="a", bucket="ddocker"))
    assert (await ask(space_daemon, "ListBuckets")).status == 0
    assert [record.method for record in space_daemon.calls.running()] == ["OpenFile"]
    space_daemon.drop_connections()
    with pytest.raises(AssertionError):
        await waiting


@pytest_twisted.ensureDeferred
async def test_goes_away_and_comes_back_with_all_it_had(space_daemon: SpaceDouble) -> None:
    space_daemon.put_files({"a": b"kept"})
    first = await open_file(space_daemon)
    await space_daemon.go_away()
    with pytest.raises(ConnectionRefusedError):
        await connect(space_daemon.port, Http())
    space_daemon.come_back()
    # A stale copy is handed out again, and is watched from then on.
    assert await open_file(space_daemon) == first
    first.write_bytes(b"changed")
    space_daemon.look_at_copies()
    assert space_daemon.touched == [(first, False)]


@pytest_twisted.ensureDeferred
async def test_websocket_ends_with_1006_also_when_all_went_well(space_daemon: SpaceDouble) -> None:
    space_daemon.put_files({"a": b"x"})
    websocket = await open_call(space_daemon.port, "/space.SpaceApi/OpenFile", space_daemon.metadata)
    websocket.send_message(space_pb2.OpenFileRequest(path="a", bucket="ddocker"))
    websocket.finish()
    await websocket.until_closed()
    answer = websocket.answer()
    assert Path(answer.read(space_pb2.OpenFileResponse).location).read_bytes() == b"x"
    assert websocket.close_code == 1006


@pytest_twisted.ensureDeferred
async def test_no_limit_of_a_websocket_message(space_daemon: SpaceDouble) -> None:
    request = space_pb2.AddItemsRequest(sourcePaths=["/none" + "x" * 100_000], bucket="ddocker")
    answer = await call(space_daemon.port, "/space.SpaceApi/AddItems", space_daemon.metadata, request)
    assert (answer.status, answer.text[:22]) == (2, "path not found at /non")


@pytest_twisted.ensureDeferred
async def test_errors_are_headers_only(space_daemon: SpaceDouble) -> None:
    body = frame(space_pb2.OpenFileRequest(path="a", bucket="ddocker").SerializeToString())
    for kind in ("application/grpc-web+proto", "application/grpc-web"):
        response = await post(
            space_daemon.port, "/space.SpaceApi/OpenFile", space_daemon.metadata | {"content-type": kind}, body
        )
        assert (response.status, response.body, response.complete) == (200, b"", True)
        assert response.header("grpc-status") == "2"
        assert response.header("content-type") == kind


@pytest_twisted.ensureDeferred
async def test_run_by_itself() -> None:
    process = Alone()
    known = await process.start("tests.bucket.space.double", ["--latency", "0.001"])
    assert set(known) == {"url", "rest_url", "token"}
    metadata = {"authorization": f"AppToken {known['token']}"}
    port = int(known["url"].rpartition(":")[2])
    answer = await call(port, "/space.SpaceApi/ListBuckets", metadata, b"")
    assert [bucket.name for bucket in answer.read(space_pb2.ListBucketsResponse).buckets] == ["personal"]
    await process.stop()
