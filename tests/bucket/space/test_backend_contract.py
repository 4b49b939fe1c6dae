"""The contract of a bucket, without and with the disk cache; whatever happens, no copy of the daemon's is touched."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_twisted

from tests.bucket.contract import SAMPLE, BucketContract
from tests.bucket.storage import Storage
from tests.marks import full, sampled

from .backend import SpaceStorage
from .double import SpaceDouble


async def _storage(directory: Path, *, cached: bool) -> AsyncIterator[Storage]:
    storage = SpaceStorage(SpaceDouble().start(), directory, cached=cached)
    await storage.reopened()
    yield storage
    storage.double.look_at_copies()
    assert storage.double.touched == []
    assert storage.double.junk() == []
    await storage.close()
    # What was staged is gone, whatever became of it.
    assert list(directory.glob("*/staging/*")) == []


@full
class TestSpace(BucketContract):
    @pytest_twisted.async_yield_fixture()
    async def storage(self, tmp_path: Path) -> AsyncIterator[Storage]:
        async for each in _storage(tmp_path, cached=False):
            yield each


@sampled(*SAMPLE)
class TestSpaceCached(BucketContract):
    test_back_pressure = None  # its path has no digest, so that the cache lets it pass, and it takes seconds

    @pytest_twisted.async_yield_fixture()
    async def storage(self, tmp_path: Path) -> AsyncIterator[Storage]:
        async for each in _storage(tmp_path, cached=True):
            yield each
