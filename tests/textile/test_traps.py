"""The traps of the fact sheet's section 8, each by its number: what these tests do would fail if we fell into it."""

import base64
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_twisted
from twisted.logger import LogEvent, LogLevel, formatEvent

from ipfsreg.bucket.errors import BucketError, NotFound, Refused, Unavailable
from ipfsreg.bucket.textile import room, shard
from ipfsreg.bucket.textile.options import TextileOptions
from ipfsreg.grpcweb.channel import Channel
from ipfsreg.grpcweb.text import TextDecoder
from ipfsreg.registry import layout
from ipfsreg.registry.digest import digest_of

from ..bucket.contract import together
from .backend import LIMIT, Backend, listening, pause, reactor, running
from .double import OLD_WEBSOCKET, Fault, Limits, RpcError, TextileDouble
from .double.bucket import WRITER
from .double.metadata import Entry
from .registry import logged

BUCKET = "ipfsreg"
MEBIBYTE = 1024 * 1024


@pytest_twisted.async_yield_fixture()
async def hub() -> AsyncIterator[TextileDouble]:
    async with listening(TextileDouble(hub=True)) as double:
        yield double


@pytest_twisted.async_yield_fixture()
async def buckd() -> AsyncIterator[TextileDouble]:
    async with listening(TextileDouble(hub=False)) as double:
        yield double


@pytest_twisted.async_yield_fixture()
async def on_hub(hub: TextileDouble, tmp_path: Path) -> AsyncIterator[Backend]:
    async with running(Backend(hub, tmp_path / "daemon", hub.accounts.add_key())) as backend:
        yield backend


@pytest_twisted.async_yield_fixture()
async def on_buckd(buckd: TextileDouble, tmp_path: Path) -> AsyncIterator[Backend]:
    async with running(Backend(buckd, tmp_path / "daemon")) as backend:
        yield backend


@pytest.fixture
def log() -> Iterator[list[LogEvent]]:
    with logged() as events:
        yield events


@pytest_twisted.ensureDeferred
async def test_trap_01_http_200_is_no_success(on_hub: Backend) -> None:
    bucket, faults = on_hub.bucket, on_hub.double.faults
    await bucket.put("d/f", b"old")
    # Progress, and the final event, and then the end of the stream in good order, without a status.
    faults.add(Fault("PushPath", after_messages=2, times=2))
    with pytest.raises(Unavailable):
        await bucket.put("d/g", b"new")
    # Status 0 without the final event.
    faults.add(Fault("PushPath", after_messages=1, code=0, times=2))
    with pytest.raises(Unavailable, match="final event"):
        await bucket.put("d/h", b"new")
    # All of the content, and no status.
    faults.add(Fault("PullPath", after_messages=1))
    with pytest.raises(Unavailable):
        await bucket.get("d/f", LIMIT)
    assert await bucket.get("d/f", LIMIT) == b"old"


@pytest_twisted.ensureDeferred
async def test_trap_02_not_found_is_no_missing_file(on_hub: Backend) -> None:
    bucket, double = on_hub.bucket, on_hub.double
    await bucket.put("d/f", b"there")
    said = [
        (5, "API key not found or is invalid", Refused),
        (5, "Account not found", Refused),
        (5, "thread not found", Unavailable),
        (5, "something not found", Unavailable),
        (2, "db required", Unavailable),
        (2, "instance not found", Unavailable),
        (2, "no such thing", Unavailable),
    ]
    for code, text, meaning in said:
        double.faults.refuse("PullPath", code, text)
        double.faults.refuse("ListPath", code, text)
        for ask in (lambda: bucket.get("d/f", LIMIT), lambda: bucket.stat("d/f"), lambda: bucket.list("d")):
            with pytest.raises(BucketError) as caught:
                await ask()
            assert isinstance(caught.value, meaning), (code, text)
            assert not isinstance(caught.value, NotFound)
        double.faults.clear()
    with pytest.raises(NotFound):
        await bucket.get("d/none", LIMIT)
    with pytest.raises(NotFound):
        await bucket.get("none/none", LIMIT)
    assert await bucket.get("d/f", LIMIT) == b"there"


