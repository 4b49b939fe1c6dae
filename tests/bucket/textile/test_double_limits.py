"""The sizes that break a bucket, and that the double can hold as many files as a real registry would push."""

import time
from itertools import count

import pytest
import pytest_twisted

from ipfsreg.bucket.textile.proto import bucketsd_pb2
from tests.full import FULL, some
from tests.marks import full

from .double import Limits, RpcError, Synthetic, TextileDouble
from .double.unixfs import FileBuilder, cid_string, dag_size_of_file
from .test_double_buckets import Server, part, server

__all__ = ["server"]


def digest_path(number: int) -> str:
    return f"blobs/sha256:{number:064x}"


def fanned_path(number: int) -> str:
    return f"blobs/sha256/{number % 256:02x}/{number:064x}"


@pytest.mark.parametrize(
    ("size", "cid", "dag_size"),
    [
        (0, "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku", 0),
        (1, "bafkreidogqfzz75tpkmjzjke425xqcrmpcib2p5tg44hnbirumdbpl5adu", 1),
        (262144, "bafkreicyf2rsjlabvogs5vfihpzfegm2q5hjwrohaneftr2crm6gsnlznm", 262144),
        (262145, "bafybeidgoqoyg4yhalu6oks2gnsjbs74tnoepwkl77plj4i4rd6lhvt424", 262249),
        (1000000, "bafybeif47thwqop25vmml3tn3rekom7ximqq3dk7jh2dyrk7nkksmsqtjq", 1000208),
        (45613056, "bafybeictnhkryr6nrwjc27yponmmlpktev4dnsvngaji55edlddqcrcwqu", 45621766),
        (45613057, "bafybeibceeiwyvx3pxrrewxawlbhjvw5ia7lqgj7pt6zjsw56m6vxph5dq", 45621926),
        (104857607, "bafybeihyiu3vixvlghqryoze43lwqtpwt2aocvz3wstpdkwklqmb3ihlam", 104877848),
    ],
)
def test_cids_and_sizes_of_files_are_those_of_ipfs(size: int, cid: str, dag_size: int) -> None:
    """What the npm package ipfs-unixfs-importer 15 made of the same bytes, with go-ipfs's settings."""
    block = bytes((number * 31 + (number >> 8)) & 255 for number in range(65536))
    content = (block * (size // len(block) + 1))[:size]
    builder = FileBuilder()
    for start in range(0, size, 100000):
        builder.update(content[start : start + 100000])
    binary_cid, size_of_dag, _ = builder.finish()
    assert (cid_string(binary_cid), size_of_dag) == (cid, dag_size)
    assert dag_size_of_file(size) == dag_size


def test_an_entry_of_metadata_has_the_size_that_the_fact_sheet_tells() -> None:
    double = TextileDouble(hub=False)
    key = double.add_bucket(double.add_thread()).key
    before, encoded = double.bucket(key).document_size(), len(double.bucket(key).encoded())
    double.put_files(key, {digest_path(0): b"x"})
    assert double.bucket(key).document_size() - before == 126
    assert len(double.bucket(key).encoded()) - encoded == 93
    double.content.close()


@full
@pytest_twisted.ensureDeferred
async def test_document_past_4_mib_makes_the_bucket_useless(server: Server) -> None:
    double, numbers = server.double, count()
    assert isinstance(double.limits.document, int)
    # Two levels, so that no directory comes near its own limit.
    room = (double.limits.document - double.bucket(server.public).document_size()) // 130
    double.put_files(server.public, {fanned_path(next(numbers)): b"" for _ in range(room - 50)})
    assert 31000 < room < 34000
    assert (await server.push(server.public, "still/works", b"x")).status == 0
    with pytest.raises(RpcError) as raised:
        double.put_files(server.public, {fanned_path(next(numbers)): b"" for _ in range(500)})
    assert raised.value.code == 8
    for method in ("ListPath", "PullPath", "Links", "RemovePath", "SetPath"):
        answer = await server.call(method, key=server.public, path="still/works")
        assert answer.status == (2 if method == "SetPath" else 8), method
        assert "grpc: received message larger than max (" in answer.text
    assert (await server.call("Root", key=server.public)).status == 8
    assert (await server.push(server.public, "more", b"x")).status == 8
    websocket = await server.open("PushPaths")
    websocket.send_message(
        bucketsd_pb2.PushPathsRequest(header=bucketsd_pb2.PushPathsRequest.Header(key=server.public))
    )
    await websocket.until_closed()
    assert websocket.answer().text.startswith("getting bucket: rpc error: code = ResourceExhausted desc = ")
    # And with it the list of the thread, but not the other bucket.
    assert (await server.call("List")).status == 8
    assert (await server.push(server.private, "fine", b"x")).status == 0


@pytest_twisted.ensureDeferred
async def test_list_has_all_documents_of_a_thread_in_one_message(server: Server) -> None:
    server.double.limits.documents = 400_000
    for key in (server.public, server.private):
        server.double.put_files(key, {fanned_path(number): b"" for number in range(1700)})
        assert (await server.call("Root", key=key)).status == 0
    assert (await server.call("List")).status == 8
    server.double.limits.documents = None
    assert (await server.call("List")).status == 0


@pytest.mark.parametrize("private", some(1, [False, True]))
@pytest_twisted.ensureDeferred
async def test_flat_directory_ends_at_about_9000_entries(server: Server, private: bool) -> None:
    key = server.private if private else server.public
    server.double.put_files(key, {digest_path(number): b"x" for number in range(9000)})
    with pytest.raises(RpcError) as raised:
        server.double.put_files(key, {digest_path(number): b"x" for number in range(9000, 9300)})
    assert "produced block is over 1MiB" in raised.value.text
    assert len(server.double.files(key)) == 9000
    # The other entries still work, and so do other directories.
    assert (await server.push(key, digest_path(5), b"new")).status == 0
    assert (await server.push(key, "other/file", b"x")).status == 0


@pytest_twisted.ensureDeferred
async def test_bucket_size_and_quotas() -> None:
    server = Server(TextileDouble(hub=False, limits=Limits(bucket_size=1000)))
    answer = await server.push(server.public, "a", bytes(2000))
    assert (answer.status, answer.text) == (2, "max bucket size exceeded")
    server.double.faults.storage_exhausted = True
    answer = await server.push(server.public, "a", b"")
    assert (answer.status, answer.text) == (2, "storage quota exhausted")
    server.double.faults.storage_exhausted = False
    assert (await server.push(server.public, "a", b"")).status == 0
    server.double.faults.egress_exhausted = True
    answer = await server.call("PullPath", key=server.public, path="a")
    assert answer.status == 8
    assert answer.text.startswith("network egress exhausted: ")
    await server.double.stop()


@pytest.mark.parametrize(("private", "files"), [(False, 200_000 if FULL else 5_000), (True, 40_000 if FULL else 1_000)])
def test_many_files_with_the_limits_enforced(private: bool, files: int) -> None:
    """Spread as a client must spread them, and with flat cost."""
    double = TextileDouble(hub=False, keep_content=False)
    thread = double.add_thread()
    buckets = [double.add_bucket(thread, f"b{number}", private=private).key for number in range(8)]
    seconds = []
    for batch in range(0, files, 1000):
        started = time.perf_counter()
        contents = {fanned_path(number): b"%d" % number for number in range(batch, batch + 1000)}
        double.put_files(buckets[batch // 1000 % len(buckets)], contents)
        seconds.append(time.perf_counter() - started)
    assert sum(len(double.files(key)) for key in buckets) == files
    assert all(double.bucket(key).document_size() < 4194304 for key in buckets)
    assert sum(seconds) < 60
    assert min(seconds[-5:]) < 4 * min(seconds[:5])
    double.content.close()


@pytest_twisted.ensureDeferred
async def test_thousand_files_in_one_stream(server: Server) -> None:
    websocket = await server.open("PushPaths")
    websocket.send_message(
        bucketsd_pb2.PushPathsRequest(header=bucketsd_pb2.PushPathsRequest.Header(key=server.public))
    )
    for number in range(1000):
        websocket.send_message(part(fanned_path(number), b"%d" % number))
        websocket.send_message(part(fanned_path(number)))
    websocket.finish()
    await websocket.until_closed()
    assert (websocket.answer().status, len(websocket.answer().messages)) == (0, 1000)
    assert len(server.double.files(server.public)) == 1000


@pytest_twisted.ensureDeferred
async def test_content_that_was_not_kept(server: Server) -> None:
    server.double.content.keep = False
    assert (await server.push(server.public, "a", b"x" * 100)).status == 0
    status, text, _ = await server.pull(server.public, "a")
    assert status == 2
    assert "block was not found locally" in text
    server.double.put_files(server.public, {"b": Synthetic(5 << 20)})
    status, _, content = await server.pull(server.public, "b")
    assert (status, len(content)) == (0, 5 << 20)
