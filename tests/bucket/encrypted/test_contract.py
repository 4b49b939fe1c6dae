"""Encrypted buckets on each kind of storage, held to the contract of buckets."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_twisted

from tests.bucket.contract import SAMPLE, BucketContract
from tests.bucket.kubo.backend import KuboStorage
from tests.bucket.kubo.conftest import node
from tests.bucket.kubo.node import KuboNode
from tests.bucket.space.backend import SpaceStorage
from tests.bucket.space.double import SpaceDouble
from tests.bucket.storage import Storage
from tests.bucket.test_local import LocalStorage
from tests.bucket.textile.backend import TextileStorage
from tests.bucket.textile.double import CURRENT, TextileDouble
from tests.marks import full, sampled

from .storage import encrypted

__all__ = ["node"]


class TestLocal(BucketContract):
    @pytest_twisted.async_yield_fixture()
    async def storage(self, tmp_path: Path) -> AsyncIterator[Storage]:
        below = LocalStorage(tmp_path)
        await below.bucket.start()
        async for each in encrypted(below, tmp_path):
            yield each


class TestKubo(BucketContract):
    @pytest_twisted.async_yield_fixture()
    async def storage(self, node: KuboNode, tmp_path: Path) -> AsyncIterator[Storage]:
        below = KuboStorage(node, tmp_path)
        await below.reopened()
        async for each in encrypted(below, tmp_path):
            yield each


@sampled(*SAMPLE)
class TestTextile(BucketContract):
    test_back_pressure = None  # it takes seconds, and is the same as on a disk

    @pytest_twisted.async_yield_fixture()
    async def storage(self, tmp_path: Path) -> AsyncIterator[Storage]:
        below = TextileStorage(TextileDouble(hub=True, generation=CURRENT), tmp_path, cached=False)
        below.double.start()
        await below.reopened()
        async for each in encrypted(below, tmp_path):
            yield each


@full
class TestSpace(BucketContract):
    test_back_pressure = None  # as above

    @pytest_twisted.async_yield_fixture()
    async def storage(self, tmp_path: Path) -> AsyncIterator[Storage]:
        below = SpaceStorage(SpaceDouble().start(), tmp_path, cached=True)
        await below.reopened()
        async for each in encrypted(below, tmp_path):
            yield each
