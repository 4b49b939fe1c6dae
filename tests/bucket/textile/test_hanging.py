"""A server that takes calls and does not answer: ``timeout`` is for reads, ``silence`` for who waits for a lock."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic

import pytest
import pytest_twisted

from ipfsreg.bucket.errors import Unavailable
from ipfsreg.bucket.interface import IBucket
from tests.bucket.running import running
from tests.bucket.storage import Collecting, read_into

from .backend import LIMIT, Backend
from .double import Fault, TextileDouble

pytest_plugins = ["tests.bucket.textile.double.fixtures"]

PATH = "d/f"


async def get(bucket: IBucket) -> None:
    await bucket.get(PATH, LIMIT)


async def opened(bucket: IBucket) -> None:
    (await bucket.open(PATH)).close()


async def read(bucket: IBucket) -> None:
    reader = await bucket.open(PATH)
    try:
        await read_into(reader, Collecting(), 0, 1 << 62)
    finally:
        reader.close()


@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("ask", [get, opened])
@pytest_twisted.ensureDeferred
async def test_a_server_that_hangs_is_given_up_after_the_timeout(
    ask: Callable[[IBucket], Awaitable[None]],
    private: bool,
    textile_hub: TextileDouble,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ipfsreg.bucket.textile.remote_reader.GET_SECONDS_PER_MEBIBYTE", 0.1)
    key = textile_hub.accounts.add_key()
    backend = Backend(textile_hub, tmp_path / "daemon", key, timeout="1s", silence="1h", encrypted=private)
    async with running(backend):
        await backend.bucket.put(PATH, b"x" * 1000)
        textile_hub.faults.add(Fault("PullPath", hang=True, times=None))
        began = monotonic()
        with pytest.raises(Unavailable):
            await ask(backend.bucket)
        assert monotonic() - began < 10


@pytest_twisted.ensureDeferred
async def test_a_server_that_stops_in_the_middle(textile_hub: TextileDouble, tmp_path: Path) -> None:
    key = textile_hub.accounts.add_key()
    async with running(Backend(textile_hub, tmp_path / "daemon", key, timeout="300ms", silence="1h")) as backend:
        await backend.bucket.put(PATH, bytes(900_000))
        textile_hub.faults.pull_bytes_per_second = 2_000.0
        began = monotonic()
        with pytest.raises(Unavailable):
            await read(backend.bucket)
        assert monotonic() - began < 3


@pytest_twisted.ensureDeferred
async def test_a_small_file_that_comes_in_drops_ends_too(
    textile_hub: TextileDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ipfsreg.bucket.textile.remote_reader.GET_SECONDS_PER_MEBIBYTE", 0.1)
    key = textile_hub.accounts.add_key()
    async with running(Backend(textile_hub, tmp_path / "daemon", key, timeout="500ms", silence="1h")) as backend:
        await backend.bucket.put(PATH, bytes(900_000))
        textile_hub.faults.pull_bytes_per_second = 300_000.0
        began = monotonic()
        with pytest.raises(Unavailable):
            await backend.bucket.get(PATH, LIMIT)
        assert monotonic() - began < 3
        await read(backend.bucket)  # what is large may take its time as long as it moves


@pytest_twisted.ensureDeferred
async def test_a_private_file_is_waited_for_by_its_size(
    textile_hub: TextileDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = textile_hub.accounts.add_key()
    backend = Backend(textile_hub, tmp_path / "daemon", key, timeout="300ms", silence="1h", encrypted=True)
    async with running(backend):
        await backend.bucket.put(PATH, bytes(900_000))
        textile_hub.faults.decrypt_bytes_per_second = 900_000 / 0.7
        await read(backend.bucket)
        monkeypatch.setattr("ipfsreg.bucket.textile.bucket.CHECK_SECONDS_PER_MEBIBYTE", 0.1)
        with pytest.raises(Unavailable):
            await read(backend.bucket)
