"""The traps of docs/protocols/textile.md, "Traps", from number 10 on: see `test_traps`."""

import base64
import os
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_twisted
from nacl.signing import SigningKey
from twisted.logger import LogEvent, LogLevel, formatEvent

from ipfsreg.bucket.errors import NotFound, Unavailable
from ipfsreg.bucket.textile import shard
from ipfsreg.bucket.textile.options import TextileOptions
from ipfsreg.bucket.textile.paths import fold
from ipfsreg.grpcweb.channel import Channel
from ipfsreg.grpcweb.text import TextDecoder
from tests.bucket.contract import together
from tests.bucket.running import listening, reactor, running

from .backend import LIMIT, Backend
from .double import OLD_WEBSOCKET, TextileDouble
from .double.bucket import WRITER
from .double.identity import public_key_string
from .double.metadata import Entry
from .registry import logged, text_of

BUCKET = "ipfsreg"
MEBIBYTE = 1024 * 1024

pytest_plugins = ["tests.bucket.textile.trap_fixtures"]


@pytest_twisted.ensureDeferred
async def test_trap_10_private_cids_are_no_identity(buckd: TextileDouble, tmp_path: Path) -> None:
    async with running(Backend(buckd, tmp_path / "daemon", encrypted=True)) as private:
        content = os.urandom(300_000)  # more than one block, which alone the server would link by its CID
        await private.bucket.put("d/f", content)
        first = buckd.files(BUCKET)[fold("d/f")].cid
        await private.bucket.put("d/f", content)
        assert buckd.files(BUCKET)[fold("d/f")].cid != first
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
    assert set(found.metadata) - {"", ".textileseed"} == {f"d/{number}" for number in range(4)}


@pytest_twisted.ensureDeferred
async def test_trap_12_files_in_threads_of_one_name_are_found(buckd: TextileDouble, tmp_path: Path) -> None:
    """The program that this one replaces makes several when it is asked several things at once for the first time."""
    ids = [b"\x01\x55" + bytes([number]) * 32 for number in range(5)]
    low, *high = [buckd.add_bucket(buckd.add_thread(thread_id=identifier), BUCKET) for identifier in ids]
    other = buckd.add_thread(thread_id=b"\x01\x55" + b"\xff" * 32)
    other.owner = public_key_string(SigningKey.generate().verify_key)
    strangers = buckd.add_bucket(other, BUCKET)
    for number, bucket in enumerate(high):
        buckd.put_files(bucket.key, {f"d/{number}": b"%d" % number, "d/same": b"old"})
    buckd.put_files(strangers.key, {"d/stranger": b"x"})
    with logged() as events:
        async with running(Backend(buckd, tmp_path)) as backend:
            names = [str(number) for number in range(len(high))]
            assert [entry.name for entry in await backend.bucket.list("d")] == [*names, "same"]
            for name in names:
                assert await backend.bucket.get(f"d/{name}", LIMIT) == name.encode()
            with pytest.raises(NotFound):
                await backend.bucket.get("d/stranger", LIMIT)
            await backend.bucket.put("d/same", b"new")
            assert await backend.bucket.get("d/same", LIMIT) == b"new"
            await backend.bucket.move("d/0", "d/moved")
            await backend.bucket.remove("d/same")
            assert [entry.name for entry in await backend.bucket.list("d")] == ["1", "2", "3", "moved"]
    assert buckd.read(low.key, "d/moved") == b"0"
    assert text_of(events).count(f"{low.thread} is written to") == len(high)
    for bucket in high:
        assert f"{bucket.thread} is read as well" in text_of(events)


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
    ):
        with pytest.raises(ValueError, match="path"):
            await bucket.put(path, b"")
    assert len(double.calls.calls) == calls
    assert [entry.name for entry in await bucket.list("d")] == ["f"]
    # Each bucket has the server's own file, which is none of ours; what we call so is another one.
    names = ["a.~~textileseed", "a.~textileseed", "a.textileseed", "a.textileseed.textileseed"]
    for name in names:
        await bucket.put(f".textileseed/{name}", name.encode())
    assert [entry.name for entry in await bucket.list(".textileseed")] == sorted(names)
    for name in names:
        assert await bucket.get(f".textileseed/{name}", LIMIT) == name.encode()
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
        ("https://192.0.2.1:1", {"key": "bkey"}, False),
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
