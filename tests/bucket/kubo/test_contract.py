"""The backend on real nodes, the newest and the oldest, held to the contract of buckets."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_twisted

from tests.bucket.contract import BucketContract
from tests.bucket.storage import Storage
from tests.clients.programs import thorough

from .backend import KuboStorage
from .node import OLDEST, KuboNode, running_node


class TestKubo(BucketContract):
    @pytest_twisted.async_yield_fixture()
    async def storage(self, node: KuboNode, tmp_path: Path) -> AsyncIterator[Storage]:
        storage = KuboStorage(node, tmp_path)
        await storage.reopened()
        yield storage
        await storage.close()


@pytest.fixture(scope="module")
def oldest_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KuboNode]:
    with running_node(tmp_path_factory.mktemp("oldest"), program=OLDEST) as node:
        yield node


@thorough
class TestOldest(TestKubo):
    """On the oldest version that is promised."""

    @pytest.fixture
    def node(self, oldest_node: KuboNode) -> KuboNode:
        return oldest_node
