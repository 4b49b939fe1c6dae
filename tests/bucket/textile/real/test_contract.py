"""The contract of a bucket on a real bucket daemon: public and private, without and with the disk cache.

Paths are folded in the private ones, as in each that is made today.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_twisted

from ipfsreg.bucket.textile.paths import FORMAT_FILE, fold
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
    @pytest_twisted.ensureDeferred
    async def test_its_paths_are_folded(self, storage: Storage) -> None:
        assert isinstance(storage, RealStorage)
        await storage.bucket.put("a/b", b"x")
        first = storage.textile.shards.first
        root = await first.root()
        assert first.folded
        assert {FORMAT_FILE, fold("a/b")} <= set(root.path_metadata)
        assert "a/b" not in root.path_metadata

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
