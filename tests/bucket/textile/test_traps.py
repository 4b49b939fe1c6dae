"""The traps of docs/protocols/textile.md, "Traps", by their numbers: each test fails for who falls into one."""

import os
import secrets
from pathlib import Path

import pytest
import pytest_twisted

from ipfsreg.bucket.errors import BucketError, NotFound, Refused, Unavailable
from ipfsreg.bucket.textile import capacity
from ipfsreg.bucket.textile.paths import fold
from ipfsreg.registry import layout
from ipfsreg.registry.digest import digest_of
from tests.bucket.contract import together
from tests.bucket.running import listening, pause, reactor, running

from .backend import LIMIT, Backend
from .double import Fault, Limits, RpcError, TextileDouble

BUCKET = "ipfsreg"
MEBIBYTE = 1024 * 1024

pytest_plugins = ["tests.bucket.textile.trap_fixtures"]


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
    on_hub.double.faults.add(Fault("RemovePath", nth=2, delay=0.5))

    async def push_meanwhile() -> None:
        while len(calls.of("RemovePath")) < 2:
            await pause(0.01)
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
    monkeypatch.setattr(capacity, "FULL", 20)
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
        assert hub.files("private")[fold("f")].dag_size != 5
        assert (await private.bucket.stat("f")).size is None
