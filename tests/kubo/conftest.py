"""One node for each module."""

from collections.abc import Iterator

import pytest

from .node import KuboNode, running_node


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KuboNode]:
    """A real node that runs while the module's tests do."""
    with running_node(tmp_path_factory.mktemp("kubo")) as node:
        yield node
