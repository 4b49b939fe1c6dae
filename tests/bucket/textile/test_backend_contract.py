"""The contract of a bucket, on each kind of server and bucket, without and with the disk cache."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_twisted

from ipfsreg.bucket.cache.fetch import TO_THE_END
from ipfsreg.bucket.interface import IBucket
from tests.bucket import contract
from tests.bucket.contract import SAMPLE, BucketContract
from tests.bucket.contract_reading import HELD_BACK_MAX
from tests.bucket.storage import Collecting, Storage, read_into
from tests.marks import full, sampled

from .backend import TextileStorage
from .double import CURRENT, NO_PUSH_PATHS, OLD_WEBSOCKET, TextileDouble


async def read_to_the_end(bucket: IBucket, path: str) -> bytes:
    """As the contract's own `read`, for a storage that may not know how long a file is."""
    reader = await bucket.open(path)
    try:
        consumer = Collecting()
        await read_into(reader, consumer, 0, TO_THE_END if reader.size is None else reader.size)
        return consumer.content
    finally:
        reader.close()


@pytest.fixture(autouse=True)
def _sizes_may_be_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "read", read_to_the_end)


async def _storage(storage: TextileStorage) -> AsyncIterator[Storage]:
    storage.double.start()
    await storage.reopened()
    yield storage
    await storage.close()


class TextileContract(BucketContract):
    CONTENT = os.urandom(HELD_BACK_MAX + 600_000)  # less than others, since a message of the server has 32 KiB of it


class TestHubPublic(TextileContract):
    @pytest_twisted.async_yield_fixture()
    async def storage(self, tmp_path: Path) -> AsyncIterator[Storage]:
        double = TextileDouble(hub=True, generation=CURRENT)
        async for each in _storage(TextileStorage(double, tmp_path, cached=False)):
            yield each


@sampled(*SAMPLE)
class TestHubPrivateCached(TextileContract):
    test_back_pressure = None  # its path has no digest, so that the cache lets it pass, and it takes seconds

    @pytest_twisted.async_yield_fixture()
    async def storage(self, tmp_path: Path) -> AsyncIterator[Storage]:
        double = TextileDouble(hub=True, generation=OLD_WEBSOCKET)
        async for each in _storage(TextileStorage(double, tmp_path, cached=True, encrypted=True, websocket=True)):
            yield each


@full
class TestBuckdPrivate(TextileContract):
    test_back_pressure = None  # it takes seconds, and is the same as of the public one

    @pytest_twisted.async_yield_fixture()
    async def storage(self, tmp_path: Path) -> AsyncIterator[Storage]:
        double = TextileDouble(hub=False, generation=CURRENT)
        async for each in _storage(TextileStorage(double, tmp_path, cached=False, encrypted=True, websocket=True)):
            yield each


@full
class TestBuckdPublicCached(TextileContract):
    test_back_pressure = None  # its path has no digest, so that the cache lets it pass, and it takes seconds

    @pytest_twisted.async_yield_fixture()
    async def storage(self, tmp_path: Path) -> AsyncIterator[Storage]:
        double = TextileDouble(hub=False, generation=NO_PUSH_PATHS)
        async for each in _storage(TextileStorage(double, tmp_path, cached=True)):
            yield each
