"""The backend on a real node, held to the contract of buckets."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_twisted

from ..bucket.contract import BucketContract
from ..bucket.storage import Storage
from .backend import KuboStorage
from .node import KuboNode


class TestKubo(BucketContract):
    @pytest_twisted.async_yield_fixture()
    async def storage(self, node: KuboNode, tmp_path: Path) -> AsyncIterator[Storage]:
        storage = KuboStorage(node, tmp_path)
        await storage.reopened()
        yield storage
        await storage.close()