@pytest.mark.parametrize("websocket", [False, True], ids=["post", "websocket"])
@pytest_twisted.ensureDeferred
async def test_trap_03_pushes_neither_keep_alive_nor_too_long(
    websocket: bool, hub: TextileDouble, tmp_path: Path
) -> None:
    async with running(Backend(hub, tmp_path / "daemon", hub.accounts.add_key(), websocket=websocket)) as backend:
        await push_what_breaks(backend)
    pushes = [*hub.calls.of("PushPath"), *hub.calls.of("PushPaths")]
    assert {record.transport for record in pushes} == {"websocket" if websocket else "post"}


async def push_what_breaks(on_hub: Backend) -> None:
    # Progress events come from 256 KiB on; paths as long as they get leave the least room in a message.
    contents = {f"{'x' * 200}/{'y' * 200}/{number}": os.urandom(700_000) for number in range(4)}
    await on_hub.bucket.put("first", os.urandom(700_000))
    await together(*(on_hub.bucket.put(path, content) for path, content in contents.items()))
    for path, content in contents.items():
        assert await on_hub.bucket.get(path, LIMIT) == content
    calls = on_hub.double.calls
    assert {record.status for record in (*calls.of("PushPath"), *calls.of("PushPaths"))} == {0}
    assert calls.of("PushPaths")
    for record in calls:
        alone = record.transport == "websocket" or record.metadata.get("connection") == "close"
        assert alone or record.method not in {"PushPath", "PushPaths"}
        # The double looks for the signature only where it belongs: in the first message.
        assert record.metadata["x-textile-api-sig"]


@pytest_twisted.ensureDeferred
async def test_trap_04_no_needless_root(on_hub: Backend) -> None:
    bucket, calls = on_hub.bucket, on_hub.double.calls
    await together(*(bucket.put(f"d/{number}", b"x") for number in range(20)))
    pushes = [*calls.of("PushPath"), *calls.of("PushPaths")]
    assert {record.request.header.root for record in pushes} == {""}
    assert {record.status for record in pushes} == {0}
    # Where a root is needed, for taking away a directory that is empty, a stale one takes nothing with it.
    await bucket.put("e/f/last", b"x")
    on_hub.double.faults.add(Fault("RemovePath", nth=2, delay=0.2))

    async def push_meanwhile() -> None:
        await pause(0.1)
        await bucket.put("e/f/new", b"new")

    await together(bucket.remove("e/f/last"), push_meanwhile())
    assert 9 in {record.status for record in calls.of("RemovePath")}
    assert await bucket.get("e/f/new", LIMIT) == b"new"


@pytest_twisted.ensureDeferred
async def test_trap_05_a_push_that_hangs_has_a_deadline(hub: TextileDouble, tmp_path: Path) -> None:
    backend = Backend(hub, tmp_path / "daemon", hub.accounts.add_key(), silence="300ms", timeout="300ms")
    async with running(backend) as hasty:
        await hasty.bucket.put("d/f", b"x")
        hub.faults.add(Fault("PushPath", hang=True, times=2))
        began = reactor.seconds()
        with pytest.raises(Unavailable):
            await hasty.bucket.put("d/g", b"x")
        assert reactor.seconds() - began < 2
        # And it does not keep the lock: the next one need not wait for anything.
        await hasty.bucket.put("d/h", b"x")
        assert not hub.buckets.is_locked(hub.bucket(BUCKET).key)


@pytest_twisted.ensureDeferred
async def test_trap_06_each_call_is_signed_anew_and_clocks_are_compared(on_hub: Backend) -> None:
    bucket, double = on_hub.bucket, on_hub.double
    for _ in range(3):
        await bucket.put("d/f", b"x")
        await pause(0.01)
    expiries = [record.metadata["x-textile-api-sig-msg"] for record in double.calls.of("PushPath")]
    assert len(set(expiries)) == 3
    double.faults.clock_offset = 3600.0
    with pytest.raises(Refused, match=r"clock is 3\d\d\d s behind"):
        await bucket.get("d/f", LIMIT)
    double.faults.clock_offset = 1700.0  # within the half hour for which a signature counts
    assert await bucket.get("d/f", LIMIT) == b"x"


