"""The contract of a bucket on a real bucket daemon: public and private, without and with the disk cache."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_twisted

from tests.bucket.contract import BucketContract
from tests.bucket.storage import Storage

from .backend import RealStorage
from .servers import TextileServer
from .soak import SOAK


async def _storage(storage: RealStorage) -> AsyncIterator[Storage]:
    await storage.reopened()
    yield storage
    await storage.close()


class TestPublic(BucketContract):
    @pytest_twisted.async_yield_fixture()
    async def storage(self, buckd: TextileServer, tmp_path: Path) -> AsyncIterator[Storage]:
        async for each in _storage(RealStorage(buckd, tmp_path, cached=False)):
            yield each


class TestPrivateCached(BucketContract):
    if not SOAK:
        test_directories_that_come_and_go = None  # some two hundred writes each, and a private one takes long
        test_a_long_walk_misses_nothing_beside_changes = None

    @pytest_twisted.async_yield_fixture()
    async def storage(self, buckd: TextileServer, tmp_path: Path) -> AsyncIterator[Storage]:
        async for each in _storage(RealStorage(buckd, tmp_path, cached=True, encrypted=True, websocket=True)):
            yield each


class TestPublicCached(BucketContract):
    __test__ = SOAK

    @pytest_twisted.async_yield_fixture()
    async def storage(self, buckd: TextileServer, tmp_path: Path) -> AsyncIterator[Storage]:
        async for each in _storage(RealStorage(buckd, tmp_path, cached=True, websocket=True)):
            yield each


class TestPrivate(BucketContract):
    __test__ = SOAK

    @pytest_twisted.async_yield_fixture()
    async def storage(self, buckd: TextileServer, tmp_path: Path) -> AsyncIterator[Storage]:
        async for each in _storage(RealStorage(buckd, tmp_path, cached=False, encrypted=True)):
            yield each
