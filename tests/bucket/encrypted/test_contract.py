"""Encrypted buckets on each kind of storage, held to the contract of buckets."""

import itertools
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_twisted

from ipfsreg.encryption.chunks import CHUNK
from tests.bucket.contract import SAMPLE, BucketContract
from tests.bucket.helpers import read
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


class EncryptedContract(BucketContract):
    """What holds of every bucket, and of one that is encrypted."""

    @pytest_twisted.ensureDeferred
    async def test_ranges_at_the_borders_of_chunks(self, storage: Storage) -> None:
        for size in (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK):
            content = os.urandom(size)
            await storage.bucket.put_file("blobs/f", storage.spooled(content))
            near = {edge + by for edge in (0, CHUNK, size) for by in (-1, 0, 1)}
            places = sorted(place for place in near if 0 <= place <= size)
            for begin, end in itertools.combinations(places, 2):
                reader = await storage.bucket.open("blobs/f")
                assert b"".join([piece async for piece in reader.pieces(begin, end - begin)]) == content[begin:end]
                reader.close()
            assert await read(storage.bucket, "blobs/f") == content


class TestLocal(EncryptedContract):
    @pytest_twisted.async_yield_fixture()
    async def storage(self, tmp_path: Path) -> AsyncIterator[Storage]:
        below = LocalStorage(tmp_path)
        await below.bucket.start()
        async for each in encrypted(below, tmp_path):
            yield each


class TestKubo(EncryptedContract):
    @pytest_twisted.async_yield_fixture()
    async def storage(self, node: KuboNode, tmp_path: Path) -> AsyncIterator[Storage]:
        below = KuboStorage(node, tmp_path)
        await below.reopened()
        async for each in encrypted(below, tmp_path):
            yield each


@sampled(*SAMPLE)
class TestTextile(EncryptedContract):
    test_back_pressure = None  # it takes seconds, and is the same as on a disk

    @pytest_twisted.async_yield_fixture()
    async def storage(self, tmp_path: Path) -> AsyncIterator[Storage]:
        below = TextileStorage(TextileDouble(hub=True, generation=CURRENT), tmp_path, cached=False)
        below.double.start()
        await below.reopened()
        async for each in encrypted(below, tmp_path):
            yield each


@full
class TestSpace(EncryptedContract):
    test_back_pressure = None  # as above

    @pytest_twisted.async_yield_fixture()
    async def storage(self, tmp_path: Path) -> AsyncIterator[Storage]:
        below = SpaceStorage(SpaceDouble().start(), tmp_path, cached=True)
        await below.reopened()
        async for each in encrypted(below, tmp_path):
            yield each
