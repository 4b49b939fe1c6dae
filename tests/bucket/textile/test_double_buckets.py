"""The double's buckets, method by method (docs/protocols/textile.md, "Buckets" and "Private buckets")."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_twisted

from ipfsreg.bucket.textile.proto import bucketsd_pb2
from tests.grpcweb_double.peer import Answer, Websocket, call, eventually, open_call, pause

from .double import NO_PUSH_PATHS, TextileDouble
from .double.bucket import Bucket
from .double.tree import SEED

SERVICE = "/api.bucketsd.pb.APIService"
KIBIBYTE = 1024


class Server:
    """A buckd with a public and a private bucket, and calls to it."""

    def __init__(self, double: TextileDouble) -> None:
        self.double = double.start()
        thread = double.add_thread()
        self.metadata = {"x-textile-thread": thread.id_string}
        self.public = double.add_bucket(thread, "public").key
        self.private = double.add_bucket(thread, "private", private=True).key

    async def call(self, method: str, **fields: Any) -> Answer:
        request = getattr(bucketsd_pb2, f"{method}Request")(**fields)
        return await call(self.double.port, f"{SERVICE}/{method}", self.metadata, request)

    async def ask(self, method: str, **fields: Any) -> Any:
        """A call that is to succeed: its answer."""
        return (await self.call(method, **fields)).read(getattr(bucketsd_pb2, f"{method}Response"))

    async def open(self, method: str) -> Websocket:
        return await open_call(self.double.port, f"{SERVICE}/{method}", self.metadata)

    async def push(self, key: str, path: str, content: bytes, root: str = "") -> Answer:
        websocket = await self.open("PushPath")
        websocket.send_message(header(key, path, root))
        for start in range(0, len(content), 32 * 1000):
            websocket.send_message(chunk(content[start : start + 32 * 1000]))
        websocket.finish()
        await websocket.until_closed()
        return websocket.answer()

    async def pull(self, key: str, path: str) -> tuple[int | None, str, bytes]:
        answer = await self.call("PullPath", key=key, path=path)
        chunks = [message.chunk for message in answer.read_all(bucketsd_pb2.PullPathResponse)]
        assert all(len(piece) <= 32768 for piece in chunks)
        return answer.status, answer.text, b"".join(chunks)

    def bucket(self, key: str) -> Bucket:
        return self.double.bucket(key)

    def metadata_paths(self, key: str) -> set[str]:
        """Of all but the seed."""
        return set(self.bucket(key).metadata) - {SEED}


def header(key: str, path: str, root: str = "") -> bucketsd_pb2.PushPathRequest:
    return bucketsd_pb2.PushPathRequest(header=bucketsd_pb2.PushPathRequest.Header(key=key, path=path, root=root))


def chunk(data: bytes) -> bucketsd_pb2.PushPathRequest:
    return bucketsd_pb2.PushPathRequest(chunk=data)


def many_header(key: str, root: str = "", paths: tuple[str, ...] = ()) -> bucketsd_pb2.PushPathsRequest:
    return bucketsd_pb2.PushPathsRequest(header=bucketsd_pb2.PushPathsRequest.Header(key=key, root=root, paths=paths))


def part(path: str, data: bytes = b"") -> bucketsd_pb2.PushPathsRequest:
    return bucketsd_pb2.PushPathsRequest(chunk=bucketsd_pb2.PushPathsRequest.Chunk(path=path, data=data))


@pytest_twisted.async_yield_fixture()
async def server() -> AsyncIterator[Server]:
    server = Server(TextileDouble(hub=False))
    yield server
    await server.double.stop()


# Create, List, Root, Links.


@pytest.mark.parametrize("private", [False, True])
@pytest_twisted.ensureDeferred
async def test_create(server: Server, private: bool) -> None:
    created = await server.ask("Create", name="new", private=private)
    root = created.root
    assert (len(root.key), root.key[:7], root.name, root.version) == (59, "bafzbei", "new", 1)
    assert root.path.startswith("/ipfs/bafybei")
    assert root.thread == server.metadata["x-textile-thread"]
    assert (len(created.seed), len(root.link_key), len(root.metadata.key)) == (32, 88 * private, 88 * private)
    assert created.links.url.endswith(f"/buckets/{root.key}" + ("?token=" if private else ""))
    assert created.links.ipns.endswith(f"/ipns/{root.key}" + ("?token=" if private else ""))
    listed = await server.ask("List")
    assert [bucket.name for bucket in listed.roots] == ["public", "private", "new"]
    assert (await server.ask("Root", key=root.key)).root == root
    item = (await server.ask("ListPath", key=root.key)).item
    assert [(child.name, child.cid) for child in item.items] == [(".textileseed", created.seed_cid)]


@pytest_twisted.ensureDeferred
async def test_names_of_buckets_are_not_unique_and_a_cid_can_fill_one(server: Server) -> None:
    await server.push(server.public, "d/f", b"x")
    item = (await server.ask("ListPath", key=server.public)).item
    twin = (await server.ask("Create", name="public", bootstrap_cid=item.cid)).root
    assert twin.key != server.public
    assert await server.pull(twin.key, "d/f") == (0, "", b"x")
    refused = await server.call("Create", name="x", bootstrap_cid="nonsense")
    assert refused.status == 2
    assert refused.text.startswith("invalid bootstrap cid: ")


@pytest_twisted.ensureDeferred
async def test_links(server: Server) -> None:
    await server.push(server.public, "a/b", b"x")
    links = await server.ask("Links", key=server.public, path="a/b")
    assert links.url.endswith(f"/buckets/{server.public}/a/b")
    assert (await server.call("Links", key=server.public, path="none")).status == 2


@pytest_twisted.ensureDeferred
async def test_unknown_bucket(server: Server) -> None:
    for method in ("Root", "Links", "ListPath", "PullPath", "Remove"):
        answer = await server.call(method, key="bafzbeinone")
        assert (answer.status, answer.text) == (2, "instance not found"), method
    assert (await server.push("bafzbeinone", "x", b"")).text == "instance not found"
    websocket = await server.open("PushPaths")
    websocket.send_message(many_header("bafzbeinone"))
    await websocket.until_closed()
    text = "getting bucket: rpc error: code = Unknown desc = instance not found"
    assert websocket.answer().text == text


# PushPath and PullPath.


@pytest.mark.parametrize("size", [0, 1, 32768, 262144, 262145, 700000])
@pytest.mark.parametrize("private", [False, True])
@pytest_twisted.ensureDeferred
async def test_push_and_pull(server: Server, private: bool, size: int) -> None:
    key = server.private if private else server.public
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    before = server.bucket(key).path
    answer = await server.push(key, "/blobs/sha256:aa", content)
    assert answer.status == 0
    *progress, final = [message.event for message in answer.read_all(bucketsd_pb2.PushPathResponse)]
    counts = [event.bytes for event in progress]
    assert counts == sorted(counts)
    assert counts[-1] == size + (84 if private else 0)
    assert len(counts) >= size // 262144 + 1
    assert not any(event.path or event.name for event in progress)
    item = (await server.ask("ListPath", key=key, path="blobs/sha256:aa")).item
    assert final.path == f"/ipfs/{item.cid}"
    assert int(final.size) == item.size >= size + (84 if private else 0)
    assert (item.size == size) is (not private and size <= 262144)
    assert final.root.path == server.bucket(key).path != before
    assert final.root.path_metadata["blobs/sha256:aa"].updated_at > 0
    assert await server.pull(key, "blobs/sha256:aa") == (0, "", content)


@pytest_twisted.ensureDeferred
async def test_the_same_content_has_the_same_cid_in_a_public_bucket_only(server: Server) -> None:
    def cids(key: str) -> set[str]:
        return {file.cid for file in server.double.files(key).values()}

    for key in (server.public, server.private):
        for path in ("a", "b"):
            await server.push(key, path, b"same")
    assert (len(cids(server.public)), len(cids(server.private))) == (1, 2)


@pytest_twisted.ensureDeferred
async def test_push_refusals(server: Server) -> None:
    websocket = await server.open("PushPath")
    websocket.send_message(chunk(b"x"))
    await websocket.until_closed()
    assert (websocket.answer().status, websocket.answer().text) == (2, "push bucket path header is required")
    answer = await server.push(server.public, "a/.textileseed.b", b"")
    assert answer.text == "paths containing .textileseed are not allowed"
    websocket = await server.open("PushPath")
    websocket.send_message(header(server.public, "a"))
    websocket.send_message(header(server.public, "a"))
    await websocket.until_closed()
    assert websocket.answer().text == "invalid request"
    assert server.double.files(server.public) == {}
    websocket = await server.open("PushPath")
    websocket.finish()
    await websocket.until_closed()
    assert (websocket.answer().status, websocket.answer().messages) == (0, [])


@pytest_twisted.ensureDeferred
async def test_stale_root_is_refused_and_an_empty_one_is_not_looked_at(server: Server) -> None:
    root = server.bucket(server.public).path
    assert (await server.push(server.public, "a", b"1", root)).status == 0
    answer = await server.push(server.public, "b", b"2", root)
    assert (answer.status, answer.text) == (9, "update is non-fast-forward")
    assert (await server.push(server.public, "b", b"2")).status == 0
    assert set(server.double.files(server.public)) == {"a", "b"}
    answer = await server.call("RemovePath", key=server.public, path="a", root=root)
    assert answer.status == 9


@pytest_twisted.ensureDeferred
async def test_pull_refusals(server: Server) -> None:
    for key in (server.public, server.private):
        await server.push(key, "dir/file", b"x")
        status, text, _ = await server.pull(key, "dir")
        assert (status, text) == (2, "node is a directory")
    directory = (await server.ask("ListPath", key=server.public, path="dir")).item.cid
    missing = await server.pull(server.public, "dir/none/deeper")
    assert missing == (2, f'no link named "none" under {directory}', b"")
    root = server.bucket(server.private).path
    missing = await server.pull(server.private, "dir/none")
    assert missing == (2, f"could not resolve path: {root}/dir/none", b"")


@pytest_twisted.ensureDeferred
async def test_dots_leave_a_public_bucket(server: Server) -> None:
    await server.push(server.private, "secret", b"x")
    await server.push(server.public, "a", b"y")
    cid = server.bucket(server.public).root.cid
    assert await server.pull(server.public, f"../{cid}/a") == (0, "", b"y")
    assert (await server.pull(server.private, f"../{cid}/a"))[0] == 2


@pytest_twisted.ensureDeferred
async def test_list_path_gives_one_level(server: Server) -> None:
    await server.push(server.public, "d/e/f", b"12345")
    await server.push(server.public, "d/g", b"6")
    answer = await server.ask("ListPath", key=server.public, path="d")
    item = answer.item
    assert (item.name, item.is_dir, item.items_count) == ("d", True, 2)
    assert item.path == f"{answer.root.path}/d"
    assert [(child.name, child.is_dir, child.items_count) for child in item.items] == [
        ("e", True, 1),
        ("g", False, 0),
    ]
    assert not item.items[0].items
    assert item.items[1].size == 1
    whole = (await server.ask("ListPath", key=server.public, path="/")).item
    assert (whole.name, whole.cid) == ("public", server.bucket(server.public).root.cid)


# The lock.


@pytest_twisted.ensureDeferred
async def test_the_lock_is_taken_before_content_and_holds_up_every_write(server: Server) -> None:
    slow = await server.open("PushPath")
    slow.send_message(header(server.public, "slow"))
    await eventually(lambda: server.double.buckets.is_locked(server.public))
    others = [
        await server.open("PushPath"),
        await server.open("PushPaths"),
        await server.open("RemovePath"),
    ]
    others[0].send_message(header(server.public, "quick"))
    others[0].finish()
    others[1].send_message(many_header(server.public))
    others[1].send_message(part("many"))
    others[1].finish()
    others[2].send_message(bucketsd_pb2.RemovePathRequest(key=server.public, path="none"))
    others[2].finish()
    await pause(0.1)
    assert not any(other.messages for other in others)
    # Reads and writes to another bucket go on.
    assert (await server.push(server.private, "other", b"")).status == 0
    assert (await server.ask("Root", key=server.public)).root.name == "public"
    slow.finish()
    for websocket in (slow, *others):
        await websocket.until_closed()
    assert [websocket.answer().status for websocket in (slow, *others)] == [0, 0, 0, 2]
    assert set(server.double.files(server.public)) == {"slow", "quick", "many"}
    records = [record for record in server.double.calls if record.lock_bucket == server.public]
    assert records[0].lock_held >= 0.1
    assert all(record.lock_wait >= 0.05 for record in records[1:])
    assert max(record.lock_held for record in records[1:]) < records[0].lock_held


@pytest_twisted.ensureDeferred
async def test_waiting_for_the_lock_outlives_the_client(server: Server) -> None:
    slow = await server.open("PushPath")
    slow.send_message(header(server.public, "slow"))
    await eventually(lambda: server.double.buckets.is_locked(server.public))
    impatient = await server.open("PushPath")
    impatient.send_message(header(server.public, "impatient"))
    impatient.finish()
    await eventually(lambda: len(server.double.calls.running()) == 2)
    await eventually(lambda: server.double.calls.calls[1].lock_wanted is not None)
    impatient.abort()
    await pause(0.05)
    assert len(server.double.calls.running()) == 2
    slow.finish()
    await slow.until_closed()
    await eventually(lambda: not server.double.calls.running())
    assert set(server.double.files(server.public)) == {"slow"}


# PushPaths.


@pytest_twisted.ensureDeferred
async def test_many_files_in_one_stream_are_saved_once_at_the_end(server: Server) -> None:
    websocket = await server.open("PushPaths")
    websocket.send_message(many_header(server.public, paths=("a", "b/c")))
    for message in (part("/a", b"one "), part("b/c", b"other"), part("/a", b"two"), part("b/c"), part("/a")):
        websocket.send_message(message)
    await websocket.until(lambda: len(websocket.answer().messages) == 2)
    assert server.double.files(server.public) == {}
    before = server.bucket(server.public).path
    websocket.send_message(part("empty"))
    websocket.finish()
    await websocket.until_closed()
    answers = websocket.answer().read_all(bucketsd_pb2.PushPathsResponse)
    assert websocket.answer().status == 0
    assert [(answer.path, answer.size) for answer in answers] == [("b/c", 5), ("a", 7), ("empty", 0)]
    assert answers[-1].root.path == server.bucket(server.public).path != before
    assert len({answer.root.path for answer in answers}) == 3
    assert not answers[0].cid.startswith("/")
    assert server.double.read(server.public, "a") == b"one two"
    assert set(server.double.files(server.public)) == {"a", "b/c", "empty"}


@pytest_twisted.ensureDeferred
async def test_without_the_empty_chunk_the_stream_never_ends_and_keeps_the_lock(server: Server) -> None:
    websocket = await server.open("PushPaths")
    websocket.send_message(many_header(server.public))
    websocket.send_message(part("a", b"not closed"))
    websocket.finish()
    with pytest.raises(TimeoutError):
        await websocket.until_closed(0.2)
    assert server.double.buckets.is_locked(server.public)
    assert server.double.calls.calls[0].finished is None
    websocket.abort()
    await eventually(lambda: not server.double.calls.running())
    assert server.double.files(server.public) == {}
    assert server.double.buckets.is_locked(server.public)  # for good


@pytest_twisted.ensureDeferred
async def test_error_in_a_stream_saves_what_was_linked(server: Server) -> None:
    for bad, text in [
        (part("a", b"again"), "writing chunk: io: read/write on closed pipe"),
        (part("x.textileseed"), "parsing path: paths containing .textileseed are not allowed"),
        (many_header(server.public), "on receive: invalid request"),
        (part("a/below a file"), "adding bucket link: expected protobuf dag node"),
    ]:
        websocket = await server.open("PushPaths")
        websocket.send_message(many_header(server.public))
        websocket.send_message(part("a", text.encode()))
        websocket.send_message(part("a"))
        websocket.send_message(bad)
        await websocket.until_closed()
        assert (websocket.answer().status, websocket.answer().text) == (2, text)
        assert server.double.read(server.public, "a") == text.encode()


@pytest_twisted.ensureDeferred
async def test_client_that_leaves_a_stream_has_saved_what_was_linked(server: Server) -> None:
    websocket = await server.open("PushPaths")
    websocket.send_message(many_header(server.public))
    websocket.send_message(part("a"))
    websocket.send_message(part("b", b"not closed"))
    await websocket.until(lambda: len(websocket.answer().messages) == 1)
    websocket.abort()
    await eventually(lambda: not server.double.calls.running())
    assert set(server.double.files(server.public)) == {"a"}
    assert not server.double.buckets.is_locked(server.public)


@pytest_twisted.ensureDeferred
async def test_old_release_has_neither_push_paths_nor_move_path() -> None:
    server = Server(TextileDouble(hub=False, generation=NO_PUSH_PATHS))
    websocket = await server.open("PushPaths")
    websocket.send_message(many_header(server.public))
    await websocket.until_closed()
    text = "unknown method PushPaths for service api.bucketsd.pb.APIService"
    assert (websocket.answer().status, websocket.answer().text) == (12, text)
    answer = await server.call("MovePath", key=server.public, from_path="a", to_path="b")
    assert answer.status == 12
    assert (await server.push(server.public, "a", b"")).status == 0
    await server.double.stop()