@pytest_twisted.ensureDeferred
async def test_trap_07_metadata_growth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "FULL", 20)
    async with listening(TextileDouble(hub=True, limits=Limits(document=8_000, documents=8_000))) as double:
        paths = [f"d{number % 13}/{secrets.token_hex(16)}" for number in range(180)]  # some 20,000 bytes of metadata
        async with running(Backend(double, tmp_path / "daemon", double.accounts.add_key())) as backend:
            for start in range(0, 180, 30):
                await together(*(backend.bucket.put(path, path.encode()) for path in paths[start : start + 30]))
            for path in paths[::29]:
                assert await backend.bucket.get(path, LIMIT) == path.encode()
            found = [
                f"d{number}/{each.name}" for number in range(13) for each in await backend.bucket.list(f"d{number}")
            ]
            assert sorted(found) == sorted(paths)
        assert len(double.buckets.all()) > 5
        assert max(bucket.document_size() for bucket in double.buckets.all()) < 8_000


@pytest_twisted.ensureDeferred
async def test_trap_08_flat_directories(tmp_path: Path) -> None:
    # 256 entries of two letters fit into such a block, 270 of a digest do not.
    double = TextileDouble(hub=True, limits=Limits(directory_block=20_000))
    key = double.accounts.add_key()
    async with listening(double), running(Backend(double, tmp_path / "daemon", key)) as backend:
        contents = [b"%d" % number for number in range(270)]
        digests = [digest_of(content) for content in contents]
        await together(
            *(backend.bucket.put(layout.blob(digest), b"") for digest in digests),
        )
        assert [digest async for digest in layout.all_blobs(backend.bucket)] == sorted(digests, key=str)
        # The trap is there: the same files in one directory do not fit.
        flat = {f"flat/{digest}": b"" for digest in digests}
        with pytest.raises(RpcError, match="big blocks"):
            double.put_files(double.buckets.all()[0].key, flat)
        # Where somebody makes such a directory all the same, it goes on in another bucket.
        await together(*(backend.bucket.put(path, content) for path, content in flat.items()))
        assert [f"flat/{entry.name}" for entry in await backend.bucket.list("flat")] == sorted(flat)


@pytest_twisted.ensureDeferred
async def test_trap_09_sizes_that_are_not_of_the_content(on_hub: Backend, hub: TextileDouble, tmp_path: Path) -> None:
    for length in (0, 1, 262_144, 262_145, 700_000):
        await on_hub.bucket.put("f", bytes(length))
        listed = hub.files(BUCKET)["f"].dag_size
        size = (await on_hub.bucket.stat("f")).size
        assert size == (length if length <= 262_144 else None)
        assert listed == length or size is None
        reader = await on_hub.bucket.open("f")
        assert reader.size is None
        reader.close()
    key = hub.accounts.add_key()
    async with running(Backend(hub, tmp_path / "private", key, encrypted=True, bucket="private")) as private:
        await private.bucket.put("f", b"12345")
        assert hub.files("private")["f"].dag_size != 5
        assert (await private.bucket.stat("f")).size is None


@pytest_twisted.ensureDeferred
async def test_trap_10_private_cids_are_no_identity(buckd: TextileDouble, tmp_path: Path) -> None:
    async with running(Backend(buckd, tmp_path / "daemon", encrypted=True)) as private:
        content = os.urandom(300_000)  # more than one block, which alone the server would link by its CID
        await private.bucket.put("d/f", content)
        first = buckd.files(BUCKET)["d/f"].cid
        await private.bucket.put("d/f", content)
        assert buckd.files(BUCKET)["d/f"].cid != first
        assert (await private.bucket.stat("d/f")).cid is None
        # To give a file another path by its CID would make ciphertext its content.
        await private.bucket.move("d/f", "e/g")
        assert await private.bucket.get("e/g", LIMIT) == content


@pytest_twisted.ensureDeferred
async def test_trap_11_every_call_names_its_thread(on_hub: Backend) -> None:
    bucket, double = on_hub.bucket, on_hub.double
    await bucket.put("d/f", b"x")
    await bucket.move("d/f", "d/g")
    await bucket.remove("d/g")
    await bucket.list("d")
    (thread,) = double.threads.by_id.values()
    for record in double.calls:
        if record.service == "api.bucketsd.pb.APIService":
            assert record.metadata["x-textile-thread"] == thread.id_string, record.method
    # Should the server say it all the same, that is about the thread and not about credentials.
    await bucket.put("d/f", b"x")
    double.faults.refuse("PullPath", 2, "db required")
    with pytest.raises(Unavailable):
        await bucket.get("d/f", LIMIT)


@pytest.mark.parametrize("is_hub", [True, False])
@pytest_twisted.ensureDeferred
async def test_trap_12_thread_and_bucket_are_made_once(
    is_hub: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard, "PATIENCE", 2.0)
    async with AsyncExitStack() as stack:
        double = await stack.enter_async_context(listening(TextileDouble(hub=is_hub)))
        double.faults.create_seconds = 0.2
        key = double.accounts.add_key() if is_hub else None
        backends = [Backend(double, tmp_path / str(number), key) for number in range(3)]
        for backend in backends:
            await stack.enter_async_context(running(backend))
        await together(
            *(backend.bucket.put(f"{at}/{number}", b"x") for at, backend in enumerate(backends) for number in range(20))
        )
        assert len(double.threads.by_id) == 1
        assert len(double.buckets.all()) == 1
        for backend in backends:
            assert [entry.name for entry in await backend.bucket.list("2")] == sorted(
                str(number) for number in range(20)
            )


@pytest_twisted.ensureDeferred
async def test_trap_12_of_twins_all_choose_the_same(buckd: TextileDouble, tmp_path: Path) -> None:
    low, high = b"\x01\x55" + bytes(32), b"\x01\x55" + b"\xff" * 32
    for identifier in (high, low):
        buckd.add_bucket(buckd.add_thread(thread_id=identifier), BUCKET)
    (first,) = [bucket for bucket in buckd.buckets.all() if bucket.thread == buckd.threads.by_id[low].id_string]
    for _ in range(3):
        buckd.add_bucket(buckd.threads.by_id[low], BUCKET)
    for number in range(4):
        async with running(Backend(buckd, tmp_path / str(number))) as backend:
            await backend.bucket.put(f"d/{number}", b"x")
    found = buckd.buckets.find(first.key)
    assert found is not None
    assert set(found.metadata) - {""} == {f"d/{number}" for number in range(4)}


@pytest_twisted.ensureDeferred
async def test_trap_13_what_only_one_kind_of_server_has(on_hub: Backend, on_buckd: Backend) -> None:
    for backend in (on_hub, on_buckd):
        await backend.bucket.put("d/f", b"x")
        await backend.bucket.list("d")
    assert "ListDBs" not in on_hub.double.calls.methods()
    assert not {"GetThread", "ListThreads"} & set(on_buckd.double.calls.methods())
    assert {record.status for record in (*on_hub.double.calls, *on_buckd.double.calls)} == {0}


@pytest_twisted.ensureDeferred
async def test_trap_14_prefixes_of_other_paths(on_hub: Backend) -> None:
    bucket, double = on_hub.bucket, on_hub.double
    for path in ("r/tea/_tags/v1", "r/tea/_tags/v1.2", "r/team/_tags/v1"):
        await bucket.put(path, path.encode())
    # Somebody has a role on a repository whose name begins with that of another.
    role = Entry(0, {"*": WRITER})
    double.bucket(BUCKET).metadata.set("r/team", role)
    await bucket.remove("r/tea/_tags/v1")
    assert await bucket.get("r/tea/_tags/v1.2", LIMIT) == b"r/tea/_tags/v1.2"
    await bucket.remove("r/tea/_tags/v1.2")
    assert [entry.name for entry in await bucket.list("r")] == ["team"]
    assert double.bucket(BUCKET).metadata.get("r/team") == role
    # MovePath takes one path for the directory of the other here, and leaves the source.
    await bucket.put("a/b", b"moved")
    await bucket.move("a/b", "a/bc")
    assert [entry.name for entry in await bucket.list("a")] == ["bc"]
    assert await bucket.get("a/bc", LIMIT) == b"moved"


@pytest_twisted.ensureDeferred
async def test_trap_15_odd_paths(on_hub: Backend) -> None:
    bucket, double = on_hub.bucket, on_hub.double
    await bucket.put("d/f", b"x")
    calls = len(double.calls.calls)
    for path in (
        "..",
        "../x",
        "d/../f",
        ".",
        "d/./f",
        "",
        "/d",
        "d//f",
        "d/",
        "d\0f",
        ".textileseed",
        "d/.textileseed/f",
    ):
        with pytest.raises((ValueError, Refused), match=r"path|\.textileseed"):
            await bucket.put(path, b"")
    assert len(double.calls.calls) == calls
    assert [entry.name for entry in await bucket.list("d")] == ["f"]
    # Each bucket has the server's own file, which is none of ours.
    assert ".textileseed" in double.bucket(BUCKET).root.entries


@pytest_twisted.ensureDeferred
async def test_trap_16_silence_and_pongs(tmp_path: Path) -> None:
    # This wrapper reads nothing after the client's half is sent, so that it answers no ping: that must do no harm.
    async with listening(TextileDouble(hub=True, generation=OLD_WEBSOCKET)) as double:
        backend = Backend(double, tmp_path / "daemon", double.accounts.add_key())
        backend.channel._ping_interval = 0.05
        async with running(backend):
            await backend.bucket.put("d/f", b"x")
            double.faults.save_seconds = 0.5
            await backend.bucket.put("d/g", b"y")
    # What the backend has by default is often enough for proxies, which wait for a minute.
    assert 0 < (Channel(reactor, "http://127.0.0.1:1")._ping_interval or 0) <= 30


def test_trap_17_text_bodies_are_several_pieces() -> None:
    pieces = [b"\0\0\0\0\3\n\1A", b"\x80\0\0\0\x10grpc-status: 0\r\n"]
    body = b"".join(base64.b64encode(piece) for piece in pieces)
    assert base64.b64decode(body, validate=False) != b"".join(pieces)
    decoder = TextDecoder()
    assert b"".join(decoder.decode(body[at : at + 7]) for at in range(0, len(body), 7)) == b"".join(pieces)


@pytest_twisted.ensureDeferred
async def test_trap_17_text_bodies_are_not_asked_for(on_hub: Backend) -> None:
    await on_hub.bucket.put("d/f", b"x")
    await on_hub.bucket.get("d/f", LIMIT)
    assert {record.metadata["content-type"] for record in on_hub.double.calls} == {"application/grpc-web+proto"}


@pytest.mark.parametrize(
    ("host", "more", "warned"),
    [
        ("http://127.0.0.1:1", {}, False),
        ("http://[::1]:1", {}, False),
        ("http://localhost:1", {}, False),
        ("http://192.0.2.1:1", {}, True),
        ("http://buckd.test:1", {"encrypted": True}, True),
        ("http://192.0.2.1:1", {"key": "bkey"}, False),
    ],
)
def test_trap_18_a_buckd_is_open_to_whoever_reaches_it(
    host: str, more: dict[str, object], warned: bool, tmp_path: Path
) -> None:
    warnings = TextileOptions.model_validate({"host": host, "path": tmp_path, **more}).warnings()
    assert ["no authentication" in warning for warning in warnings] == [True] * warned
    # Nobody is told so who left the address as it is by default.
    assert not TextileOptions.model_validate({"path": tmp_path}).warnings()


@pytest_twisted.ensureDeferred
async def test_trap_18_the_log_says_so(on_buckd: Backend, log: list[LogEvent], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TextileOptions, "warnings", lambda self: ["it is open"])
    await on_buckd.textile.start()
    warned = [event for event in log if event.get("log_level") == LogLevel.warn]
    assert [formatEvent(event) for event in warned] == ["it is open"]
